#pragma once

#include <cuda_runtime.h>

#include "../core/score_tables.h"

namespace hashgcn::cuda {

// Bytes of scratch, which depend on the device besides the shape: counts of all rows forward;
// shares of the gradients, a bit for each pair and sums of parts backward.
template <class T>
int64_t score_tables_scratch(const core::ScoreTables<T>& tables);
template <class T>
int64_t score_tables_backward_scratch(const core::ScoreTables<T>& tables);

// Tables [batch, num_columns]: the values v_w = -W + 2w with W = largest_distance, twice, and how
// many candidates that are not positives, or their weight (neg), how many positives (pos) have that
// score.
template <class T>
void score_tables(const core::ScoreTables<T>& tables, void* scratch, T* v_neg, T* v_pos, T* neg,
                  T* pos, cudaStream_t stream);

// What flows back into the tables, and their counts, each [batch, num_columns].
template <class T>
struct TableGradients {
  const T *v_neg, *v_pos, *neg, *pos;
};

// dL/dB into user_grad [batch, f], dL/dD into item_grad [num_items, f]; scores are computed again,
// tile by tile. `candidate_grad` is scratch [num_candidates]; both candidate arguments may be null
// without lists.
template <class T>
void score_tables_backward(const core::ScoreTables<T>& tables, void* scratch,
                           const TableGradients<T>& gradients, const T* user_codes,
                           const T* item_codes, const int64_t* candidate_order, T* candidate_grad,
                           T* user_grad, T* item_grad, cudaStream_t stream);

}  // namespace hashgcn::cuda

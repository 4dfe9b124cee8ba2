#pragma once

#include <cuda_runtime.h>

#include "../core/smooth_rank.h"

namespace hashgcn::cuda {

// Sets bits for offsets that do not fit the rows, and for a temperature that is not positive.
template <class T>
void check_ranks(const core::SmoothRank<T>& problem, const T* tau, unsigned int* errors,
                 cudaStream_t stream);

// rank_ui = 1 + sum of weight_j sigma((s_uj - s_ui) / tau) over the candidates j, for each
// positive; 1 for padding. `tau` is in device memory.
template <class T>
void smooth_rank(const core::SmoothRank<T>& problem, const T* users, const T* items, const T* tau,
                 T* ranks, cudaStream_t stream);

// Scratch of the backward pass: the positives' scores and dL/ds of them [size], with lists dL/ds of
// the candidates [num_candidates], and sums of parts [smooth_rank_parts].
template <class T>
struct RankScratch {
  T* scores;
  double* score_grad;
  T* candidate_grad;
  T* parts;
};

// Depends on the device besides the shape.
template <class T>
int64_t smooth_rank_parts(const core::SmoothRank<T>& problem);

// dL/dp into user_grad [batch, width], dL/dq into item_grad [num_items, width].
template <class T>
void smooth_rank_backward(const core::SmoothRank<T>& problem, const T* users, const T* items,
                          const T* tau, const T* rank_grad, const int64_t* candidate_order,
                          const RankScratch<T>& scratch, T* user_grad, T* item_grad,
                          cudaStream_t stream);

}  // namespace hashgcn::cuda

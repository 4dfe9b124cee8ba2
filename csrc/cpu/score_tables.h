#pragma once

#include "../core/score_tables.h"
#include "isa.h"
#include "tiles.h"

// Tables of rows [begin, end), each [batch, code_length + 1]: the values v_w = -f + 2w, twice, and
// how many candidates that are not positives (neg), how many positives (pos) have that score.
HASHGCN_KERNEL(template <class T> void score_tables(const core::ScoreTables<T>& tables, T* v_neg,
                                                    T* v_pos, T* neg, T* pos, int64_t begin,
                                                    int64_t end))

// Gradients that flow through the scores of items [begin, end), scores recomputed tile by tile.
//
// `share_neg`, `share_pos` [batch, f + 1] are dL/ds of a score at each level. `user_codes`
// [padded_rows, padded_width] and `user_grad` of the same shape have zero padding;
// `user_grad` gets this range's part of dL/dB, rows [begin, end) of `item_grad` [num_items, f] all
// of dL/dD. `scratch` holds backward_scratch(f) elements.
HASHGCN_KERNEL(template <class T>
               void score_tables_backward(const core::ScoreTables<T>& tables, const T* user_codes,
                                          const T* item_codes, const T* share_neg,
                                          const T* share_pos, T* user_grad, T* item_grad,
                                          T* scratch, int64_t begin, int64_t end))

namespace hashgcn::cpu {

template <class T>
int64_t backward_scratch(int64_t width) {
  return kTileItems * (2 * padded_width<T>(width) + kTileUsers);
}

}  // namespace hashgcn::cpu

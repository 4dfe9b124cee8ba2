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
// `share_neg`, `share_pos` [batch, share_stride] are dL/ds of a score, by distance. `user_grad`
// [padded_rows, padded_width] gets this range's part of dL/dB, rows [begin, end) of `item_grad`
// [num_items, f] all of dL/dD. `scratch` holds backward_scratch(batch, f) elements, `next` one for
// each row of the batch.
HASHGCN_KERNEL(template <class T> void score_tables_backward(
    const core::ScoreTables<T>& tables, const T* user_codes, const T* item_codes,
    const T* share_neg, const T* share_pos, T* user_grad, T* item_grad, T* scratch,
    const int64_t** next, int64_t begin, int64_t end))

namespace hashgcn::cpu {

// One-word codes have the room that whole vectors of their 65 distances are read from.
constexpr int64_t share_stride(int64_t code_length) {
  return round_up((code_length < 64 ? 64 : code_length) + 1, 16);
}

template <class T>
int64_t backward_scratch(int64_t batch, int64_t width) {
  return (2 * kTileItems + padded_rows(batch)) * padded_width<T>(width) + kTileItems * kTileUsers;
}

}  // namespace hashgcn::cpu

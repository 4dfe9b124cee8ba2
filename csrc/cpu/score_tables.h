#pragma once

#include "../core/score_tables.h"
#include "isa.h"
#include "tiles.h"

// Packs rows [begin, end) of odd weights x [*, code_length] into words [*, planes, words_per_code].
// Returns false if an x is none from -(2^planes - 1) to 2^planes - 1.
HASHGCN_KERNEL(template <class T> bool pack_weights(const T* x, uint64_t* words,
                                                    int64_t code_length, int planes, int64_t begin,
                                                    int64_t end))

// Tables of rows [begin, end), each [batch, W + 1]: the values v_w = -W + 2w, twice, and how many
// candidates that are not positives, by weight (neg), and how many positives (pos) have that score.
// `scratch` holds tables_scratch(W + 1) bytes.
HASHGCN_KERNEL(template <class T> void score_tables(const core::ScoreTables<T>& tables, T* v_neg,
                                                    T* v_pos, T* neg, T* pos, void* scratch,
                                                    int64_t begin, int64_t end))

// Gradients that flow through the scores of items [begin, end), scores recomputed tile by tile.
//
// `share_neg`, `share_pos` [batch, share_stride] are dL/ds of a score whose item counts 1, by
// distance. `user_grad`
// [padded_rows, padded_width] gets this range's part of dL/dB, rows [begin, end) of `item_grad`
// [num_items, f] all of dL/dD. `scratch` holds backward_scratch(batch, f) elements, `next` one for
// each row of the batch.
HASHGCN_KERNEL(template <class T> void score_tables_backward(
    const core::ScoreTables<T>& tables, const T* user_codes, const T* item_codes,
    const T* share_neg, const T* share_pos, T* user_grad, T* item_grad, T* scratch,
    const int64_t** next, int64_t begin, int64_t end))

namespace hashgcn::cpu {

// Tables of one row that count neighbouring items: codes of one user cluster around half of the
// largest distance, and a counter that was just written is slow to read back.
constexpr int64_t kCounters = 4;

constexpr int64_t tables_scratch(int64_t columns) {
  return kCounters * round_up(columns, 16) * int64_t(sizeof(double));
}

// Plain one-word codes have the room that whole vectors of their 65 distances are read from.
constexpr int64_t share_stride(int64_t columns) {
  return round_up(columns < 65 ? 65 : columns, 16);
}

template <class T>
int64_t backward_scratch(int64_t batch, int64_t width) {
  return (2 * kTileItems + padded_rows(batch)) * padded_width<T>(width) + kTileItems * kTileUsers;
}

}  // namespace hashgcn::cpu

// What each pair gets of the gradients of its level: one division for an entry of the tables, not
// one for a pair.
#pragma once

#include "launch.h"
#include "parts.cuh"
#include "score_tables.h"

namespace hashgcn::cuda {

constexpr int kShareRows = 32;

// [tiles of 32 rows][negatives, positives][32 rows][stride]: by distance, dL/ds of a pair; 0 for
// padding. What a tile's rows need lies together, and begins at 16 bytes.
template <class T>
struct ShareTable {
  T* values;
  int stride;

  __device__ T at(int64_t row, bool is_positive, int64_t distance) const {
    const int64_t tile = row / kShareRows * 2 + is_positive;
    return values[(tile * kShareRows + row % kShareRows) * stride + distance];
  }
};

// Room for any distance of the words, and two more, which spread rows over banks.
template <class T>
int64_t share_stride(const core::ScoreTables<T>& tables) {
  const int64_t bits = core::words_per_code(tables.code_length) * 64;
  return ((int64_t(1) << tables.planes) - 1) * bits + 2;
}

template <class T>
int64_t num_shares(const core::ScoreTables<T>& tables) {
  return tiles_of(tables.rows.batch, kShareRows) * 2 * kShareRows * share_stride(tables);
}

template <class T>
static __global__ void divide_shares(core::ScoreTables<T> tables, TableGradients<T> gradients,
                                     ShareTable<T> shares, int64_t count) {
  const int64_t i = element_index();
  if (i >= count) return;
  const int64_t farthest = core::largest_distance(tables);
  const int64_t distance = i % shares.stride, r = i / shares.stride;
  const int64_t row = r / (2 * kShareRows) * kShareRows + r % kShareRows;
  const bool is_positive = r / kShareRows % 2;
  const bool real = distance <= farthest && row < tables.rows.batch && tables.rows.users[row] >= 0;
  const int64_t at = row * (farthest + 1) + farthest - distance;
  shares.values[i] = !real         ? T(0)
                     : is_positive ? core::share(gradients.v_pos[at], gradients.pos[at])
                                   : core::share(gradients.v_neg[at], gradients.neg[at]);
}

// Fills `values`, num_shares of them.
template <class T>
ShareTable<T> make_shares(const core::ScoreTables<T>& tables, const TableGradients<T>& gradients,
                          T* values, cudaStream_t stream) {
  const int64_t count = num_shares(tables);
  const ShareTable<T> shares{values, int(share_stride(tables))};
  if (count == 0) return shares;
  divide_shares<<<element_grid(count), kThreads, 0, stream>>>(tables, gradients, shares, count);
  check_launch();
  return shares;
}

}  // namespace hashgcn::cuda

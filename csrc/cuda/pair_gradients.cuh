// From gradients of scores to gradients of the users and items whose products the scores are. Owner
// computes: each element of a part is summed by one thread, each tile of 32 by itself, which keeps
// long sums near to float64's; parts are added in their order.
//
// A Gradient has
//   static constexpr bool kScores            whether `pair` uses the score
//   T pair(row, item, is_positive, score)    dL/ds of any item; rows of users that are -1 excepted
//   T positive(row, id)                      dL/ds of a positive as such; `id` points into its list
#pragma once

#include "../core/rows.h"
#include "launch.h"
#include "parts.cuh"

namespace hashgcn::cuda {

// A block of the dense sums owns kTile rows and kColumns columns and walks over the other side.
constexpr int kTile = 32;
constexpr int kColumns = 64;
// Columns that are staged at once for the scores of a tile.
constexpr int kDepth = 16;
constexpr int kPerThread = kTile * kTile / kThreads;
constexpr int kOwnersPerThread = kTile * kColumns / kThreads;

inline dim3 column_grid(int64_t count, int64_t width) {
  return dim3(row_grid(count), unsigned((width + kColumns - 1) / kColumns));
}

// Bit j: item_begin + j is a positive of the row.
template <class T>
static __device__ uint32_t positives_in_tile(const core::Rows<T>& rows, int64_t row,
                                             int64_t item_begin) {
  if (row >= rows.batch) return 0;
  const core::Span liked = core::positives(rows, row);
  uint32_t bits = 0;
  for (const int64_t* id = core::lower_bound(liked, item_begin);
       id < liked.end && *id < item_begin + kTile; ++id) {
    if (*id >= item_begin) bits |= 1u << (*id - item_begin);
  }
  return bits;
}

// All items are candidates. A block of grid (owner tiles, columns / kColumns, parts) sums over a
// part of the others: out [parts, owners, width] = G items (kUsersOwn) or G^T users, G [batch,
// num_items] by tiles. Two blocks a multiprocessor are asked for: with the default the compiler
// spills to fit more.
template <bool kUsersOwn, class T, class Gradient>
static __global__ void __launch_bounds__(kThreads, 2)
    sum_all_pairs(Gradient gradient, core::Rows<T> rows, const T* users, const T* items,
                  int64_t width, T* out) {
  __shared__ uint32_t positive[kTile];
  __shared__ T user_part[kTile][kDepth], item_part[kTile][kDepth + 1];
  // Four more elements spread columns over banks and keep rows aligned for vector loads.
  alignas(16) __shared__ T gradients[kTile][kTile + 4];  // [other][owner]
  __shared__ T others[kTile][kColumns];
  const int64_t num_owners = kUsersOwn ? rows.batch : rows.num_items;
  const int64_t num_others = kUsersOwn ? rows.num_items : rows.batch;
  const Part part = part_of(blockIdx.z, gridDim.z, num_others, kTile);
  const T* other_rows = kUsersOwn ? items : users;
  const int64_t first_column = int64_t(blockIdx.y) * kColumns;
  const int64_t column = first_column + threadIdx.x % kColumns;
  const int first_owner = threadIdx.x / kColumns * kOwnersPerThread;
  // Threads of a warp share the user and take neighbouring items.
  const int j = threadIdx.x % kTile, first_r = threadIdx.x / kTile;
  constexpr int kStep = kThreads / kTile;

  const int64_t owner = int64_t(blockIdx.x) * kTile;
  T sum[kOwnersPerThread] = {};
  for (int64_t other = part.begin; other < part.end; other += kTile) {
    const int64_t row_begin = kUsersOwn ? owner : other, item_begin = kUsersOwn ? other : owner;
    if (threadIdx.x < kTile) {
      positive[threadIdx.x] = positives_in_tile(rows, row_begin + threadIdx.x, item_begin);
    }
    for (int e = threadIdx.x; e < kTile * kColumns; e += kThreads) {
      const int64_t at = other + e / kColumns, k = first_column + e % kColumns;
      others[e / kColumns][e % kColumns] =
          at < num_others && k < width ? other_rows[at * width + k] : T(0);
    }
    T score[kPerThread] = {};
    for (int64_t first = 0; Gradient::kScores && first < width; first += kDepth) {
      for (int e = threadIdx.x; e < kTile * kDepth; e += kThreads) {
        const int r = e / kDepth, c = e % kDepth;
        const bool inside = first + c < width;
        user_part[r][c] = inside && row_begin + r < rows.batch
                              ? users[(row_begin + r) * width + first + c]
                              : T(0);
        item_part[r][c] = inside && item_begin + r < rows.num_items
                              ? items[(item_begin + r) * width + first + c]
                              : T(0);
      }
      __syncthreads();
      for (int c = 0; c < kDepth; ++c) {
        for (int i = 0; i < kPerThread; ++i) {
          score[i] += user_part[first_r + i * kStep][c] * item_part[j][c];
        }
      }
      __syncthreads();
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      const int r = first_r + i * kStep;
      const int64_t row = row_begin + r, item = item_begin + j;
      const bool real = row < rows.batch && item < rows.num_items && rows.users[row] >= 0;
      const T value = real ? gradient.pair(row, item, (positive[r] >> j) & 1, score[i]) : T(0);
      gradients[kUsersOwn ? j : r][kUsersOwn ? r : j] = value;
    }
    __syncthreads();
    T tile_sum[kOwnersPerThread] = {};
#pragma unroll 2  // four at once spill registers where T is double
    for (int o = 0; o < kTile; ++o) {
      const T x = others[o][threadIdx.x % kColumns];
      for (int i = 0; i < kOwnersPerThread; ++i) tile_sum[i] += gradients[o][first_owner + i] * x;
    }
    for (int i = 0; i < kOwnersPerThread; ++i) sum[i] += tile_sum[i];
    __syncthreads();
  }
  for (int i = 0; i < kOwnersPerThread; ++i) {
    const int64_t at = owner + first_owner + i;
    if (at >= num_owners || column >= width) continue;
    out[(blockIdx.z * num_owners + at) * width + column] = sum[i];
  }
}

// Candidate lists: out[row] = sum over the row's positives, then over its candidates, which have
// the gradients `candidate_grad` [num_candidates].
template <class T, class Gradient>
static __global__ void sum_row_lists(Gradient gradient, core::Rows<T> rows, const T* candidate_grad,
                                     const T* items, int64_t width, T* out) {
  const int64_t column = int64_t(blockIdx.y) * kColumns + threadIdx.x;
  if (column >= width) return;
  for (int64_t row = blockIdx.x; row < rows.batch; row += gridDim.x) {
    T sum = 0;
    const core::Span liked = core::positives(rows, row);
    for (const int64_t* id = liked.begin; id < liked.end; ++id) {
      if (*id < 0 || *id >= rows.num_items) continue;
      sum += gradient.positive(row, id) * items[*id * width + column];
    }
    const int64_t end = core::candidate_end(rows, row);
    for (int64_t c = core::candidate_begin(rows, row); c < end; ++c) {
      const int64_t item = rows.candidate_ids[c];
      if (item < 0 || item >= rows.num_items) continue;
      sum += candidate_grad[c] * items[item * width + column];
    }
    out[row * width + column] = sum;
  }
}

// First place in `order` whose candidate is not below `item`.
template <class T>
static __device__ int64_t first_of_item(const core::Rows<T>& rows, const int64_t* order,
                                        int64_t item) {
  int64_t low = 0, high = rows.num_candidates;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2, at = order[middle];
    const bool known = at >= 0 && at < rows.num_candidates;
    if (known && rows.candidate_ids[at] < item) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// Candidate lists: out[item] = sum over the rows that have the item as a positive, then over its
// candidates, found through `order` (positions of candidate_ids sorted by item, stable).
template <class T, class Gradient>
static __global__ void sum_item_lists(Gradient gradient, core::Rows<T> rows,
                                      const T* candidate_grad, const int64_t* order, const T* users,
                                      int64_t width, T* out) {
  __shared__ T gradients[kColumns];
  const int64_t column = int64_t(blockIdx.y) * kColumns + threadIdx.x;
  const bool inside = column < width;
  for (int64_t item = blockIdx.x; item < rows.num_items; item += gridDim.x) {
    T sum = 0;
    for (int64_t first = 0; first < rows.batch; first += kColumns) {
      const int64_t row = first + threadIdx.x;
      bool found = false;
      if (row < rows.batch) {
        const core::Span liked = core::positives(rows, row);
        const int64_t* id = core::lower_bound(liked, item);
        found = id < liked.end && *id == item;
        gradients[threadIdx.x] = found ? gradient.positive(row, id) : T(0);
      }
      if (__syncthreads_or(found)) {
        for (int64_t r = 0; inside && r < kColumns && first + r < rows.batch; ++r) {
          if (gradients[r] != 0) sum += gradients[r] * users[(first + r) * width + column];
        }
      }
      __syncthreads();
    }
    for (int64_t p = first_of_item(rows, order, item); inside && p < rows.num_candidates; ++p) {
      const int64_t c = order[p];
      if (c < 0 || c >= rows.num_candidates || rows.candidate_ids[c] != item) break;
      const core::Span starts{rows.candidate_ptr, rows.candidate_ptr + rows.batch + 1};
      const int64_t row = core::lower_bound(starts, c + 1) - rows.candidate_ptr - 1;
      if (row < 0 || row >= rows.batch) break;
      sum += candidate_grad[c] * users[row * width + column];
    }
    if (inside) out[item * width + column] = sum;
  }
}

// How the sums over all pairs are split: parts of the items for the users' gradients, parts of the
// rows for the items'.
struct PairParts {
  int64_t of_items, of_rows;
};

template <class T, class Gradient>
PairParts pair_parts(const core::Rows<T>& rows, int64_t width) {
  const int64_t row_tiles = tiles_of(rows.batch, kTile);
  const int64_t item_tiles = tiles_of(rows.num_items, kTile), columns = tiles_of(width, kColumns);
  return {num_parts(row_tiles * columns, item_tiles,
                    blocks_at_once(sum_all_pairs<true, T, Gradient>, kThreads)),
          num_parts(item_tiles * columns, row_tiles,
                    blocks_at_once(sum_all_pairs<false, T, Gradient>, kThreads))};
}

// Numbers of scratch that sum_pair_gradients takes: the parts of one side at a time.
template <class T, class Gradient>
int64_t pair_gradients_scratch(const core::Rows<T>& rows, int64_t width) {
  if (rows.candidate_ptr != nullptr) return 0;
  const PairParts parts = pair_parts<T, Gradient>(rows, width);
  const int64_t users = parts_scratch(parts.of_items, rows.batch * width);
  const int64_t items = parts_scratch(parts.of_rows, rows.num_items * width);
  return users > items ? users : items;
}

template <bool kUsersOwn, class T, class Gradient>
void sum_all_parts(const Gradient& gradient, const core::Rows<T>& rows, const T* users,
                   const T* items, int64_t width, int64_t parts, T* scratch, T* out,
                   cudaStream_t stream) {
  const int64_t num_owners = kUsersOwn ? rows.batch : rows.num_items;
  const dim3 grid{unsigned(tiles_of(num_owners, kTile)), unsigned(tiles_of(width, kColumns)),
                  unsigned(parts)};
  const auto kernel = sum_all_pairs<kUsersOwn, T, Gradient>;
  kernel<<<grid, kThreads, 0, stream>>>(gradient, rows, users, items, width,
                                        parts > 1 ? scratch : out);
  check_launch();
  if (parts > 1) sum_parts(scratch, parts, out, num_owners * width, stream);
}

// dL/d(users) [batch, width] and dL/d(items) [num_items, width]. With candidate lists
// `candidate_grad` holds their gradients.
template <class T, class Gradient>
void sum_pair_gradients(const Gradient& gradient, const core::Rows<T>& rows, const T* users,
                        const T* items, int64_t width, const T* candidate_grad,
                        const int64_t* candidate_order, T* scratch, T* user_grad, T* item_grad,
                        cudaStream_t stream) {
  if (rows.candidate_ptr == nullptr) {
    const PairParts parts = pair_parts<T, Gradient>(rows, width);
    if (rows.batch > 0) {
      sum_all_parts<true>(gradient, rows, users, items, width, parts.of_items, scratch, user_grad,
                          stream);
    }
    if (rows.num_items > 0) {
      sum_all_parts<false>(gradient, rows, users, items, width, parts.of_rows, scratch, item_grad,
                           stream);
    }
    return;
  }
  if (rows.batch > 0) {
    sum_row_lists<<<column_grid(rows.batch, width), kColumns, 0, stream>>>(
        gradient, rows, candidate_grad, items, width, user_grad);
    check_launch();
  }
  if (rows.num_items > 0) {
    sum_item_lists<<<column_grid(rows.num_items, width), kColumns, 0, stream>>>(
        gradient, rows, candidate_grad, candidate_order, users, width, item_grad);
    check_launch();
  }
}

}  // namespace hashgcn::cuda

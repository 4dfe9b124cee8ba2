// Score tables of all items. Forward: a warp has 32 rows, one a lane, and counts distances in
// columns of shared memory. Backward: a warp has 32 rows or 32 items, looks the gradients of their
// scores up where tensor cores want them, and multiplies them with the codes there.
#pragma once

#include "pair_gradients.cuh"
#include "score_tables.h"
#include "tensor_cores.cuh"
#include "warps.cuh"

namespace hashgcn::cuda {

constexpr int kTiledWarps = 4, kTiledThreads = kTiledWarps * kWarp;
constexpr int64_t kWantedWarps = 2112;  // 16 for each multiprocessor of an H200

// Slices of the items, for as many warps as a GPU holds; a slice has a part for each of 4 warps.
inline int64_t item_slices(int64_t batch, int64_t num_items) {
  const int64_t groups = (batch + kWarp - 1) / kWarp;
  const int64_t wanted = (kWantedWarps / kTiledWarps + groups - 1) / groups;
  const int64_t most = (num_items + kTiledThreads - 1) / kTiledThreads;
  return wanted < most ? wanted : most;
}

struct Part {
  int64_t begin, end;
};

// A warp's items, whole tiles of 32.
static __device__ Part part_of(int64_t part, int64_t parts, int64_t num_items) {
  const int64_t size = ((num_items + parts - 1) / parts + kWarp - 1) / kWarp * kWarp;
  const int64_t begin = part * size < num_items ? part * size : num_items;
  return {begin, num_items - begin < size ? num_items : begin + size};
}

// counts [distances, batch] += how many items have each distance. Whole numbers: their sums do not
// depend on the order of blocks.
template <int kWords, class T>
static __global__ void __launch_bounds__(kTiledThreads)
    count_distances(core::ScoreTables<T> tables, unsigned int* counts) {
  constexpr int kWarps = kTiledWarps / kWords, kBins = 64 * kWords + 1;
  __shared__ unsigned int count[kBins][kWarps * kWarp];
  alignas(16) __shared__ uint64_t tiles[kWarps][kWarp][kWords];
  const int64_t batch = tables.rows.batch;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t row = int64_t(blockIdx.x) * kWarp + lane;
  const Code<kWords> code(tables.user_words, row, row < batch);
  const Part part = part_of(int64_t(blockIdx.y) * kWarps + warp, int64_t(gridDim.y) * kWarps,
                            tables.rows.num_items);
  for (int d = 0; d < kBins; ++d) count[d][threadIdx.x] = 0;
  const auto visit = [&](int64_t first, auto* tile) {
    for_each_distance(code, tile, [&](int j, int distance) {
      if (first + j < part.end) ++count[distance][threadIdx.x];
    });
  };
  for_each_tile<kWords>(tables.item_words, part.begin, part.end, tiles[warp], visit);
  __syncthreads();
  for (int d = warp; d < kBins; d += kWarps) {
    unsigned int sum = 0;
    for (int w = 0; w < kWarps; ++w) sum += count[d][w * kWarp + lane];
    if (row < batch && sum > 0) atomicAdd(&counts[d * batch + row], sum);
  }
}

// A block has a row: counts its positives and writes its tables.
template <class T>
static __global__ void __launch_bounds__(kWarp)
    write_tables(core::ScoreTables<T> tables, const unsigned int* counts, T* v_neg, T* v_pos,
                 T* neg, T* pos) {
  __shared__ unsigned int positive_count[kMaxTiledLength + 1];
  const core::Rows<T>& rows = tables.rows;
  const int f = int(tables.code_length);
  const int64_t row = blockIdx.x;
  for (int w = threadIdx.x; w <= f; w += kWarp) positive_count[w] = 0;
  __syncthreads();
  const core::Span liked = core::positives(rows, row);
  for (const int64_t* id = liked.begin + threadIdx.x; id < liked.end; id += kWarp) {
    if (*id < 0 || *id >= rows.num_items) continue;
    atomicAdd(&positive_count[core::level(tables, row, *id)], 1u);
  }
  __syncthreads();
  for (int w = threadIdx.x; w <= f; w += kWarp) {
    const int64_t out = row * (f + 1) + w;
    const unsigned int count = rows.users[row] < 0 ? 0 : counts[(f - w) * rows.batch + row];
    v_neg[out] = v_pos[out] = T(2 * w - f);
    neg[out] = T(count - positive_count[w]);
    pos[out] = T(positive_count[w]);
  }
}

// positive [tiles of 32 items, batch]: bit j, the tile's item j is a positive of the row.
template <class T>
static __global__ void mark_positives(core::Rows<T> rows, uint32_t* positive) {
  const int64_t row = blockIdx.x;
  const core::Span liked = core::positives(rows, row);
  for (const int64_t* id = liked.begin + threadIdx.x; id < liked.end; id += kWarp) {
    if (*id < 0 || *id >= rows.num_items) continue;
    atomicOr(&positive[*id / 32 * rows.batch + row], 1u << (*id % 32));
  }
}

// By distance: dL/ds of 32 rows' pairs, of negatives, then of positives; 0 for padding. One more
// column spreads rows over banks.
template <int kWords>
struct Shares {
  float by_distance[2][kWarp][64 * kWords + 2];

  // By all threads of a block.
  __device__ void load(const core::ScoreTables<float>& tables,
                       const TableGradients<float>& gradients, int64_t first_row) {
    const int f = int(tables.code_length);
    for (int i = threadIdx.x; i < kWarp * (f + 1); i += kTiledThreads) {
      const int r = i / (f + 1), d = i % (f + 1);
      const int64_t row = first_row + r, at = row * (f + 1) + f - d;
      const bool real = row < tables.rows.batch && tables.rows.users[row] >= 0;
      by_distance[0][r][d] = real ? core::share(gradients.v_neg[at], gradients.neg[at]) : 0.0f;
      by_distance[1][r][d] = real ? core::share(gradients.v_pos[at], gradients.pos[at]) : 0.0f;
    }
  }
};

// out = G items (kUsersOwn) or G^T users for 64 columns, G [batch, num_items] the gradients of the
// scores, by tiles of 32 x 32. Gradients are split into three bfloat16, codes are signs: products
// are exact, and each tile's sums are added in float32. Users: a warp sums over a part of the
// items, into out [parts, batch, f]; items: over all rows, into out [num_items, f].
template <bool kUsersOwn, int kWords>
static __global__ void __launch_bounds__(kTiledThreads, 3)
    sum_tiles(core::ScoreTables<float> tables, TableGradients<float> gradients,
              const uint32_t* positive, float* out) {
  __shared__ Shares<kWords> shares;
  alignas(16) __shared__ uint64_t tiles[kTiledWarps][kWarp][kWords];
  const int64_t batch = tables.rows.batch, num_items = tables.rows.num_items;
  const int64_t f = tables.code_length;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, g = lane / 4, t = lane % 4;
  const int group = blockIdx.z;  // of 64 columns
  const int64_t part = int64_t(blockIdx.y) * kTiledWarps + warp;
  const int64_t num_owners = kUsersOwn ? batch : num_items;
  const int64_t owner = (kUsersOwn ? blockIdx.x : blockIdx.x * int64_t(kTiledWarps) + warp) * kWarp;
  const Part others =
      kUsersOwn ? part_of(part, int64_t(gridDim.y) * kTiledWarps, num_items) : Part{0, batch};
  const uint64_t* owner_words = kUsersOwn ? tables.user_words : tables.item_words;
  const uint64_t* other_words = kUsersOwn ? tables.item_words : tables.user_words;
  Code<kWords> own[4] = {{owner_words, owner + g, owner + g < num_owners},
                         {owner_words, owner + g + 8, owner + g + 8 < num_owners},
                         {owner_words, owner + g + 16, owner + g + 16 < num_owners},
                         {owner_words, owner + g + 24, owner + g + 24 < num_owners}};
  float sum[2][8][4] = {};
  if (kUsersOwn) {
    shares.load(tables, gradients, owner);
    __syncthreads();
  }
  for_each_tile<kWords>(
      other_words, others.begin, others.end, tiles[warp], [&](int64_t first, auto* tile) {
        if (!kUsersOwn) {
          __syncthreads();
          shares.load(tables, gradients, first);
          __syncthreads();
        }
        // Of this tile's row `lane`.
        const int64_t row = (kUsersOwn ? owner : first) + lane;
        const int64_t item_tile = (kUsersOwn ? first : owner) / kWarp;
        const bool inside = row < batch && item_tile * kWarp < num_items;
        const uint32_t liked = inside ? positive[item_tile * batch + row] : 0;
#pragma unroll 1  // both at once would not fit into registers
        for (int half = 0; half < 2; ++half) {
          const int at[4] = {16 * half + 2 * t, 16 * half + 2 * t + 1, 16 * half + 2 * t + 8,
                             16 * half + 2 * t + 9};
          uint32_t a[2][3][4];  // by tile of 16 owners and part of the gradients
#pragma unroll
          for (int o = 0; o < 4; ++o) {
            float value[4];
#pragma unroll
            for (int c = 0; c < 4; ++c) {
              const int r = kUsersOwn ? g + 8 * o : at[c], item = kUsersOwn ? at[c] : g + 8 * o;
              const uint32_t row_liked = __shfl_sync(kAllLanes, liked, r);
              const int distance = own[o].distance(tile[at[c]]);
              const float share = shares.by_distance[row_liked >> item & 1][r][distance];
              value[c] = first + at[c] < others.end ? share : 0.0f;
            }
            uint32_t low[3], high[3];
            split(value[0], value[1], low);
            split(value[2], value[3], high);
#pragma unroll
            for (int p = 0; p < 3; ++p) {
              a[o / 2][p][o % 2] = low[p];
              a[o / 2][p][o % 2 + 2] = high[p];
            }
          }
          uint64_t bits[4];
#pragma unroll
          for (int c = 0; c < 4; ++c) bits[c] = tile[at[c]][group] >> g;
#pragma unroll
          for (int n = 0; n < 8; ++n) {
            const uint32_t b[2] = {signs_of(bits[0], bits[1], 8 * n),
                                   signs_of(bits[2], bits[3], 8 * n)};
#pragma unroll
            for (int m = 0; m < 2; ++m) {
              float product[4] = {};
#pragma unroll
              for (int p = 2; p >= 0; --p) multiply_add(product, a[m][p], b);
#pragma unroll
              for (int i = 0; i < 4; ++i) sum[m][n][i] += product[i];
            }
          }
        }
      });
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int64_t at = owner + 16 * m + g + i / 2 * 8,
                      column = 64 * group + 8 * n + 2 * t + i % 2;
        const int64_t from = kUsersOwn ? part * batch : 0;
        if (at < num_owners && column < f) out[(from + at) * f + column] = sum[m][n][i];
      }
    }
  }
}

static __global__ void sum_parts(const float* parts, int64_t num_parts, float* out, int64_t count) {
  const int64_t i = element_index();
  if (i >= count) return;
  float sum = 0;
  for (int64_t part = 0; part < num_parts; ++part) sum += parts[part * count + i];
  out[i] = sum;
}

template <class T>
int64_t score_tables_scratch(const core::ScoreTables<T>& tables, bool tiled) {
  return tiled ? 4 * tables.rows.batch * (core::words_per_code(tables.code_length) * 64 + 1) : 0;
}

template <class T>
static void tiled_tables(const core::ScoreTables<T>& tables, unsigned int* counts, T* v_neg,
                         T* v_pos, T* neg, T* pos, cudaStream_t stream) {
  const int64_t batch = tables.rows.batch, words = core::words_per_code(tables.code_length);
  check_cuda(cudaMemsetAsync(counts, 0, size_t(score_tables_scratch(tables, true)), stream));
  const dim3 grid(unsigned((batch + kWarp - 1) / kWarp),
                  unsigned(item_slices(batch, tables.rows.num_items)));
  const auto kernel = words == 1 ? count_distances<1, T> : count_distances<2, T>;
  if (grid.y > 0) {
    kernel<<<grid, unsigned(kTiledThreads / words), 0, stream>>>(tables, counts);
    check_launch();
  }
  write_tables<<<unsigned(batch), kWarp, 0, stream>>>(tables, counts, v_neg, v_pos, neg, pos);
  check_launch();
}

template <class T>
int64_t score_tables_backward_scratch(const core::ScoreTables<T>& tables, bool tiled) {
  const int64_t batch = tables.rows.batch, num_items = tables.rows.num_items;
  if (!tiled || batch == 0) return 0;
  const int64_t parts = item_slices(batch, num_items) * kTiledWarps;
  return 4 * batch * ((num_items + 31) / 32 + parts * tables.code_length);
}

static void tiled_gradients(const core::ScoreTables<float>& tables,
                            const TableGradients<float>& gradients, uint32_t* positive,
                            float* user_grad, float* item_grad, cudaStream_t stream) {
  const int64_t batch = tables.rows.batch, num_items = tables.rows.num_items;
  const int64_t f = tables.code_length, slices = item_slices(batch, num_items);
  const int64_t words = core::words_per_code(f), item_tiles = (num_items + 31) / 32;
  check_cuda(cudaMemsetAsync(positive, 0, size_t(4 * item_tiles * batch), stream));
  mark_positives<<<unsigned(batch), kWarp, 0, stream>>>(tables.rows, positive);
  check_launch();
  float* parts = reinterpret_cast<float*>(positive + item_tiles * batch);
  const dim3 by_user(unsigned((batch + kWarp - 1) / kWarp), unsigned(slices), unsigned(words));
  const auto users = words == 1 ? sum_tiles<true, 1> : sum_tiles<true, 2>;
  users<<<by_user, kTiledThreads, 0, stream>>>(tables, gradients, positive, parts);
  check_launch();
  sum_parts<<<element_grid(batch * f), kThreads, 0, stream>>>(parts, slices * kTiledWarps,
                                                              user_grad, batch * f);
  check_launch();
  const dim3 by_item(unsigned((num_items + kTiledThreads - 1) / kTiledThreads), 1, unsigned(words));
  const auto items = words == 1 ? sum_tiles<false, 1> : sum_tiles<false, 2>;
  items<<<by_item, kTiledThreads, 0, stream>>>(tables, gradients, positive, item_grad);
  check_launch();
}

}  // namespace hashgcn::cuda

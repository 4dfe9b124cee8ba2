// Score tables of all items. Forward: a warp has 32 rows, one a lane, and counts distances in
// columns of shared memory. Backward: a warp has 32 rows or 32 items, looks the gradients of their
// scores up where tensor cores want them, and multiplies them with the codes there.
#pragma once

#include "packs.cuh"
#include "parts.cuh"
#include "score_shares.cuh"
#include "score_tables.h"
#include "tensor_cores.cuh"
#include "warps.cuh"

namespace hashgcn::cuda {

// Longest code, in bits.
constexpr int kMaxTiledLength = 128;

constexpr int kTiledWarps = 4, kTiledThreads = kTiledWarps * kWarp;
static_assert(kShareRows == kWarp, "a tile of rows is a warp's");

// counts [distances, batch] += how many items have each distance. Whole numbers: their sums do not
// depend on the order of blocks.
template <int kWords>
static __global__ void __launch_bounds__(kTiledThreads)
    count_distances(core::ScoreTables<float> tables, unsigned int* counts) {
  constexpr int kWarps = kTiledWarps / kWords, kBins = 64 * kWords + 1;
  __shared__ unsigned int count[kBins][kWarps * kWarp];
  alignas(16) __shared__ uint64_t tiles[kWarps][kWarp][kWords];
  const int64_t batch = tables.rows.batch;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t row = int64_t(blockIdx.x) * kWarp + lane;
  const Code<kWords> code(tables.user_words, row, row < batch);
  const Part part = part_of(int64_t(blockIdx.y) * kWarps + warp, int64_t(gridDim.y) * kWarps,
                            tables.rows.num_items, kWarp);
  for (int d = 0; d < kBins; ++d) count[d][threadIdx.x] = 0;
  const auto visit = [&](int64_t first, auto* tile) {
    if (first + kWarp <= part.end) {
      for_each_distance(code, tile, [&](int, int distance) { ++count[distance][threadIdx.x]; });
      return;
    }
    for (int j = 0; first + j < part.end; ++j) ++count[code.distance(tile[j])][threadIdx.x];
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
static __global__ void __launch_bounds__(kWarp)
    write_tables(core::ScoreTables<float> tables, const unsigned int* counts, float* v_neg,
                 float* v_pos, float* neg, float* pos) {
  __shared__ unsigned int positive_count[kMaxTiledLength + 1];
  const core::Rows<float>& rows = tables.rows;
  const int f = int(tables.code_length);
  const int64_t row = blockIdx.x;
  for (int w = threadIdx.x; w <= f; w += kWarp) positive_count[w] = 0;
  __syncthreads();
  const core::Span liked = core::positives(rows, row);
  for (const int64_t* id = liked.begin + threadIdx.x; id < liked.end; id += kWarp) {
    if (*id < 0 || *id >= rows.num_items) continue;
    atomicAdd(&positive_count[core::column(tables, row, *id)], 1u);
  }
  __syncthreads();
  for (int w = threadIdx.x; w <= f; w += kWarp) {
    const int64_t out = row * (f + 1) + w;
    const unsigned int count = rows.users[row] < 0 ? 0 : counts[(f - w) * rows.batch + row];
    v_neg[out] = v_pos[out] = float(2 * w - f);
    neg[out] = float(count - positive_count[w]);
    pos[out] = float(positive_count[w]);
  }
}

// positive [tiles of 32 items, batch]: bit j, the tile's item j is a positive of the row.
static __global__ void mark_positives(core::Rows<float> rows, uint32_t* positive) {
  const int64_t row = blockIdx.x;
  const core::Span liked = core::positives(rows, row);
  for (const int64_t* id = liked.begin + threadIdx.x; id < liked.end; id += kWarp) {
    if (*id < 0 || *id >= rows.num_items) continue;
    atomicOr(&positive[*id / 32 * rows.batch + row], 1u << (*id % 32));
  }
}

// A tile's part of the share table; when all is looked up, room for a warp's sums.
template <int kWords>
struct Shares {
  float by_distance[2][kWarp][64 * kWords + 2];

  // By all threads of a block.
  __device__ void load(const ShareTable<float>& table, int64_t first_row) {
    using Four = Pack<float, kWide<float>>;
    constexpr int kCount = sizeof(by_distance) / sizeof(float);
    static_assert(kCount % kWide<float> == 0);
    const float* from = table.values + first_row / kWarp * kCount;
    for (int i = threadIdx.x; i < kCount / kWide<float>; i += kTiledThreads) {
      reinterpret_cast<Four*>(by_distance)[i] = reinterpret_cast<const Four*>(from)[i];
    }
  }
};

// Calls visit(i, sum) for a lane's 64 sums, which the compiler keeps in registers.
template <class Visit>
static __device__ __forceinline__ void for_each_sum(float (&sum)[2][8][4], const Visit& visit) {
#pragma unroll
  for (int i = 0; i < 64; ++i) visit(i, sum[i / 32][i / 4 % 8][i % 4]);
}

// out = G items (kUsersOwn) or G^T users for 64 columns, G [batch, num_items] the gradients of the
// scores, by tiles of 32 x 32. Gradients are split into three bfloat16, codes are signs: products
// are exact, and each tile's sums are added in float32. Users: a block has 32 of them and a part of
// the items, which its warps share out; items: a warp has 32, and its block a part of the rows.
// Into out [parts, users or items, f].
template <bool kUsersOwn, int kWords>
static __global__ void __launch_bounds__(kTiledThreads, 3)
    sum_tiles(core::ScoreTables<float> tables, ShareTable<float> share_table,
              const uint32_t* positive, float* out) {
  alignas(16) __shared__ Shares<kWords> shares;
  alignas(16) __shared__ uint64_t tiles[kTiledWarps][kWarp][kWords];
  const int64_t batch = tables.rows.batch, num_items = tables.rows.num_items;
  const int64_t f = tables.code_length;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, g = lane / 4, t = lane % 4;
  const int group = blockIdx.z;  // of 64 columns
  const int64_t num_owners = kUsersOwn ? batch : num_items;
  const int64_t owner = (kUsersOwn ? blockIdx.x : blockIdx.x * int64_t(kTiledWarps) + warp) * kWarp;
  const Part others = kUsersOwn ? part_of(int64_t(blockIdx.y) * kTiledWarps + warp,
                                          int64_t(gridDim.y) * kTiledWarps, num_items, kWarp)
                                : part_of(blockIdx.y, gridDim.y, batch, kWarp);
  const uint64_t* owner_words = kUsersOwn ? tables.user_words : tables.item_words;
  const uint64_t* other_words = kUsersOwn ? tables.item_words : tables.user_words;
  Code<kWords> own[4] = {{owner_words, owner + g, owner + g < num_owners},
                         {owner_words, owner + g + 8, owner + g + 8 < num_owners},
                         {owner_words, owner + g + 16, owner + g + 16 < num_owners},
                         {owner_words, owner + g + 24, owner + g + 24 < num_owners}};
  float sum[2][8][4] = {};
  if (kUsersOwn) {
    shares.load(share_table, owner);
    __syncthreads();
  }
  for_each_tile<kWords>(
      other_words, others.begin, others.end, tiles[warp], [&](int64_t first, auto* tile) {
        if (!kUsersOwn) {
          __syncthreads();
          shares.load(share_table, first);
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
  if (kUsersOwn) {
    // The first warp adds the others' sums to its own, in the order of warps.
    float (*sums)[kWarp] = reinterpret_cast<float (*)[kWarp]>(shares.by_distance);
    for (int w = 1; w < kTiledWarps; ++w) {
      __syncthreads();
      for_each_sum(sum, [&](int i, float& own_sum) {
        if (warp == w) sums[i][lane] = own_sum;
      });
      __syncthreads();
      for_each_sum(sum, [&](int i, float& own_sum) {
        if (warp == 0) own_sum += sums[i][lane];
      });
    }
    if (warp != 0) return;
  }
  const int64_t from = blockIdx.y * num_owners;
  for_each_sum(sum, [&](int i, float& own_sum) {
    const int64_t at = owner + i / 32 * 16 + g + i % 4 / 2 * 8;
    const int64_t column = 64 * group + i / 4 % 8 * 8 + 2 * t + i % 2;
    if (at < num_owners && column < f) out[(from + at) * f + column] = own_sum;
  });
}

inline int64_t counts_bytes(const core::ScoreTables<float>& tables) {
  return 4 * tables.rows.batch * (core::words_per_code(tables.code_length) * 64 + 1);
}

static void tiled_tables(const core::ScoreTables<float>& tables, unsigned int* counts, float* v_neg,
                         float* v_pos, float* neg, float* pos, cudaStream_t stream) {
  const int64_t batch = tables.rows.batch, words = core::words_per_code(tables.code_length);
  check_cuda(cudaMemsetAsync(counts, 0, size_t(counts_bytes(tables)), stream));
  const auto kernel = words == 1 ? count_distances<1> : count_distances<2>;
  const int threads = int(kTiledThreads / words);
  const int64_t groups = tiles_of(batch, kWarp);
  const int64_t parts =
      num_parts(groups, tiles_of(tables.rows.num_items, threads), blocks_at_once(kernel, threads));
  const dim3 grid{unsigned(groups), unsigned(parts)};
  kernel<<<grid, unsigned(threads), 0, stream>>>(tables, counts);
  check_launch();
  write_tables<<<unsigned(batch), kWarp, 0, stream>>>(tables, counts, v_neg, v_pos, neg, pos);
  check_launch();
}

// Launches of sum_tiles: a side's kernel, its grid, and where its parts go.
struct TiledSums {
  void (*kernel)(core::ScoreTables<float>, ShareTable<float>, const uint32_t*, float*);
  int64_t num_owners, blocks, parts, words;

  TiledSums(const core::ScoreTables<float>& tables, bool users_own) {
    const int64_t batch = tables.rows.batch, num_items = tables.rows.num_items;
    words = core::words_per_code(tables.code_length);
    num_owners = users_own ? batch : num_items;
    if (users_own) {
      kernel = words == 1 ? sum_tiles<true, 1> : sum_tiles<true, 2>;
    } else {
      kernel = words == 1 ? sum_tiles<false, 1> : sum_tiles<false, 2>;
    }
    blocks = tiles_of(num_owners, users_own ? kWarp : kTiledThreads);
    const int64_t tiles = users_own ? tiles_of(num_items, kTiledThreads) : tiles_of(batch, kWarp);
    parts = num_parts(blocks * words, tiles, blocks_at_once(kernel, kTiledThreads));
  }

  int64_t scratch(int64_t code_length) const {
    return parts_scratch(parts, num_owners * code_length);
  }

  void run(const core::ScoreTables<float>& tables, const ShareTable<float>& shares,
           const uint32_t* positive, float* scratch, float* out, cudaStream_t stream) const {
    const dim3 grid{unsigned(blocks), unsigned(parts), unsigned(words)};
    kernel<<<grid, kTiledThreads, 0, stream>>>(tables, shares, positive, parts > 1 ? scratch : out);
    check_launch();
    if (parts > 1) sum_parts(scratch, parts, out, num_owners * tables.code_length, stream);
  }
};

// A bit for each pair, then parts of one side at a time.
inline int64_t tiled_gradients_scratch(const core::ScoreTables<float>& tables) {
  const int64_t users = TiledSums(tables, true).scratch(tables.code_length);
  const int64_t items = TiledSums(tables, false).scratch(tables.code_length);
  const int64_t bits = tables.rows.batch * tiles_of(tables.rows.num_items, 32);
  return 4 * (bits + (users > items ? users : items));
}

static void tiled_gradients(const core::ScoreTables<float>& tables, const ShareTable<float>& shares,
                            float* scratch, float* user_grad, float* item_grad,
                            cudaStream_t stream) {
  const int64_t batch = tables.rows.batch, bits = batch * tiles_of(tables.rows.num_items, 32);
  uint32_t* positive = reinterpret_cast<uint32_t*>(scratch);
  check_cuda(cudaMemsetAsync(positive, 0, size_t(4 * bits), stream));
  mark_positives<<<unsigned(batch), kWarp, 0, stream>>>(tables.rows, positive);
  check_launch();
  TiledSums(tables, true).run(tables, shares, positive, scratch + bits, user_grad, stream);
  TiledSums(tables, false).run(tables, shares, positive, scratch + bits, item_grad, stream);
}

}  // namespace hashgcn::cuda

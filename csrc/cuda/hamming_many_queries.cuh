// Top-N of many queries. A warp has 32 queries, one a lane, and a part of the items, which it reads
// once for all of them; a lane counts distances in a column of shared memory of its own, so that no
// two threads meet and the next rank of a distance is a plain increment, in row order.
#pragma once

#include "hamming_ranks.cuh"
#include "warps.cuh"

namespace hashgcn::cuda {

constexpr int kMaxManyWords = 4;

// As many warps share their queries as have room for their counts in 48 KiB.
template <int kWords>
constexpr int kManyWarps = kWords == 1   ? 4
                           : kWords == 2 ? 2
                                         : 1;

template <int kWords>
static __global__ void __launch_bounds__(kWarp* kManyWarps<kWords>)
    topk_many_queries(core::HammingTopk problem, int64_t* ids, int32_t* distances) {
  constexpr int kWarps = kManyWarps<kWords>, kBins = 64 * kWords + 1;
  __shared__ unsigned int next[kBins][kWarps * kWarp];  // counts, then next ranks; by thread
  alignas(16) __shared__ uint64_t tiles[kWarps][kWarp][kWords];
  __shared__ int last[kWarp];
  __shared__ unsigned int num_found[kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t n = problem.num_items, k = problem.k;
  const int64_t part = (n + kWarps - 1) / kWarps;
  const int64_t begin = part * warp < n ? part * warp : n,
                end = n - begin < part ? n : begin + part;
  const int64_t first_query = int64_t(blockIdx.x) * kWarp, query = first_query + lane;
  const bool exists = query < problem.num_queries;
  const Code<kWords> code(problem.queries, query, exists);
  const core::Span list = exists ? sorted_list(problem, query) : core::Span{};

  // Calls count(item, distance) for the warp's items that the lane's query may get, in row order.
  const auto visit = [&](const auto& count) {
    const int64_t* id = core::lower_bound(list, begin);
    int64_t excluded = id < list.end ? *id : INT64_MAX;
    for_each_tile<kWords>(problem.items, begin, end, tiles[warp], [&](int64_t first, auto* tile) {
      const int64_t mine = first + lane;
      const bool allowed = mine < end && (problem.allow == nullptr || problem.allow[mine]);
      unsigned candidates = __ballot_sync(kAllLanes, allowed);
      for (; excluded < first + kWarp; excluded = ++id < list.end ? *id : INT64_MAX) {
        if (excluded >= first) candidates &= ~(1u << (excluded - first));
      }
      if (!exists) candidates = 0;
      for_each_distance(code, tile, [&](int j, int distance) {
        if ((candidates >> j) & 1) count(first + j, distance);
      });
    });
  };

  for (int d = 0; d < kBins; ++d) next[d][threadIdx.x] = 0;
  visit([&](int64_t, int distance) { ++next[distance][threadIdx.x]; });
  __syncthreads();
  if (warp == 0) {
    int64_t found = 0;
    int d = -1;
    while (found < k && d + 1 < kBins) {
      ++d;
      for (int w = 0; w < kWarps; ++w) {
        const unsigned int count = next[d][w * kWarp + lane];
        next[d][w * kWarp + lane] = unsigned(found);
        found += count;
      }
    }
    last[lane] = d;
    num_found[lane] = unsigned(found < k ? found : k);
  }
  __syncthreads();
  const int limit = last[lane];
  visit([&](int64_t item, int distance) {
    if (distance > limit) return;
    const unsigned int rank = next[distance][threadIdx.x]++;
    if (rank >= k) return;
    distances[query * k + rank] = distance;
    ids[query * k + rank] = item;
  });
  for (int q = 0; q < kWarp && first_query + q < problem.num_queries; ++q) {
    fill_rest(problem, first_query + q, num_found[q], ids, distances);
  }
}

template <int kWords = kMaxManyWords>
static void many_queries(const core::HammingTopk& problem, int64_t* ids, int32_t* distances,
                         cudaStream_t stream) {
  if constexpr (kWords > 1) {
    if (core::words_per_code(problem.code_length) < kWords) {
      return many_queries<kWords - 1>(problem, ids, distances, stream);
    }
  }
  const unsigned blocks = unsigned((problem.num_queries + kWarp - 1) / kWarp);
  const auto kernel = topk_many_queries<kWords>;
  kernel<<<blocks, kWarp * kManyWarps<kWords>, 0, stream>>>(problem, ids, distances);
  check_launch();
}

}  // namespace hashgcn::cuda

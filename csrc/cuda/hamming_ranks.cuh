// From counts of distances to ranks, and items to their ranks.
#pragma once

#include "exclusions.cuh"

namespace hashgcn::cuda {

// Turns the counts of a query's distances into the first rank of each; `last` becomes the largest
// distance that has a rank below k, the largest of all where there are fewer than k candidates.
// Returns the number of results. By one thread.
static __device__ unsigned int first_ranks(unsigned int* counts, int bins, int64_t k, int& last) {
  int64_t found = 0;
  for (last = -1; found < k && last + 1 < bins;) {
    unsigned int& count = counts[++last];
    const unsigned int first = unsigned(found);
    found += count;
    count = first;
  }
  return unsigned(found < k ? found : k);
}

// Distance of an item of the chunk that starts at `begin`, -1 if the item may not be returned.
static __device__ int distance_of(const core::HammingTopk& problem, int64_t query, int64_t item,
                                  int64_t begin, const unsigned int* excluded) {
  if (!is_candidate(problem, item, begin, excluded)) return -1;
  const int64_t words = core::words_per_code(problem.code_length);
  return core::graded_distance(problem.queries + query * problem.planes * words,
                               problem.items + item * words, words, problem.planes);
}

// Places the query's items [begin, end) of the chunk that starts at `begin` at the next ranks of
// their distances, a tile at a time in row order. By all threads of a block.
static __device__ void place_chunk(const core::HammingTopk& problem, int64_t query, int64_t begin,
                                   int64_t end, const unsigned int* excluded, int last,
                                   unsigned int* next, int* tile, int64_t* ids,
                                   int32_t* distances) {
  const int64_t k = problem.k;
  for (int64_t first = begin; first < end; first += kThreads) {
    const int64_t item = first + threadIdx.x;
    int distance = item < end ? distance_of(problem, query, item, begin, excluded) : -1;
    if (distance > last || (distance == last && next[last] >= k)) distance = -1;
    tile[threadIdx.x] = distance;
    if (!__syncthreads_or(distance >= 0)) continue;
    if (distance >= 0) {
      int64_t rank = next[distance];
      for (int e = 0; e < int(threadIdx.x); ++e) rank += tile[e] == distance;
      if (rank < k) {
        distances[query * k + rank] = distance;
        ids[query * k + rank] = item;
      }
    }
    __syncthreads();
    if (distance >= 0) atomicAdd(&next[distance], 1u);
    __syncthreads();
  }
}

// The query's ranks [found, k) have no item. By all threads of a block.
static __device__ void fill_rest(const core::HammingTopk& problem, int64_t query, int64_t found,
                                 int64_t* ids, int32_t* distances) {
  for (int64_t rank = found + threadIdx.x; rank < problem.k; rank += blockDim.x) {
    distances[query * problem.k + rank] = core::kNoDistance;
    ids[query * problem.k + rank] = core::kNoItem;
  }
}

}  // namespace hashgcn::cuda

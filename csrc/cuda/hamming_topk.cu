#include "exclusions.cuh"
#include "hamming_topk.h"

namespace hashgcn::cuda {

// Distance of an item of the chunk that starts at `begin`, -1 if the item may not be returned.
static __device__ int distance_of(const core::HammingTopk& problem, int64_t query, int64_t item,
                                  int64_t begin, const unsigned int* excluded) {
  if (!is_candidate(problem, item, begin, excluded)) return -1;
  const int64_t words = core::words_per_code(problem.code_length);
  return core::hamming(problem.queries + query * words, problem.items + item * words, words);
}

// First the distances are counted, which gives the k-th one and where each distance's ranks begin.
// Then the items are placed, tile by tile in row order, at the next rank of their distance.
static __global__ void hamming_topk_kernel(core::HammingTopk problem, int64_t num_excluded,
                                           int bins, int32_t* distances, int64_t* ids,
                                           unsigned int* errors) {
  extern __shared__ unsigned int next[];  // by distance: how many items, then the next free rank
  __shared__ unsigned int excluded[kChunk / 32];
  __shared__ int tile[kThreads];
  __shared__ int last;
  __shared__ int64_t num_found;
  const int64_t n = problem.num_items, k = problem.k;
  for (int64_t query = blockIdx.x; query < problem.num_queries; query += gridDim.x) {
    const core::Span list = exclusions(problem, num_excluded, query, errors);
    for (int d = threadIdx.x; d < bins; d += kThreads) next[d] = 0;
    for (int64_t begin = 0; begin < n; begin += kChunk) {
      const int64_t end = n - begin < kChunk ? n : begin + kChunk;
      mark_excluded(list, begin, excluded);
      for (int64_t item = begin + threadIdx.x; item < end; item += kThreads) {
        const int distance = distance_of(problem, query, item, begin, excluded);
        if (distance >= 0) atomicAdd(&next[distance], 1u);
      }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      int64_t found = 0;
      for (last = -1; found < k && last + 1 < bins;) {
        const unsigned int count = next[++last];
        next[last] = unsigned(found);
        found += count;
      }
      num_found = found < k ? found : k;
    }
    __syncthreads();
    for (int64_t begin = 0; begin < n; begin += kChunk) {
      const int64_t end = n - begin < kChunk ? n : begin + kChunk;
      mark_excluded(list, begin, excluded);
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
    for (int64_t rank = num_found + threadIdx.x; rank < k; rank += kThreads) {
      distances[query * k + rank] = core::kNoDistance;
      ids[query * k + rank] = core::kNoItem;
    }
    __syncthreads();
  }
}

void hamming_topk(const core::HammingTopk& problem, int64_t num_excluded, int32_t* distances,
                  int64_t* ids, unsigned int* errors, cudaStream_t stream) {
  if (problem.num_queries == 0) return;
  // Bits past code_length may be set by mistake: the counters hold any distance of the words.
  const int bins = int(core::words_per_code(problem.code_length)) * 64 + 1;
  hamming_topk_kernel<<<row_grid(problem.num_queries), kThreads, bins * sizeof(unsigned int),
                        stream>>>(problem, num_excluded, bins, distances, ids, errors);
  check_launch();
}

}  // namespace hashgcn::cuda

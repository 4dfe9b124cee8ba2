#include "hamming_many_queries.cuh"
#include "hamming_split_items.cuh"
#include "hamming_topk.h"

namespace hashgcn::cuda {

// First the distances are counted, which gives the k-th one and where each distance's ranks begin.
// Then the items are placed, tile by tile in row order, at the next rank of their distance.
static __global__ void hamming_topk_kernel(core::HammingTopk problem, int64_t num_excluded,
                                           int bins, int32_t* distances, int64_t* ids,
                                           unsigned int* errors) {
  extern __shared__ unsigned int next[];  // by distance: how many items, then the next free rank
  __shared__ unsigned int excluded[kChunk / 32];
  __shared__ int tile[kThreads];
  __shared__ int last;
  __shared__ unsigned int num_found;
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
    if (threadIdx.x == 0) num_found = first_ranks(next, bins, k, last);
    __syncthreads();
    for (int64_t begin = 0; begin < n; begin += kChunk) {
      const int64_t end = n - begin < kChunk ? n : begin + kChunk;
      mark_excluded(list, begin, excluded);
      place_chunk(problem, query, begin, end, excluded, last, next, tile, distances, ids);
    }
    fill_rest(problem, query, num_found, distances, ids);
    __syncthreads();
  }
}

// Whether the kernels are many_queries, by name or, tiled, by the shape.
static bool is_many_queries(const core::HammingTopk& problem, HammingKernels kernels) {
  constexpr int64_t kMany = 4096;  // 128 warps, about one for each multiprocessor
  const bool fits = core::words_per_code(problem.code_length) <= kMaxManyWords;
  return kernels == HammingKernels::kManyQueries ||
         (kernels == HammingKernels::kTiled && fits && problem.num_queries >= kMany);
}

int64_t hamming_topk_scratch(const core::HammingTopk& problem, int64_t num_excluded,
                             HammingKernels kernels) {
  if (kernels == HammingKernels::kPlain || problem.num_queries == 0) return 0;
  const int64_t sorted = num_excluded * int64_t(sizeof(int64_t));
  return sorted + (is_many_queries(problem, kernels) ? 0 : Split(problem).scratch_bytes());
}

void hamming_topk(core::HammingTopk problem, int64_t num_excluded, HammingKernels kernels,
                  void* scratch, int32_t* distances, int64_t* ids, unsigned int* errors,
                  cudaStream_t stream) {
  if (problem.num_queries == 0) return;
  if (kernels == HammingKernels::kPlain) {
    // Bits past code_length may be set by mistake: the counters hold any distance of the words.
    const int bins = int(core::words_per_code(problem.code_length)) * 64 + 1;
    hamming_topk_kernel<<<row_grid(problem.num_queries), kThreads, bins * sizeof(unsigned int),
                          stream>>>(problem, num_excluded, bins, distances, ids, errors);
    check_launch();
    return;
  }
  int64_t* sorted = static_cast<int64_t*>(scratch);
  if (problem.exclude_ptr != nullptr) {
    sort_exclusions<<<row_grid(problem.num_queries), kSortThreads, 0, stream>>>(
        problem, num_excluded, sorted, errors);
    check_launch();
    problem.exclude_ids = sorted;
  }
  if (is_many_queries(problem, kernels)) {
    many_queries(problem, num_excluded, distances, ids, stream);
  } else {
    split_items(problem, num_excluded, sorted + num_excluded, distances, ids, stream);
  }
}

}  // namespace hashgcn::cuda

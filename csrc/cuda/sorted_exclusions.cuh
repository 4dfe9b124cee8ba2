// Exclusion lists in rising order: who walks over the items meets the excluded ones in passing.
#pragma once

#include "exclusions.cuh"

namespace hashgcn::cuda {

constexpr int kSortThreads = 64;

// Lists that rise, as a graph's do, are copied; others are sorted by counting who comes before.
static __global__ void __launch_bounds__(kSortThreads)
    sort_exclusions(core::HammingTopk problem, int64_t num_excluded, int64_t* sorted,
                    unsigned int* errors) {
  for (int64_t query = blockIdx.x; query < problem.num_queries; query += gridDim.x) {
    const core::Span list = exclusions(problem, num_excluded, query, errors);
    int64_t* out = sorted + (list.begin - problem.exclude_ids);
    bool rises = true;
    for (const int64_t* id = list.begin + threadIdx.x; id < list.end; id += kSortThreads) {
      rises &= id == list.begin || id[-1] <= *id;
    }
    rises = __syncthreads_and(rises);
    for (const int64_t* id = list.begin + threadIdx.x; id < list.end; id += kSortThreads) {
      int64_t rank = rises ? id - list.begin : 0;
      for (const int64_t* other = list.begin; !rises && other < list.end; ++other) {
        rank += *other < *id || (*other == *id && other < id);
      }
      out[rank] = *id;
    }
  }
}

// The query's list in a problem whose exclude_ids were sorted; empty if it does not lie inside.
static __device__ core::Span sorted_list(const core::HammingTopk& problem, int64_t num_excluded,
                                         int64_t query) {
  if (problem.exclude_ptr == nullptr) return {nullptr, nullptr};
  const int64_t begin = problem.exclude_ptr[query], end = problem.exclude_ptr[query + 1];
  const bool bad = begin < 0 || end < begin || end > num_excluded;
  if (bad) return {problem.exclude_ids, problem.exclude_ids};
  return {problem.exclude_ids + begin, problem.exclude_ids + end};
}

}  // namespace hashgcn::cuda

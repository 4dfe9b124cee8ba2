// The items that a query must not get: marked in shared memory, a chunk of the items at a time.
#pragma once

#include "../core/errors.h"
#include "../core/hamming_topk.h"
#include "../core/rows.h"
#include "launch.h"

namespace hashgcn::cuda {

// Items whose exclusion is marked at a time: 4 KiB of bits.
constexpr int kChunk = 32768;

// The query's exclusion list, empty if it does not lie inside exclude_ids.
static __device__ core::Span exclusions(const core::HammingTopk& problem, int64_t num_excluded,
                                        int64_t query, unsigned int* errors) {
  if (problem.exclude_ptr == nullptr) return {nullptr, nullptr};
  const int64_t begin = problem.exclude_ptr[query], end = problem.exclude_ptr[query + 1];
  bool bad = begin < 0 || end < begin || end > num_excluded;
  const core::Span list = bad ? core::Span{problem.exclude_ids, problem.exclude_ids}
                              : core::Span{problem.exclude_ids + begin, problem.exclude_ids + end};
  bad |= (query == 0 && begin != 0) || (query == problem.num_queries - 1 && end != num_excluded);
  for (const int64_t* id = list.begin + threadIdx.x; id < list.end; id += blockDim.x) {
    bad |= *id < 0 || *id >= problem.num_items;
  }
  if (bad) atomicOr(errors, core::kBadExclusion);
  return list;
}

// Marks the excluded items of [begin, begin + chunk).
static __device__ void mark_excluded(core::Span list, int64_t begin, unsigned int* excluded,
                                     int chunk = kChunk) {
  __syncthreads();
  for (int i = threadIdx.x; i < chunk / 32; i += kThreads) excluded[i] = 0;
  __syncthreads();
  for (const int64_t* id = list.begin + threadIdx.x; id < list.end; id += kThreads) {
    const uint64_t at = uint64_t(*id) - uint64_t(begin);
    if (at < unsigned(chunk)) atomicOr(&excluded[at / 32], 1u << (at % 32));
  }
  __syncthreads();
}

// Whether an item of the chunk that starts at `begin` may be returned; `excluded` may be null where
// none of them is excluded.
static __device__ bool is_candidate(const core::HammingTopk& problem, int64_t item, int64_t begin,
                                    const unsigned int* excluded) {
  if (problem.allow != nullptr && !problem.allow[item]) return false;
  if (excluded == nullptr) return true;
  return !((excluded[(item - begin) / 32] >> ((item - begin) % 32)) & 1);
}

}  // namespace hashgcn::cuda

// The items that a query must not get. Their lists are put in rising order, so that who walks over
// the items meets the excluded ones in passing, or marks them, a chunk of the items at a time.
#pragma once

#include "../core/errors.h"
#include "../core/hamming_topk.h"
#include "../core/rows.h"
#include "launch.h"

namespace hashgcn::cuda {

constexpr int kSortThreads = 64, kBytes = 256;
constexpr int kChunk = 4096;  // items whose exclusion is marked at a time

// The query's exclusion list, whose ids all threads of the block check.
static __device__ core::Span exclusions(const core::HammingTopk& problem, int64_t query,
                                        unsigned int* errors) {
  bool bad = !core::list_fits(problem.excluded, query, problem.num_queries);
  const core::Span list = core::list_of(problem.excluded, query);
  for (const int64_t* id = list.begin + threadIdx.x; id < list.end; id += blockDim.x) {
    bad |= *id < 0 || *id >= problem.num_items;
  }
  if (bad) atomicOr(errors, core::kBadLists);
  return list;
}

// `to` = the ids of `from`, ordered by the byte above `shift`, equal ones in the order that they
// have. By all threads of a block. An id that another block changes meanwhile, where lists overlap
// by mistake, must not lead out of the list.
static __device__ void sort_by_byte(const int64_t* from, int64_t* to, int64_t count, int shift,
                                    unsigned long long* next, int* tile) {
  const auto byte_of = [&](int64_t id) { return int(uint64_t(id) >> shift) & (kBytes - 1); };
  for (int b = threadIdx.x; b < kBytes; b += kSortThreads) next[b] = 0;
  __syncthreads();
  for (int64_t i = threadIdx.x; i < count; i += kSortThreads) {
    atomicAdd(&next[byte_of(from[i])], 1ull);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    unsigned long long before = 0;
    for (int b = 0; b < kBytes; ++b) {
      const unsigned long long own = next[b];
      next[b] = before;
      before += own;
    }
  }
  __syncthreads();
  for (int64_t begin = 0; begin < count; begin += kSortThreads) {
    const int64_t i = begin + threadIdx.x;
    const int64_t id = i < count ? from[i] : 0;
    const int byte = i < count ? byte_of(id) : -1;
    tile[threadIdx.x] = byte;
    __syncthreads();
    int64_t place = byte < 0 ? count : int64_t(next[byte]);
    for (int e = 0; e < int(threadIdx.x); ++e) place += tile[e] == byte;
    __syncthreads();
    if (byte >= 0) atomicAdd(&next[byte], 1ull);
    if (place < count) to[place] = id;
  }
  __syncthreads();
}

// A block has a query's list. Lists that rise, as a graph's do, are copied; others are sorted byte
// by byte from the lowest, as many bytes as the items' ids have: linear in the list's length.
// `spare` is scratch of the size of `sorted`.
static __global__ void __launch_bounds__(kSortThreads)
    sort_exclusions(core::HammingTopk problem, int64_t* sorted, int64_t* spare,
                    unsigned int* errors) {
  __shared__ unsigned long long next[kBytes];
  __shared__ int tile[kSortThreads];
  int bytes = 1;
  while (bytes < 8 && (problem.num_items - 1) >> (8 * bytes) > 0) ++bytes;
  for (int64_t query = blockIdx.x; query < problem.num_queries; query += gridDim.x) {
    const core::Span list = exclusions(problem, query, errors);
    const int64_t offset = list.begin - problem.excluded.ids, count = list.end - list.begin;
    bool rises = true;
    for (int64_t i = threadIdx.x; i < count; i += kSortThreads) {
      rises &= i == 0 || list.begin[i - 1] <= list.begin[i];
    }
    if (__syncthreads_and(rises)) {
      for (int64_t i = threadIdx.x; i < count; i += kSortThreads) {
        sorted[offset + i] = list.begin[i];
      }
      continue;
    }
    const int64_t* from = list.begin;
    for (int b = 0; b < bytes; ++b) {
      // The last byte's order goes to `sorted`.
      int64_t* to = ((bytes - b) % 2 ? sorted : spare) + offset;
      sort_by_byte(from, to, count, 8 * b, next, tile);
      from = to;
    }
  }
}

// The query's list in a problem whose lists were sorted.
static __device__ core::Span sorted_list(const core::HammingTopk& problem, int64_t query) {
  if (problem.excluded.ptr == nullptr) return {nullptr, nullptr};
  return core::list_of(problem.excluded, query);
}

// Marks the excluded items of [begin, begin + kChunk).
static __device__ void mark_excluded(core::Span list, int64_t begin, unsigned int* excluded) {
  __syncthreads();
  for (int i = threadIdx.x; i < kChunk / 32; i += kThreads) excluded[i] = 0;
  __syncthreads();
  for (const int64_t* id = list.begin + threadIdx.x; id < list.end; id += kThreads) {
    const uint64_t at = uint64_t(*id) - uint64_t(begin);
    if (at < unsigned(kChunk)) atomicOr(&excluded[at / 32], 1u << (at % 32));
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

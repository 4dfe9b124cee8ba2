#pragma once

#include <cuda_runtime.h>

#include "../core/hamming_topk.h"

namespace hashgcn::cuda {

// A block counts its query's distances in shared memory, in 32 bits.
constexpr int64_t kMaxTopkLength = 8192;
constexpr int64_t kMaxTopkItems = UINT32_MAX;

// Longest code of the kernels for many queries.
constexpr int64_t kMaxManyLength = 256;

// In the order of hashgcn/ops/_cuda_kernels.py.
enum class HammingKernels { kPlain, kTiled, kManyQueries, kSplitItems };

// Bytes of scratch: none for the plain kernels; a copy of exclude_ids, and for kSplitItems the
// counts of at most 2047 slices of items.
int64_t hamming_topk_scratch(const core::HammingTopk& problem, int64_t num_excluded,
                             HammingKernels kernels);

// Top-N of every query into distances and ids [num_queries, k]; `num_excluded` is the length of
// exclude_ids.
void hamming_topk(core::HammingTopk problem, int64_t num_excluded, HammingKernels kernels,
                  void* scratch, int32_t* distances, int64_t* ids, unsigned int* errors,
                  cudaStream_t stream);

}  // namespace hashgcn::cuda

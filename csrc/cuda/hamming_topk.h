#pragma once

#include <cuda_runtime.h>

#include "../core/hamming_topk.h"

namespace hashgcn::cuda {

// A block counts its query's distances in shared memory, in 32 bits.
constexpr int64_t kMaxTopkLength = 8192;
constexpr int64_t kMaxTopkItems = UINT32_MAX;

// Top-N of every query into distances and ids [num_queries, k]; `num_excluded` is the length of
// exclude_ids. Scans the items twice for each query and keeps nothing of them in global memory.
void hamming_topk(const core::HammingTopk& problem, int64_t num_excluded, int32_t* distances,
                  int64_t* ids, unsigned int* errors, cudaStream_t stream);

}  // namespace hashgcn::cuda

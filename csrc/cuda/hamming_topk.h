#pragma once

#include <cuda_runtime.h>

#include "../core/hamming_topk.h"

namespace hashgcn::cuda {

// A block counts a query's distances in shared memory, in 32 bits.
constexpr int64_t kMaxTopkLength = 8192;
constexpr int64_t kMaxTopkItems = UINT32_MAX;

// Bytes of scratch, which depend on the device besides the shape: two copies of exclude_ids, and
// for few queries the counts of slices of the items.
int64_t hamming_topk_scratch(const core::HammingTopk& problem, int64_t num_excluded);

// Top-N of every query into ids and distances [num_queries, k]; `num_excluded` is the length of
// exclude_ids.
void hamming_topk(core::HammingTopk problem, int64_t num_excluded, void* scratch, int64_t* ids,
                  int32_t* distances, unsigned int* errors, cudaStream_t stream);

}  // namespace hashgcn::cuda

#pragma once

#include <cuda_runtime.h>

#include "../core/hamming_topk.h"

namespace hashgcn::cuda {

// Bytes of scratch, which depend on the device besides the shape: two copies of the excluded ids,
// and for few queries the counts of slices of the items.
int64_t hamming_topk_scratch(const core::HammingTopk& problem);

// Top-N of every query into ids and distances [num_queries, k].
void hamming_topk(core::HammingTopk problem, void* scratch, int64_t* ids, int32_t* distances,
                  unsigned int* errors, cudaStream_t stream);

}  // namespace hashgcn::cuda

#pragma once

#include <cuda_runtime.h>

#include "../core/weighted_hamming_topk.h"
#include "hamming_topk.h"

namespace hashgcn::cuda {

// |scale| <= kMaxScale.
void check_scale(const float* scale, int64_t count, unsigned int* errors, cudaStream_t stream);

// Top-N of every query by weighted score into scores and ids [num_queries, k]; `num_excluded` is
// the length of exclude_ids. Scores the items five times for each query and keeps nothing of them
// in global memory.
void weighted_hamming_topk(const core::WeightedHammingTopk& problem, int64_t num_excluded,
                           float* scores, int64_t* ids, unsigned int* errors, cudaStream_t stream);

}  // namespace hashgcn::cuda

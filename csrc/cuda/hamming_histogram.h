#pragma once

#include <cuda_runtime.h>

#include "../core/hamming_topk.h"

namespace hashgcn::cuda {

// Adds how many items, of a query's list if there are lists, lie at each distance to counts
// [num_queries, longest_distance + 1].
void hamming_histogram(const core::Codes& codes, const core::Lists& lists, int64_t* counts,
                       unsigned int* errors, cudaStream_t stream);

}  // namespace hashgcn::cuda

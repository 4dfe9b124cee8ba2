// Sizes and checks of kernel launches.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace hashgcn::cuda {

constexpr int kThreads = 256;

// Blocks for `count` rows, one row a block; kernels stride over rows that a grid does not reach.
inline unsigned row_grid(int64_t count) { return unsigned(count < INT32_MAX ? count : INT32_MAX); }

// Blocks for `count` elements, one element a thread.
inline unsigned element_grid(int64_t count) { return unsigned((count + kThreads - 1) / kThreads); }

inline void check_cuda(cudaError_t error) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string("hashgcn: CUDA error: ") + cudaGetErrorString(error));
}

inline void check_launch() { check_cuda(cudaGetLastError()); }

}  // namespace hashgcn::cuda

#if defined(__CUDACC__)
namespace hashgcn::cuda {

static __device__ __forceinline__ int64_t element_index() {
  return int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
}

}  // namespace hashgcn::cuda
#endif

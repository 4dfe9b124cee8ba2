// Sizes and checks of kernel launches.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "../core/macros.h"

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

// Work that was launched before may fail at any later call, this one too.
inline void check_launch() {
  const cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string("hashgcn: CUDA error, of this launch or of earlier work "
                                       "(CUDA_LAUNCH_BLOCKING=1 tells which): ") +
                           cudaGetErrorString(error));
}

// Before an op's first launch: what other code left behind is not the op's error.
inline void check_earlier_work(const char* op) {
  const cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string("hashgcn::") + op +
                           ": CUDA error of earlier work: " + cudaGetErrorString(error));
}

// Multiprocessors of the current device.
inline int64_t multiprocessors() {
  int device = 0, count = 0;
  check_cuda(cudaGetDevice(&device));
  check_cuda(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

// Blocks of a kernel that the current device holds at once, at least one.
template <class Kernel>
int64_t blocks_at_once(Kernel kernel, int threads, size_t dynamic_shared = 0) {
  int blocks = 0;
  check_cuda(
      cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, dynamic_shared));
  return (blocks > 1 ? blocks : 1) * multiprocessors();
}

}  // namespace hashgcn::cuda

#if defined(__CUDACC__)
namespace hashgcn::cuda {

static __device__ __forceinline__ int64_t element_index() {
  return int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
}

}  // namespace hashgcn::cuda
#endif

#include "cuda_runtime.h"

static cudaError_t last_error = cudaSuccess;

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorInvalidConfiguration ? "invalid configuration argument" : "no error";
}

static bool is_valid(const emulated::Launch& launch) {
  const dim3 &grid = launch.grid, &block = launch.block;
  const auto in = [](unsigned size, unsigned most) { return size >= 1 && size <= most; };
  return in(grid.x, INT32_MAX) && in(grid.y, 65535) && in(grid.z, 65535) && in(block.x, 1024) &&
         in(block.y, 1024) && in(block.z, 64) && block.x * block.y * block.z <= 1024 &&
         launch.dynamic_shared <= emulated::kMaxShared;
}

void emulate_launch(const char* kernel, const std::function<void()>& thread, dim3 grid, dim3 block,
                    size_t dynamic_shared, cudaStream_t) {
  const emulated::Launch launch{kernel, grid, block, dynamic_shared};
  if (is_valid(launch)) {
    emulated::run(launch, thread);
  } else {
    last_error = cudaErrorInvalidConfiguration;
  }
}

extern "C" __attribute__((visibility("default"))) void hashgcn_emulated_order(uint64_t order) {
  emulated::set_order(order);
}

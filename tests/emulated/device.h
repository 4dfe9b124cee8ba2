// In place of csrc/torch/device.h: ops registered in a namespace of their own take tensors of the
// CPU.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include "cuda_runtime.h"

#undef STABLE_TORCH_LIBRARY
#undef STABLE_TORCH_LIBRARY_FRAGMENT
#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY(name, m) _STABLE_TORCH_LIBRARY_FRAGMENT(hashgcn_emulated, m, C10_UID)
#define STABLE_TORCH_LIBRARY_FRAGMENT(name, m) \
  _STABLE_TORCH_LIBRARY_FRAGMENT(hashgcn_emulated, m, C10_UID)
#define STABLE_TORCH_LIBRARY_IMPL(name, key, m) \
  _STABLE_TORCH_LIBRARY_IMPL(hashgcn_emulated, CPU, m, C10_UID)

namespace hashgcn {

inline bool is_on_device(const torch::stable::Tensor& tensor) { return !tensor.is_cuda(); }

struct DeviceGuard {
  explicit DeviceGuard(int32_t) {}
};

inline cudaStream_t current_stream(int32_t) { return nullptr; }

}  // namespace hashgcn

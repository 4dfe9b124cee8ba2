// What torch knows of the device that an op runs on. In tests/emulated the CPU is that device, and
// a file of its own stands in for this one.
#pragma once

#if !defined(HASHGCN_EMULATED)
#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/tensor.h>

namespace hashgcn {

using torch::stable::accelerator::DeviceGuard;

inline bool is_on_device(const torch::stable::Tensor& tensor) { return tensor.is_cuda(); }

inline cudaStream_t current_stream(int32_t device_index) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device_index, &stream));
  return static_cast<cudaStream_t>(stream);
}

}  // namespace hashgcn
#endif

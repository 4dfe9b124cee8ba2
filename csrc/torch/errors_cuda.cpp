#include <torch/csrc/stable/library.h>

#include <cstdlib>

#include "../core/errors.h"
#include "../cuda/launch.h"
#include "cuda.h"

namespace hashgcn {

static bool check_at_once() {
  const char* value = std::getenv("HASHGCN_CHECK");
  return value != nullptr && std::string(value) == "1";
}

void raise_errors(const char* op, unsigned int* errors, cudaStream_t stream) {
  static const bool wanted = check_at_once();
  if (!wanted) return;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  cuda::check_cuda(cudaStreamIsCapturing(stream, &capture));
  if (capture != cudaStreamCaptureStatusNone) return;
  unsigned int found = 0;
  cuda::check_cuda(cudaMemcpyAsync(&found, errors, sizeof found, cudaMemcpyDeviceToHost, stream));
  cuda::check_cuda(cudaMemsetAsync(errors, 0, sizeof found, stream));
  cuda::check_cuda(cudaStreamSynchronize(stream));
  for (int bit = 0; found >> bit; ++bit) {
    require(!((found >> bit) & 1), op, core::kErrorTexts[bit]);
  }
}

// The flag of the tensor's device, which is cleared; the caller decides when to read it.
static Tensor device_errors(const Tensor& device_tensor) {
  const Device device("device_errors", device_tensor);
  Tensor found = torch::stable::new_empty(device_tensor, {1}, ScalarType::Int);
  cuda::take_error_flag(device.errors, mutable_data<int32_t>(found), device.stream);
  return found;
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_FRAGMENT(hashgcn, m) {
  m.def("device_errors(Tensor device_tensor) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("device_errors", TORCH_BOX(&hashgcn::device_errors));
}

#include <cstdlib>

#include "../core/errors.h"
#include "cuda.h"

namespace hashgcn {

// Throws what was expected, for each bit of an error flag.
static void raise(const char* op, unsigned int found) {
  std::string wrong;
  for (int bit = 0; found >> bit; ++bit) {
    if (!((found >> bit) & 1)) continue;
    wrong += std::string(wrong.empty() ? "" : "; expected ") + core::kErrorTexts[bit];
  }
  require(found == 0, op, wrong);
}

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
  raise(op, found);
}

// Reads and clears the flag of the tensor's device, which the host waits for.
static void check_errors(const Tensor& device_tensor) {
  const char* op = "check_errors";
  const Device device(op, device_tensor);
  const Tensor taken = device.scratch(sizeof(int32_t));
  unsigned int found = 0;
  cuda::take_error_flag(device.errors, mutable_data<int32_t>(taken), device.stream);
  cuda::check_cuda(cudaMemcpyAsync(&found, taken.mutable_data_ptr(), sizeof found,
                                   cudaMemcpyDeviceToHost, device.stream));
  cuda::check_cuda(cudaStreamSynchronize(device.stream));
  raise(op, found);
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_FRAGMENT(hashgcn, m) { m.def("check_errors(Tensor device_tensor) -> ()"); }

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("check_errors", TORCH_BOX(&hashgcn::check_errors));
}

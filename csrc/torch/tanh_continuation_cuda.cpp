#include <torch/csrc/stable/library.h>

#include "../cuda/tanh_continuation.h"
#include "elementwise_cuda.h"

namespace hashgcn {

static Tensor tanh_continuation(const Tensor& x, const Tensor& beta_in) {
  const char* op = "tanh_continuation";
  const Device device(op, x);
  const Tensor beta = check_positive({op, x}, device, beta_in, "beta");
  return elementwise(op, device, x, [&](const auto* in, auto* out) {
    using T = std::remove_pointer_t<decltype(out)>;
    cuda::tanh_continuation(in, data<core::compute_t<T>>(beta), out, x.numel(), device.errors,
                            device.stream);
  });
}

static Tensor tanh_continuation_backward(const Tensor& grad, const Tensor& x,
                                         const Tensor& beta_in) {
  const char* op = "tanh_continuation_backward";
  const Device device(op, x);
  const Tensor beta = check_scalar({op, x}, beta_in, "beta");
  return elementwise_backward(
      op, device, grad, x, [&](const auto* upstream, const auto* in, auto* out) {
        using T = std::remove_pointer_t<decltype(out)>;
        cuda::tanh_continuation_backward(upstream, in, data<core::compute_t<T>>(beta), out,
                                         x.numel(), device.stream);
      });
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("tanh_continuation", TORCH_BOX(&hashgcn::tanh_continuation));
  m.impl("tanh_continuation_backward", TORCH_BOX(&hashgcn::tanh_continuation_backward));
}

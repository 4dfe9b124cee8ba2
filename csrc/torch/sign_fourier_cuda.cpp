#include <torch/csrc/stable/library.h>

#include "../cuda/sign_fourier.h"
#include "elementwise_cuda.h"

namespace hashgcn {

static Tensor sign_fourier(const Tensor& x, const Tensor& scale, double omega, int64_t terms) {
  const char* op = "sign_fourier";
  const Device device(op, x);
  check_positive({op, x}, device, scale, "scale");
  check_series(op, omega, terms);
  return signs(op, device, x);
}

static Tensor sign_fourier_backward(const Tensor& grad, const Tensor& x, const Tensor& scale_in,
                                    double omega, int64_t terms) {
  const char* op = "sign_fourier_backward";
  const Device device(op, x);
  const Tensor scale = check_scalar({op, x}, scale_in, "scale");
  const int64_t count = check_series(op, omega, terms);
  return elementwise_backward(
      op, device, grad, x, [&](const auto* upstream, const auto* in, auto* out) {
        using T = std::remove_pointer_t<decltype(out)>;
        cuda::sign_fourier_backward(upstream, in, data<core::compute_t<T>>(scale), omega, count,
                                    out, x.numel(), device.stream);
      });
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("sign_fourier", TORCH_BOX(&hashgcn::sign_fourier));
  m.impl("sign_fourier_backward", TORCH_BOX(&hashgcn::sign_fourier_backward));
}

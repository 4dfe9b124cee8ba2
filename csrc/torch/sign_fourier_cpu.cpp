#include <torch/csrc/stable/library.h>

#include "../cpu/sign_fourier.h"
#include "elementwise_cpu.h"

namespace hashgcn {

static Tensor sign_fourier(const Tensor& x, const Tensor& scale, double omega, int64_t terms) {
  const char* op = "sign_fourier";
  check_positive({op, x}, scale, "scale");
  check_series(op, omega, terms);
  return signs(op, x);
}

static Tensor sign_fourier_backward(const Tensor& grad, const Tensor& x, const Tensor& scale,
                                    double omega, int64_t terms) {
  const char* op = "sign_fourier_backward";
  const double factor = check_positive({op, x}, scale, "scale");
  const int64_t count = check_series(op, omega, terms);
  return elementwise_backward(
      op, grad, x,
      [&](const auto* upstream, const auto* in, auto* out, int64_t begin, int64_t end) {
        HASHGCN_RUN(sign_fourier_backward(upstream, in, factor, omega, count, out, begin, end));
      });
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("sign_fourier", TORCH_BOX(&hashgcn::sign_fourier));
  m.impl("sign_fourier_backward", TORCH_BOX(&hashgcn::sign_fourier_backward));
}

#include <torch/csrc/stable/library.h>

#include "../cpu/sign_ste.h"
#include "elementwise_cpu.h"

namespace hashgcn {

static Tensor sign_ste(const Tensor& x, const Tensor& scale, double clip) {
  const char* op = "sign_ste";
  check_positive({op, x}, scale, "scale");
  check_clip(op, clip);
  return signs(op, x);
}

static Tensor sign_ste_backward(const Tensor& grad, const Tensor& x, const Tensor& scale,
                                double clip) {
  const char* op = "sign_ste_backward";
  const double factor = check_positive({op, x}, scale, "scale");
  check_clip(op, clip);
  return elementwise_backward(
      op, grad, x,
      [&](const auto* upstream, const auto* in, auto* out, int64_t begin, int64_t end) {
        HASHGCN_RUN(sign_ste_backward(upstream, in, factor, clip, out, begin, end));
      });
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("sign_ste", TORCH_BOX(&hashgcn::sign_ste));
  m.impl("sign_ste_backward", TORCH_BOX(&hashgcn::sign_ste_backward));
}

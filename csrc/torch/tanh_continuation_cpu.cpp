#include <torch/csrc/stable/library.h>

#include "../cpu/tanh_continuation.h"
#include "elementwise_cpu.h"

namespace hashgcn {

static Tensor tanh_continuation(const Tensor& x, const Tensor& beta) {
  const char* op = "tanh_continuation";
  const double slope = check_positive({op, x}, beta, "beta");
  return elementwise(op, x, [&](const auto* in, auto* out, int64_t begin, int64_t end) {
    return HASHGCN_RUN(tanh_continuation(in, slope, out, begin, end));
  });
}

static Tensor tanh_continuation_backward(const Tensor& grad, const Tensor& x, const Tensor& beta) {
  const char* op = "tanh_continuation_backward";
  const double slope = check_positive({op, x}, beta, "beta");
  return elementwise_backward(
      op, grad, x,
      [&](const auto* upstream, const auto* in, auto* out, int64_t begin, int64_t end) {
        HASHGCN_RUN(tanh_continuation_backward(upstream, in, slope, out, begin, end));
      });
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("tanh_continuation", TORCH_BOX(&hashgcn::tanh_continuation));
  m.impl("tanh_continuation_backward", TORCH_BOX(&hashgcn::tanh_continuation_backward));
}

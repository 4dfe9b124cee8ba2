#include <torch/csrc/stable/library.h>

#include "../cpu/sign_guided.h"
#include "elementwise_cpu.h"

namespace hashgcn {

static Tensor sign_guided(const Tensor& x, const Tensor& take_sign_in, const Tensor& scale) {
  const char* op = "sign_guided";
  const double factor = check_positive({op, x}, scale, "scale");
  const Tensor take_sign = check_guidance({op, x}, take_sign_in);
  return elementwise(op, x, [&](const auto* in, auto* out, int64_t begin, int64_t end) {
    return HASHGCN_RUN(sign_guided(in, data<bool>(take_sign), factor, x.size(1), out, begin, end));
  });
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("sign_guided", TORCH_BOX(&hashgcn::sign_guided));
}

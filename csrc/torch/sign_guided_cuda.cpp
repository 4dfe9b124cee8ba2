#include <torch/csrc/stable/library.h>

#include "../cuda/sign_guided.h"
#include "elementwise_cuda.h"

namespace hashgcn {

static Tensor sign_guided(const Tensor& x, const Tensor& take_sign_in, const Tensor& scale_in) {
  const char* op = "sign_guided";
  const Device device(op, x);
  const Tensor scale = check_positive({op, x}, device, scale_in, "scale");
  const Tensor take_sign = check_guidance({op, x}, take_sign_in);
  return elementwise(op, device, x, [&](const auto* in, auto* out) {
    using T = std::remove_pointer_t<decltype(out)>;
    cuda::sign_guided(in, data<bool>(take_sign), data<core::compute_t<T>>(scale), x.size(1), out,
                      x.numel(), device.errors, device.stream);
  });
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("sign_guided", TORCH_BOX(&hashgcn::sign_guided));
}

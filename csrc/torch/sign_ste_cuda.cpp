#include <torch/csrc/stable/library.h>

#include "../cuda/sign_ste.h"
#include "elementwise_cuda.h"

namespace hashgcn {

static Tensor sign_ste(const Tensor& x, const Tensor& scale, double clip) {
  const char* op = "sign_ste";
  const Device device(op, x);
  check_positive({op, x}, device, scale, "scale");
  check_clip(op, clip);
  return signs(op, device, x);
}

static Tensor sign_ste_backward(const Tensor& grad, const Tensor& x, const Tensor& scale_in,
                                double clip) {
  const char* op = "sign_ste_backward";
  const Device device(op, x);
  const Tensor scale = check_scalar({op, x}, scale_in, "scale");
  check_clip(op, clip);
  return elementwise_backward(
      op, device, grad, x, [&](const auto* upstream, const auto* in, auto* out) {
        using T = std::remove_pointer_t<decltype(out)>;
        cuda::sign_ste_backward(upstream, in, data<core::compute_t<T>>(scale), clip, out, x.numel(),
                                device.stream);
      });
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("sign_ste", TORCH_BOX(&hashgcn::sign_ste));
  m.impl("sign_ste_backward", TORCH_BOX(&hashgcn::sign_ste_backward));
}

#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../cuda/pack_codes.h"
#include "elementwise_cuda.h"

namespace hashgcn {

static Tensor sign_swish(const Tensor& x, const Tensor& beta) {
  const char* op = "sign_swish";
  const Device device(op, x);
  check_positive({op, x}, device, beta, "beta");
  return signs(op, device, x);
}

static std::tuple<Tensor, Tensor> sign_swish_pack(const Tensor& x_in, const Tensor& beta) {
  const char* op = "sign_swish_pack";
  const Device device(op, x_in);
  check_positive({op, x_in}, device, beta, "beta");
  const Tensor x = check_packable(op, x_in);
  const int64_t rows = x.size(0), code_length = x.size(1);
  Tensor codes = torch::stable::new_empty(x, x.sizes());
  Tensor words =
      torch::stable::new_empty(x, {rows, core::words_per_code(code_length)}, ScalarType::Long);
  with_element_type(x.scalar_type(), op, "x", [&](auto* null) {
    using T = std::remove_pointer_t<decltype(null)>;
    cuda::pack_codes(data<T>(x), mutable_data<uint64_t>(words), mutable_data<T>(codes), rows,
                     code_length, false, device.errors, device.stream);
  });
  device.finish();
  return {codes, words};
}

static Tensor sign_swish_backward(const Tensor& grad, const Tensor& x, const Tensor& beta_in) {
  const char* op = "sign_swish_backward";
  const Device device(op, x);
  const Tensor beta = check_scalar({op, x}, beta_in, "beta");
  return elementwise_backward(
      op, device, grad, x, [&](const auto* upstream, const auto* in, auto* out) {
        using T = std::remove_pointer_t<decltype(out)>;
        cuda::sign_swish_backward(upstream, in, data<core::compute_t<T>>(beta), out, x.numel(),
                                  device.stream);
      });
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("sign_swish", TORCH_BOX(&hashgcn::sign_swish));
  m.impl("sign_swish_pack", TORCH_BOX(&hashgcn::sign_swish_pack));
  m.impl("sign_swish_backward", TORCH_BOX(&hashgcn::sign_swish_backward));
}

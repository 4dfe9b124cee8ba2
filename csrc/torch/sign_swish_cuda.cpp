#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../cuda/pack_codes.h"
#include "../cuda/sign_swish.h"
#include "cuda.h"

namespace hashgcn {

static Tensor sign_swish(const Tensor& x_in, const Tensor& beta) {
  const char* op = "sign_swish";
  const Device device(op, x_in);
  const Checker check{op, x_in};
  check.scalar(beta, "beta", compute_type(x_in.scalar_type()));
  const Tensor x = torch::stable::contiguous(x_in);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  with_element_type(x.scalar_type(), op, "x", [&](auto* null) {
    using T = std::remove_pointer_t<decltype(null)>;
    cuda::sign_swish(data<T>(x), mutable_data<T>(out), x.numel(), device.errors, device.stream);
  });
  device.finish();
  return out;
}

static std::tuple<Tensor, Tensor> sign_swish_pack(const Tensor& x_in, const Tensor& beta) {
  const char* op = "sign_swish_pack";
  const Device device(op, x_in);
  const Checker check{op, x_in};
  check.scalar(beta, "beta", compute_type(x_in.scalar_type()));
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

static Tensor sign_swish_backward(const Tensor& grad_in, const Tensor& x_in,
                                  const Tensor& beta_in) {
  const char* op = "sign_swish_backward";
  const Device device(op, x_in);
  const Checker check{op, x_in};
  const Tensor beta = check.scalar(beta_in, "beta", compute_type(x_in.scalar_type()));
  const Tensor grad = check.tensor(grad_in, "grad", x_in.dim(), x_in.scalar_type());
  require(shape(grad_in) == shape(x_in), op, "grad of shape ", shape(x_in), ", got ",
          shape(grad_in));
  const Tensor x = torch::stable::contiguous(x_in);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  with_element_type(x.scalar_type(), op, "x", [&](auto* null) {
    using T = std::remove_pointer_t<decltype(null)>;
    cuda::sign_swish_backward(data<T>(grad), data<T>(x), data<core::compute_t<T>>(beta),
                              mutable_data<T>(out), x.numel(), device.stream);
  });
  device.finish();
  return out;
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("sign_swish", TORCH_BOX(&hashgcn::sign_swish));
  m.impl("sign_swish_pack", TORCH_BOX(&hashgcn::sign_swish_pack));
  m.impl("sign_swish_backward", TORCH_BOX(&hashgcn::sign_swish_backward));
}

#include <torch/csrc/stable/library.h>

#include <tuple>

#include "elementwise_cpu.h"

namespace hashgcn {

static Tensor sign_swish(const Tensor& x, const Tensor& beta) {
  const char* op = "sign_swish";
  // The forward pass does not need the slope, but a bad one shows where it was given.
  check_positive({op, x}, beta, "beta");
  return signs(op, x);
}

static std::tuple<Tensor, Tensor> sign_swish_pack(const Tensor& x_in, const Tensor& beta) {
  const char* op = "sign_swish_pack";
  check_positive({op, x_in}, beta, "beta");
  const Tensor x = check_packable(op, x_in);
  const int64_t rows = x.size(0), code_length = x.size(1);
  Tensor codes = torch::stable::new_empty(x, x.sizes());
  Tensor words =
      torch::stable::new_empty(x, {rows, core::words_per_code(code_length)}, ScalarType::Long);
  advise_huge_pages(codes);
  with_element_type(x.scalar_type(), op, "x", [&](auto* null) {
    using T = std::remove_pointer_t<decltype(null)>;
    const T* in = data<T>(x);
    T* out = mutable_data<T>(codes);
    uint64_t* packed = mutable_data<uint64_t>(words);
    require(parallel_all(rows, 1 + kElementGrain / code_length,
                         [&](int64_t begin, int64_t end) {
                           return HASHGCN_RUN(
                               sign_swish_pack(in, out, packed, code_length, begin, end));
                         }),
            op, "x without NaN, got NaN");
  });
  return {codes, words};
}

static Tensor sign_swish_backward(const Tensor& grad, const Tensor& x, const Tensor& beta) {
  const char* op = "sign_swish_backward";
  const double slope = check_positive({op, x}, beta, "beta");
  return elementwise_backward(
      op, grad, x,
      [&](const auto* upstream, const auto* in, auto* out, int64_t begin, int64_t end) {
        HASHGCN_RUN(sign_swish_backward(upstream, in, slope, out, begin, end));
      });
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("sign_swish", TORCH_BOX(&hashgcn::sign_swish));
  m.impl("sign_swish_pack", TORCH_BOX(&hashgcn::sign_swish_pack));
  m.impl("sign_swish_backward", TORCH_BOX(&hashgcn::sign_swish_backward));
}

#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../cpu/sign_swish.h"
#include "cpu.h"
#include "memory.h"

namespace hashgcn {

// The slope, which the forward pass does not need but checks: a bad one shows where it was given.
static double check_beta(const Checker& check, const Tensor& beta, ScalarType type) {
  check.scalar(beta, "beta", compute_type(type));
  const double slope = type == ScalarType::Double ? *data<double>(beta) : *data<float>(beta);
  require(slope > 0 && slope - slope == 0, check.op, "beta finite and positive, got ", slope);
  return slope;
}

static Tensor sign_swish(const Tensor& x_in, const Tensor& beta) {
  const char* op = "sign_swish";
  check_beta({op, x_in}, beta, x_in.scalar_type());
  const Tensor x = torch::stable::contiguous(x_in);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  advise_huge_pages(out);
  with_element_type(x.scalar_type(), op, "x", [&](auto* null) {
    using T = std::remove_pointer_t<decltype(null)>;
    const T* in = data<T>(x);
    T* result = mutable_data<T>(out);
    require(parallel_all(x.numel(), kElementGrain,
                         [&](int64_t begin, int64_t end) {
                           return HASHGCN_RUN(sign_swish(in, result, begin, end));
                         }),
            op, "x without NaN, got NaN");
  });
  return out;
}

static std::tuple<Tensor, Tensor> sign_swish_pack(const Tensor& x_in, const Tensor& beta) {
  const char* op = "sign_swish_pack";
  check_beta({op, x_in}, beta, x_in.scalar_type());
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

static Tensor sign_swish_backward(const Tensor& grad_in, const Tensor& x_in, const Tensor& beta) {
  const char* op = "sign_swish_backward";
  const Checker check{op, x_in};
  const double slope = check_beta(check, beta, x_in.scalar_type());
  const Tensor grad = check.tensor(grad_in, "grad", x_in.dim(), x_in.scalar_type());
  require(grad_in.numel() == x_in.numel() && shape(grad_in) == shape(x_in), op, "grad of shape ",
          shape(x_in), ", got ", shape(grad_in));
  const Tensor x = torch::stable::contiguous(x_in);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  advise_huge_pages(out);
  with_element_type(x.scalar_type(), op, "x", [&](auto* null) {
    using T = std::remove_pointer_t<decltype(null)>;
    const T* upstream = data<T>(grad);
    const T* in = data<T>(x);
    T* result = mutable_data<T>(out);
    parallel(x.numel(), kElementGrain, [&](int64_t begin, int64_t end) {
      HASHGCN_RUN(sign_swish_backward(upstream, in, core::compute_t<T>(slope), result, begin, end));
    });
  });
  return out;
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("sign_swish", TORCH_BOX(&hashgcn::sign_swish));
  m.impl("sign_swish_pack", TORCH_BOX(&hashgcn::sign_swish_pack));
  m.impl("sign_swish_backward", TORCH_BOX(&hashgcn::sign_swish_backward));
}

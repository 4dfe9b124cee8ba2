// What elementwise CPU ops share: a result of x's shape, filled in parts on torch's threads.
#pragma once

#include "../cpu/sign_swish.h"
#include "cpu.h"
#include "memory.h"

namespace hashgcn {

// The number of a 0-d argument.
inline double check_positive(const Checker& check, const Tensor& number, const char* argument) {
  const ScalarType type = compute_type(check.anchor.scalar_type());
  check.scalar(number, argument, type);
  const double value = type == ScalarType::Double ? *data<double>(number) : *data<float>(number);
  require(value > 0 && value - value == 0, check.op, argument, " finite and positive, got ", value);
  return value;
}

// kernel(x, out, begin, end) returns false if an x is NaN.
template <class Kernel>
Tensor elementwise(const char* op, const Tensor& x_in, const Kernel& kernel) {
  const Tensor x = torch::stable::contiguous(x_in);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  advise_huge_pages(out);
  with_element_type(x.scalar_type(), op, "x", [&](auto* null) {
    using T = std::remove_pointer_t<decltype(null)>;
    const T* in = data<T>(x);
    T* result = mutable_data<T>(out);
    require(
        parallel_all(x.numel(), kElementGrain,
                     [&](int64_t begin, int64_t end) { return kernel(in, result, begin, end); }),
        op, "x without NaN, got NaN");
  });
  return out;
}

// The forward pass of the estimators whose codes are signs.
inline Tensor signs(const char* op, const Tensor& x) {
  return elementwise(op, x, [](const auto* in, auto* out, int64_t begin, int64_t end) {
    return HASHGCN_RUN(signs(in, out, begin, end));
  });
}

// kernel(grad, x, out, begin, end).
template <class Kernel>
Tensor elementwise_backward(const char* op, const Tensor& grad_in, const Tensor& x,
                            const Kernel& kernel) {
  const Tensor grad = check_gradient({op, x}, grad_in);
  return elementwise(op, x, [&](const auto* in, auto* out, int64_t begin, int64_t end) {
    using T = std::remove_pointer_t<decltype(out)>;
    kernel(data<T>(grad), in, out, begin, end);
    return true;
  });
}

}  // namespace hashgcn

// What elementwise CUDA ops share: a result of x's shape, filled by one launch.
#pragma once

#include "../cuda/sign_swish.h"
#include "cuda.h"

namespace hashgcn {

// launch(x, out).
template <class Launch>
Tensor elementwise(const char* op, const Device& device, const Tensor& x_in, const Launch& launch) {
  const Tensor x = torch::stable::contiguous(x_in);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  with_element_type(x.scalar_type(), op, "x", [&](auto* null) {
    using T = std::remove_pointer_t<decltype(null)>;
    launch(data<T>(x), mutable_data<T>(out));
  });
  device.finish();
  return out;
}

// The forward pass of the estimators whose codes are signs.
inline Tensor signs(const char* op, const Device& device, const Tensor& x) {
  return elementwise(op, device, x, [&](const auto* in, auto* out) {
    cuda::signs(in, out, x.numel(), device.errors, device.stream);
  });
}

// launch(grad, x, out).
template <class Launch>
Tensor elementwise_backward(const char* op, const Device& device, const Tensor& grad_in,
                            const Tensor& x, const Launch& launch) {
  const Tensor grad = check_gradient({op, x}, grad_in);
  return elementwise(op, device, x, [&](const auto* in, auto* out) {
    using T = std::remove_pointer_t<decltype(out)>;
    launch(data<T>(grad), in, out);
  });
}

// A 0-d argument, left on the device.
inline Tensor check_scalar(const Checker& check, const Tensor& number, const char* argument) {
  return check.scalar(number, argument, compute_type(check.anchor.scalar_type()));
}

// The same, its value checked there.
inline Tensor check_positive(const Checker& check, const Device& device, const Tensor& number,
                             const char* argument) {
  const Tensor checked = check_scalar(check, number, argument);
  if (checked.scalar_type() == ScalarType::Double) {
    cuda::check_positive(data<double>(checked), device.errors, device.stream);
  } else {
    cuda::check_positive(data<float>(checked), device.errors, device.stream);
  }
  return checked;
}

}  // namespace hashgcn

// The ops on signs, the same for both backends. A Backend is made of an op's name and x; what it
// returns has x's shape and dtype. `factor` is the 0-d tensor of a slope (core/slopes.h).
#pragma once

#include "../core/slopes.h"
#include "checks/tensors.h"

namespace hashgcn {

inline core::StraightThrough straight_through(const char* op, double clip) {
  require(clip >= 0, op, "clip >= 0, got ", clip);
  return {clip};
}

// The series of the odd numbers below `terms`.
inline core::Fourier fourier(const char* op, double omega, int64_t terms) {
  require(omega > 0 && omega - omega == 0, op, "omega finite and positive, got ", omega);
  require(terms >= 2 && terms <= core::kMaxFourierTerms, op, "terms in [2, ",
          core::kMaxFourierTerms, "], got ", terms);
  return {omega, double(terms / 2)};
}

// A gradient of x's shape and dtype, contiguous; x is the checker's anchor.
inline Tensor check_gradient(const Checker& check, const Tensor& grad) {
  const Tensor& x = check.anchor;
  const Tensor checked = check.tensor(grad, "grad", x.dim(), x.scalar_type());
  require(shape(grad) == shape(x), check.op, "grad of shape ", shape(x), ", got ", shape(grad));
  return checked;
}

// Rows of x that become their signs, contiguous.
inline Tensor check_guidance(const Checker& check, const Tensor& take_sign) {
  const Tensor& x = check.anchor;
  require(x.dim() == 2, check.op, "x of shape [rows, code_length], got ", shape(x));
  const Tensor checked = check.tensor(take_sign, "take_sign", 1, ScalarType::Bool);
  require(take_sign.size(0) == x.size(0), check.op, "take_sign of shape [", x.size(0), "], got ",
          shape(take_sign));
  return checked;
}

template <class Backend>
Tensor sign_swish(const Tensor& x, const Tensor& beta) {
  return Backend("sign_swish", x).signs(beta, "beta");
}

template <class Backend>
Tensor sign_swish_backward(const Tensor& grad, const Tensor& x, const Tensor& beta) {
  return Backend("sign_swish_backward", x).scale_gradient(grad, core::Swish{}, beta, "beta");
}

template <class Backend>
Tensor sign_ste(const Tensor& x, const Tensor& scale, double clip) {
  straight_through("sign_ste", clip);
  return Backend("sign_ste", x).signs(scale, "scale");
}

template <class Backend>
Tensor sign_ste_backward(const Tensor& grad, const Tensor& x, const Tensor& scale, double clip) {
  const char* op = "sign_ste_backward";
  return Backend(op, x).scale_gradient(grad, straight_through(op, clip), scale, "scale");
}

template <class Backend>
Tensor sign_fourier(const Tensor& x, const Tensor& scale, double omega, int64_t terms) {
  fourier("sign_fourier", omega, terms);
  return Backend("sign_fourier", x).signs(scale, "scale");
}

template <class Backend>
Tensor sign_fourier_backward(const Tensor& grad, const Tensor& x, const Tensor& scale, double omega,
                             int64_t terms) {
  const char* op = "sign_fourier_backward";
  return Backend(op, x).scale_gradient(grad, fourier(op, omega, terms), scale, "scale");
}

template <class Backend>
Tensor tanh_continuation(const Tensor& x, const Tensor& beta) {
  return Backend("tanh_continuation", x).tanh_continuation(beta, "beta");
}

template <class Backend>
Tensor tanh_continuation_backward(const Tensor& grad, const Tensor& x, const Tensor& beta) {
  return Backend("tanh_continuation_backward", x).scale_gradient(grad, core::Tanh{}, beta, "beta");
}

template <class Backend>
Tensor sign_guided(const Tensor& x, const Tensor& take_sign, const Tensor& scale) {
  const char* op = "sign_guided";
  return Backend(op, x).sign_guided(check_guidance({op, x}, take_sign), scale, "scale");
}

template <class Backend, class Library>
void register_signs(Library& m) {
  m.impl("sign_swish", TORCH_BOX(&sign_swish<Backend>));
  m.impl("sign_swish_backward", TORCH_BOX(&sign_swish_backward<Backend>));
  m.impl("sign_ste", TORCH_BOX(&sign_ste<Backend>));
  m.impl("sign_ste_backward", TORCH_BOX(&sign_ste_backward<Backend>));
  m.impl("sign_fourier", TORCH_BOX(&sign_fourier<Backend>));
  m.impl("sign_fourier_backward", TORCH_BOX(&sign_fourier_backward<Backend>));
  m.impl("tanh_continuation", TORCH_BOX(&tanh_continuation<Backend>));
  m.impl("tanh_continuation_backward", TORCH_BOX(&tanh_continuation_backward<Backend>));
  m.impl("sign_guided", TORCH_BOX(&sign_guided<Backend>));
}

}  // namespace hashgcn

#include "signs.h"

namespace hashgcn::cpu::HASHGCN_ISA {

// out = function(x) over [begin, end). Returns false if an x is NaN.
template <class T, class Function>
static inline bool map(const T* x, T* out, int64_t begin, int64_t end, const Function& function) {
  int nan = 0;
  for (int64_t i = begin; i < end; ++i) {
    const auto value = core::load(x[i]);
    nan |= value != value;
    out[i] = function(value);
  }
  return !nan;
}

template <class T>
bool signs(const T* x, T* out, int64_t begin, int64_t end) {
  const T plus = core::store<T>(1), minus = core::store<T>(-1);
  return map(x, out, begin, end, [=](auto value) { return core::is_plus(value) ? plus : minus; });
}

template <class T>
bool tanh_continuation(const T* x, double beta, T* out, int64_t begin, int64_t end) {
  const core::compute_t<T> factor(beta);
  return map(x, out, begin, end,
             [=](auto value) { return core::store<T>(core::hyperbolic_tangent(factor * value)); });
}

template <class T>
bool sign_guided(const T* x, const bool* take_sign, double scale, int64_t width, T* out,
                 int64_t begin, int64_t end) {
  const core::compute_t<T> factor(scale);
  const auto scaled = [=](auto value) { return core::store<T>(factor * value); };
  bool good = true;
  for (int64_t i = begin; i < end;) {
    const int64_t row = i / width, next = (row + 1) * width, last = next < end ? next : end;
    good &= take_sign[row] ? signs(x, out, i, last) : map(x, out, i, last, scaled);
    i = last;
  }
  return good;
}

template <class T, class Kind>
void scale_gradient(const T* grad, const T* x, Kind kind, double factor, T* out, int64_t begin,
                    int64_t end) {
  const core::compute_t<T> same(factor);
  for (int64_t i = begin; i < end; ++i) {
    out[i] = core::store<T>(core::load(grad[i]) * slope(kind, core::load(x[i]), same));
  }
}

HASHGCN_FOR_ELEMENTS(signs)
HASHGCN_FOR_ELEMENTS(tanh_continuation)
HASHGCN_FOR_ELEMENTS(sign_guided)
HASHGCN_FOR_ELEMENTS(scale_gradient, core::Swish)
HASHGCN_FOR_ELEMENTS(scale_gradient, core::StraightThrough)
HASHGCN_FOR_ELEMENTS(scale_gradient, core::Fourier)
HASHGCN_FOR_ELEMENTS(scale_gradient, core::Tanh)

}  // namespace hashgcn::cpu::HASHGCN_ISA

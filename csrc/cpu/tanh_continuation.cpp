#include "tanh_continuation.h"

#include "../core/tanh_continuation.h"
#include "elementwise.h"

namespace hashgcn::cpu::HASHGCN_ISA {

template <class T>
bool tanh_continuation(const T* x, double beta, T* out, int64_t begin, int64_t end) {
  const core::compute_t<T> slope(beta);
  int nan = 0;
  for (int64_t i = begin; i < end; ++i) {
    const auto value = core::load(x[i]);
    nan |= value != value;
    out[i] = core::store<T>(core::hyperbolic_tangent(slope * value));
  }
  return !nan;
}

template <class T>
void tanh_continuation_backward(const T* grad, const T* x, double beta, T* out, int64_t begin,
                                int64_t end) {
  using C = core::compute_t<T>;
  scale_gradient(grad, x, out, begin, end,
                 [slope = C(beta)](C value) { return core::tanh_slope(value, slope); });
}

#define HASHGCN_INSTANTIATE(T)                                                \
  template bool tanh_continuation<T>(const T*, double, T*, int64_t, int64_t); \
  template void tanh_continuation_backward<T>(const T*, const T*, double, T*, int64_t, int64_t);
HASHGCN_INSTANTIATE(float)
HASHGCN_INSTANTIATE(double)
HASHGCN_INSTANTIATE(core::float16)
HASHGCN_INSTANTIATE(core::bfloat16)

}  // namespace hashgcn::cpu::HASHGCN_ISA

#include "sign_fourier.h"

#include "../core/sign_fourier.h"
#include "elementwise.h"

namespace hashgcn::cpu::HASHGCN_ISA {

template <class T>
void sign_fourier_backward(const T* grad, const T* x, double scale, double omega, int64_t count,
                           T* out, int64_t begin, int64_t end) {
  using C = core::compute_t<T>;
  scale_gradient(grad, x, out, begin, end, [=, terms = double(count)](C value) {
    return core::sign_fourier_slope(value, scale, omega, terms);
  });
}

#define HASHGCN_INSTANTIATE(T)                                                                     \
  template void sign_fourier_backward<T>(const T*, const T*, double, double, int64_t, T*, int64_t, \
                                         int64_t);
HASHGCN_INSTANTIATE(float)
HASHGCN_INSTANTIATE(double)
HASHGCN_INSTANTIATE(core::float16)
HASHGCN_INSTANTIATE(core::bfloat16)

}  // namespace hashgcn::cpu::HASHGCN_ISA

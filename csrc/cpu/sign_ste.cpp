#include "sign_ste.h"

#include "../core/sign_ste.h"
#include "elementwise.h"

namespace hashgcn::cpu::HASHGCN_ISA {

template <class T>
void sign_ste_backward(const T* grad, const T* x, double scale, double clip, T* out, int64_t begin,
                       int64_t end) {
  using C = core::compute_t<T>;
  scale_gradient(grad, x, out, begin, end, [factor = C(scale), bound = C(clip)](C value) {
    return core::sign_ste_slope(value, factor, bound);
  });
}

#define HASHGCN_INSTANTIATE(T) \
  template void sign_ste_backward<T>(const T*, const T*, double, double, T*, int64_t, int64_t);
HASHGCN_INSTANTIATE(float)
HASHGCN_INSTANTIATE(double)
HASHGCN_INSTANTIATE(core::float16)
HASHGCN_INSTANTIATE(core::bfloat16)

}  // namespace hashgcn::cpu::HASHGCN_ISA

#include "../core/sign_ste.h"
#include "elementwise.cuh"
#include "sign_ste.h"

namespace hashgcn::cuda {

template <class C>
struct SteSlope {
  const C* scale;
  C clip;
  __device__ C operator()(C x) const { return core::sign_ste_slope(x, *scale, clip); }
};

template <class T>
void sign_ste_backward(const T* grad, const T* x, const core::compute_t<T>* scale, double clip,
                       T* out, int64_t count, cudaStream_t stream) {
  using C = core::compute_t<T>;
  scale_gradient(grad, x, out, count, SteSlope<C>{scale, C(clip)}, stream);
}

#define HASHGCN_INSTANTIATE(T)                                                                  \
  template void sign_ste_backward<T>(const T*, const T*, const core::compute_t<T>*, double, T*, \
                                     int64_t, cudaStream_t);
HASHGCN_INSTANTIATE(float)
HASHGCN_INSTANTIATE(double)
HASHGCN_INSTANTIATE(core::float16)
HASHGCN_INSTANTIATE(core::bfloat16)

}  // namespace hashgcn::cuda

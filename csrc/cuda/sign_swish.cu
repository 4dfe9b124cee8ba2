#include "../core/sign_swish.h"
#include "elementwise.cuh"
#include "sign_swish.h"

namespace hashgcn::cuda {

template <class C>
struct Sign {
  __device__ C operator()(C x, int64_t) const { return core::is_plus(x) ? 1 : -1; }
};

template <class T>
void signs(const T* x, T* out, int64_t count, unsigned int* errors, cudaStream_t stream) {
  map(x, out, count, errors, Sign<core::compute_t<T>>{}, stream);
}

template <class C>
struct SwishSlope {
  const C* beta;
  __device__ C operator()(C x) const { return *beta * core::sign_swish_slope(x, *beta); }
};

template <class T>
void sign_swish_backward(const T* grad, const T* x, const core::compute_t<T>* beta, T* out,
                         int64_t count, cudaStream_t stream) {
  scale_gradient(grad, x, out, count, SwishSlope<core::compute_t<T>>{beta}, stream);
}

#define HASHGCN_INSTANTIATE(T)                                                                     \
  template void signs<T>(const T*, T*, int64_t, unsigned int*, cudaStream_t);                      \
  template void sign_swish_backward<T>(const T*, const T*, const core::compute_t<T>*, T*, int64_t, \
                                       cudaStream_t);
HASHGCN_INSTANTIATE(float)
HASHGCN_INSTANTIATE(double)
HASHGCN_INSTANTIATE(core::float16)
HASHGCN_INSTANTIATE(core::bfloat16)

}  // namespace hashgcn::cuda

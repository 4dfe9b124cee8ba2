#include "../core/tanh_continuation.h"
#include "elementwise.cuh"
#include "tanh_continuation.h"

namespace hashgcn::cuda {

template <class C>
struct Tanh {
  const C* beta;
  __device__ C operator()(C x, int64_t) const { return core::hyperbolic_tangent(*beta * x); }
};

template <class T>
void tanh_continuation(const T* x, const core::compute_t<T>* beta, T* out, int64_t count,
                       unsigned int* errors, cudaStream_t stream) {
  map(x, out, count, errors, Tanh<core::compute_t<T>>{beta}, stream);
}

template <class C>
struct TanhSlope {
  const C* beta;
  __device__ C operator()(C x) const { return core::tanh_slope(x, *beta); }
};

template <class T>
void tanh_continuation_backward(const T* grad, const T* x, const core::compute_t<T>* beta, T* out,
                                int64_t count, cudaStream_t stream) {
  scale_gradient(grad, x, out, count, TanhSlope<core::compute_t<T>>{beta}, stream);
}

#define HASHGCN_INSTANTIATE(T)                                                                   \
  template void tanh_continuation<T>(const T*, const core::compute_t<T>*, T*, int64_t,           \
                                     unsigned int*, cudaStream_t);                               \
  template void tanh_continuation_backward<T>(const T*, const T*, const core::compute_t<T>*, T*, \
                                              int64_t, cudaStream_t);
HASHGCN_INSTANTIATE(float)
HASHGCN_INSTANTIATE(double)
HASHGCN_INSTANTIATE(core::float16)
HASHGCN_INSTANTIATE(core::bfloat16)

}  // namespace hashgcn::cuda

#include "../core/sign_fourier.h"
#include "elementwise.cuh"
#include "sign_fourier.h"

namespace hashgcn::cuda {

template <class C>
struct FourierSlope {
  const C* scale;
  double omega, terms;
  __device__ C operator()(C x) const { return core::sign_fourier_slope(x, *scale, omega, terms); }
};

template <class T>
void sign_fourier_backward(const T* grad, const T* x, const core::compute_t<T>* scale, double omega,
                           int64_t terms, T* out, int64_t count, cudaStream_t stream) {
  const FourierSlope<core::compute_t<T>> slope{scale, omega, double(terms)};
  scale_gradient(grad, x, out, count, slope, stream);
}

#define HASHGCN_INSTANTIATE(T)                                                                  \
  template void sign_fourier_backward<T>(const T*, const T*, const core::compute_t<T>*, double, \
                                         int64_t, T*, int64_t, cudaStream_t);
HASHGCN_INSTANTIATE(float)
HASHGCN_INSTANTIATE(double)
HASHGCN_INSTANTIATE(core::float16)
HASHGCN_INSTANTIATE(core::bfloat16)

}  // namespace hashgcn::cuda

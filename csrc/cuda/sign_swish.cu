#include "../core/errors.h"
#include "../core/sign_swish.h"
#include "launch.h"
#include "sign_swish.h"

namespace hashgcn::cuda {

template <class T>
static __global__ void sign_swish_kernel(const T* x, T* out, int64_t count, unsigned int* errors) {
  const int64_t i = element_index();
  if (i >= count) return;
  const auto value = core::load(x[i]);
  if (value != value) atomicOr(errors, core::kNan);
  out[i] = core::store<T>(core::is_plus(x[i]) ? 1 : -1);
}

template <class T>
void sign_swish(const T* x, T* out, int64_t count, unsigned int* errors, cudaStream_t stream) {
  if (count == 0) return;
  sign_swish_kernel<<<element_grid(count), kThreads, 0, stream>>>(x, out, count, errors);
  check_launch();
}

template <class T>
static __global__ void sign_swish_backward_kernel(const T* grad, const T* x,
                                                  const core::compute_t<T>* beta, T* out,
                                                  int64_t count) {
  const int64_t i = element_index();
  if (i >= count) return;
  const auto slope = core::sign_swish_slope(core::load(x[i]), *beta);
  out[i] = core::store<T>(core::load(grad[i]) * (*beta * slope));
}

template <class T>
void sign_swish_backward(const T* grad, const T* x, const core::compute_t<T>* beta, T* out,
                         int64_t count, cudaStream_t stream) {
  if (count == 0) return;
  sign_swish_backward_kernel<<<element_grid(count), kThreads, 0, stream>>>(grad, x, beta, out,
                                                                           count);
  check_launch();
}

#define HASHGCN_INSTANTIATE(T)                                                                     \
  template void sign_swish<T>(const T*, T*, int64_t, unsigned int*, cudaStream_t);                 \
  template void sign_swish_backward<T>(const T*, const T*, const core::compute_t<T>*, T*, int64_t, \
                                       cudaStream_t);
HASHGCN_INSTANTIATE(float)
HASHGCN_INSTANTIATE(double)
HASHGCN_INSTANTIATE(core::float16)
HASHGCN_INSTANTIATE(core::bfloat16)

}  // namespace hashgcn::cuda

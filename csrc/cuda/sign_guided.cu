#include "../core/sign_swish.h"
#include "elementwise.cuh"
#include "sign_guided.h"

namespace hashgcn::cuda {

template <class C>
struct Guided {
  const bool* take_sign;
  const C* scale;
  int64_t width;
  __device__ C operator()(C x, int64_t i) const {
    if (take_sign[i / width]) return core::is_plus(x) ? 1 : -1;
    return *scale * x;
  }
};

template <class T>
void sign_guided(const T* x, const bool* take_sign, const core::compute_t<T>* scale, int64_t width,
                 T* out, int64_t count, unsigned int* errors, cudaStream_t stream) {
  const Guided<core::compute_t<T>> guided{take_sign, scale, width};
  map(x, out, count, errors, guided, stream);
}

#define HASHGCN_INSTANTIATE(T)                                                                \
  template void sign_guided<T>(const T*, const bool*, const core::compute_t<T>*, int64_t, T*, \
                               int64_t, unsigned int*, cudaStream_t);
HASHGCN_INSTANTIATE(float)
HASHGCN_INSTANTIATE(double)
HASHGCN_INSTANTIATE(core::float16)
HASHGCN_INSTANTIATE(core::bfloat16)

}  // namespace hashgcn::cuda

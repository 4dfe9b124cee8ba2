// A thread has a pack of elements: as many as 16 bytes hold, or one where memory does not begin at
// 16 bytes.
#include "../core/errors.h"
#include "packs.cuh"
#include "signs.h"

namespace hashgcn::cuda {

template <int kCount, class T, class Function>
static __global__ void map_kernel(const T* x, T* out, int64_t count, unsigned int* errors,
                                  Function function) {
  const int64_t first = element_index() * kCount;
  if (first >= count) return;
  Pack<T, kCount> pack = load_pack<kCount>(x + first, count - first);
  bool nan = false;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const auto value = core::load(pack.values[i]);
    nan |= value != value;
    if (first + i < count) pack.values[i] = core::store<T>(function(value, first + i));
  }
  if (nan) atomicOr(errors, core::kNan);
  store_pack(pack, out + first, count - first);
}

// out[i] = function(x[i], i).
template <class T, class Function>
static void map(const T* x, T* out, int64_t count, unsigned int* errors, Function function,
                cudaStream_t stream) {
  if (count == 0) return;
  const int pack = begin_at_16_bytes(x, out) ? kWide<T> : 1;
  const auto kernel = pack == 1 ? map_kernel<1, T, Function> : map_kernel<kWide<T>, T, Function>;
  kernel<<<pack_grid(count, pack), kThreads, 0, stream>>>(x, out, count, errors, function);
  check_launch();
}

template <class C>
struct Sign {
  __device__ C operator()(C x, int64_t) const { return core::is_plus(x) ? 1 : -1; }
};

template <class C>
struct TanhOf {
  const C* beta;
  __device__ C operator()(C x, int64_t) const { return core::hyperbolic_tangent(*beta * x); }
};

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
void signs(const T* x, T* out, int64_t count, unsigned int* errors, cudaStream_t stream) {
  map(x, out, count, errors, Sign<core::compute_t<T>>{}, stream);
}

template <class T>
void tanh_continuation(const T* x, const core::compute_t<T>* beta, T* out, int64_t count,
                       unsigned int* errors, cudaStream_t stream) {
  map(x, out, count, errors, TanhOf<core::compute_t<T>>{beta}, stream);
}

template <class T>
void sign_guided(const T* x, const bool* take_sign, const core::compute_t<T>* scale, int64_t width,
                 T* out, int64_t count, unsigned int* errors, cudaStream_t stream) {
  map(x, out, count, errors, Guided<core::compute_t<T>>{take_sign, scale, width}, stream);
}

template <int kCount, class T, class Kind>
static __global__ void scale_gradient_kernel(const T* grad, const T* x, Kind kind,
                                             const core::compute_t<T>* factor, T* out,
                                             int64_t count) {
  const int64_t first = element_index() * kCount;
  if (first >= count) return;
  const Pack<T, kCount> at = load_pack<kCount>(x + first, count - first);
  Pack<T, kCount> pack = load_pack<kCount>(grad + first, count - first);
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const auto steepness = slope(kind, core::load(at.values[i]), *factor);
    pack.values[i] = core::store<T>(core::load(pack.values[i]) * steepness);
  }
  store_pack(pack, out + first, count - first);
}

template <class T, class Kind>
void scale_gradient(const T* grad, const T* x, Kind kind, const core::compute_t<T>* factor, T* out,
                    int64_t count, cudaStream_t stream) {
  if (count == 0) return;
  const int pack = begin_at_16_bytes(grad, x, out) ? kWide<T> : 1;
  const auto kernel =
      pack == 1 ? scale_gradient_kernel<1, T, Kind> : scale_gradient_kernel<kWide<T>, T, Kind>;
  kernel<<<pack_grid(count, pack), kThreads, 0, stream>>>(grad, x, kind, factor, out, count);
  check_launch();
}

HASHGCN_FOR_ELEMENTS(signs)
HASHGCN_FOR_ELEMENTS(tanh_continuation)
HASHGCN_FOR_ELEMENTS(sign_guided)
HASHGCN_FOR_ELEMENTS(scale_gradient, core::Swish)
HASHGCN_FOR_ELEMENTS(scale_gradient, core::StraightThrough)
HASHGCN_FOR_ELEMENTS(scale_gradient, core::Fourier)
HASHGCN_FOR_ELEMENTS(scale_gradient, core::Tanh)

}  // namespace hashgcn::cuda

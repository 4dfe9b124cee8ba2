// Kernels that elementwise ops share; each gives a function of one number as a struct of numbers
// and device pointers. A thread has a pack of elements: as many as 16 bytes hold, or one where
// memory does not begin at 16 bytes.
#pragma once

#include "../core/errors.h"
#include "../core/scalar.h"
#include "launch.h"
#include "packs.cuh"

namespace hashgcn::cuda {

// Blocks for `count` elements, `pack` of them a thread.
inline unsigned pack_grid(int64_t count, int pack) {
  return element_grid((count + pack - 1) / pack);
}

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

template <int kCount, class T, class Slope>
static __global__ void scale_gradient_kernel(const T* grad, const T* x, T* out, int64_t count,
                                             Slope slope) {
  const int64_t first = element_index() * kCount;
  if (first >= count) return;
  const Pack<T, kCount> at = load_pack<kCount>(x + first, count - first);
  Pack<T, kCount> pack = load_pack<kCount>(grad + first, count - first);
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    pack.values[i] = core::store<T>(core::load(pack.values[i]) * slope(core::load(at.values[i])));
  }
  store_pack(pack, out + first, count - first);
}

// out = grad * slope(x).
template <class T, class Slope>
static void scale_gradient(const T* grad, const T* x, T* out, int64_t count, Slope slope,
                           cudaStream_t stream) {
  if (count == 0) return;
  const int pack = begin_at_16_bytes(grad, x, out) ? kWide<T> : 1;
  const auto kernel =
      pack == 1 ? scale_gradient_kernel<1, T, Slope> : scale_gradient_kernel<kWide<T>, T, Slope>;
  kernel<<<pack_grid(count, pack), kThreads, 0, stream>>>(grad, x, out, count, slope);
  check_launch();
}

}  // namespace hashgcn::cuda

// Kernels that elementwise ops share; each gives a function of one number as a struct of numbers
// and device pointers.
#pragma once

#include "../core/errors.h"
#include "../core/scalar.h"
#include "launch.h"

namespace hashgcn::cuda {

template <class T, class Function>
static __global__ void map_kernel(const T* x, T* out, int64_t count, unsigned int* errors,
                                  Function function) {
  const int64_t i = element_index();
  if (i >= count) return;
  const auto value = core::load(x[i]);
  if (value != value) atomicOr(errors, core::kNan);
  out[i] = core::store<T>(function(value, i));
}

// out[i] = function(x[i], i).
template <class T, class Function>
static void map(const T* x, T* out, int64_t count, unsigned int* errors, Function function,
                cudaStream_t stream) {
  if (count == 0) return;
  map_kernel<<<element_grid(count), kThreads, 0, stream>>>(x, out, count, errors, function);
  check_launch();
}

template <class T, class Slope>
static __global__ void scale_gradient_kernel(const T* grad, const T* x, T* out, int64_t count,
                                             Slope slope) {
  const int64_t i = element_index();
  if (i >= count) return;
  out[i] = core::store<T>(core::load(grad[i]) * slope(core::load(x[i])));
}

// out = grad * slope(x).
template <class T, class Slope>
static void scale_gradient(const T* grad, const T* x, T* out, int64_t count, Slope slope,
                           cudaStream_t stream) {
  if (count == 0) return;
  scale_gradient_kernel<<<element_grid(count), kThreads, 0, stream>>>(grad, x, out, count, slope);
  check_launch();
}

}  // namespace hashgcn::cuda

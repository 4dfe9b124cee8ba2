#pragma once

#include <cuda_runtime.h>

#include "../core/slopes.h"

namespace hashgcn::cuda {

// out = +1 where x >= 0, else -1: every code.
template <class T>
void signs(const T* x, T* out, int64_t count, unsigned int* errors, cudaStream_t stream);

// out = tanh(beta x); `beta` is in device memory.
template <class T>
void tanh_continuation(const T* x, const core::compute_t<T>* beta, T* out, int64_t count,
                       unsigned int* errors, cudaStream_t stream);

// Elements of x [*, width]: their sign in rows where take_sign, else scale x; `scale` is in device
// memory.
template <class T>
void sign_guided(const T* x, const bool* take_sign, const core::compute_t<T>* scale, int64_t width,
                 T* out, int64_t count, unsigned int* errors, cudaStream_t stream);

// out = grad * slope(kind, x, factor), see core/slopes.h; `factor` is in device memory.
template <class T, class Kind>
void scale_gradient(const T* grad, const T* x, Kind kind, const core::compute_t<T>* factor, T* out,
                    int64_t count, cudaStream_t stream);

}  // namespace hashgcn::cuda

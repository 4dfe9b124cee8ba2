#pragma once

#include <cuda_runtime.h>

#include "../core/scalar.h"

namespace hashgcn::cuda {

// out = tanh(beta x); `beta` is in device memory.
template <class T>
void tanh_continuation(const T* x, const core::compute_t<T>* beta, T* out, int64_t count,
                       unsigned int* errors, cudaStream_t stream);

// out = grad * beta (1 - tanh(beta x)^2).
template <class T>
void tanh_continuation_backward(const T* grad, const T* x, const core::compute_t<T>* beta, T* out,
                                int64_t count, cudaStream_t stream);

}  // namespace hashgcn::cuda

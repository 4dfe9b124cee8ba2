#pragma once

#include <cuda_runtime.h>

#include "../core/scalar.h"

namespace hashgcn::cuda {

// out = +1 where x >= 0, else -1: the codes of every estimator.
template <class T>
void signs(const T* x, T* out, int64_t count, unsigned int* errors, cudaStream_t stream);

// out = grad * SS'_beta(x); `beta` is in device memory.
template <class T>
void sign_swish_backward(const T* grad, const T* x, const core::compute_t<T>* beta, T* out,
                         int64_t count, cudaStream_t stream);

}  // namespace hashgcn::cuda

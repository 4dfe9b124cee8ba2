#pragma once

#include <cuda_runtime.h>

#include "../core/scalar.h"

namespace hashgcn::cuda {

// out = grad * the series' bounded derivative at x (core/sign_fourier.h); the series has `terms`
// terms, `scale` is in device memory.
template <class T>
void sign_fourier_backward(const T* grad, const T* x, const core::compute_t<T>* scale, double omega,
                           int64_t terms, T* out, int64_t count, cudaStream_t stream);

}  // namespace hashgcn::cuda

#pragma once

#include <cuda_runtime.h>

#include "../core/scalar.h"

namespace hashgcn::cuda {

// out = grad * scale where |scale x| <= clip, else 0; `scale` is in device memory.
template <class T>
void sign_ste_backward(const T* grad, const T* x, const core::compute_t<T>* scale, double clip,
                       T* out, int64_t count, cudaStream_t stream);

}  // namespace hashgcn::cuda

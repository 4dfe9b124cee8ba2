#pragma once

#include <cuda_runtime.h>

#include "../core/scalar.h"

namespace hashgcn::cuda {

// Elements of x [*, width]: their sign in rows where take_sign, else scale x; `scale` is in device
// memory.
template <class T>
void sign_guided(const T* x, const bool* take_sign, const core::compute_t<T>* scale, int64_t width,
                 T* out, int64_t count, unsigned int* errors, cudaStream_t stream);

}  // namespace hashgcn::cuda

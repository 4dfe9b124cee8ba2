#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace hashgcn::cuda {

// out [rows, width] = x [rows, inner] times matrix [inner, width], in full precision whatever torch
// allows its own products: each element is summed in the order of the inner index.
template <class T>
void fixed_order_mm(const T* x, const T* matrix, T* out, int64_t rows, int64_t inner, int64_t width,
                    cudaStream_t stream);

}  // namespace hashgcn::cuda

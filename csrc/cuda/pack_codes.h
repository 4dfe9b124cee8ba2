#pragma once

#include <cuda_runtime.h>

#include "../core/scalar.h"

namespace hashgcn::cuda {

// Packs x [rows, code_length] into words [rows, words_per_code]. With `signs` x must hold +1 and
// -1, otherwise it must be free of NaN.
template <class T>
void pack_codes(const T* x, uint64_t* words, int64_t rows, int64_t code_length, bool signs,
                unsigned int* errors, cudaStream_t stream);

// The inverse: +1 and -1 of type T.
template <class T>
void unpack_codes(const uint64_t* words, T* x, int64_t rows, int64_t code_length,
                  cudaStream_t stream);

}  // namespace hashgcn::cuda

#pragma once

#include <cuda_runtime.h>

#include "../core/scalar.h"

namespace hashgcn::cuda {

// Packs x [rows, code_length] into words [rows, words_per_code]. With `signs` x must hold +1 and
// -1, otherwise it must be free of NaN.
template <class T>
void pack_codes(const T* x, uint64_t* words, int64_t rows, int64_t code_length, bool signs,
                unsigned int* errors, cudaStream_t stream);

// Packs x [rows, code_length], odd weights of at most 2^planes - 1, into planes of words [rows,
// planes, words_per_code].
template <class T>
void pack_weights(const T* x, uint64_t* words, int64_t rows, int64_t code_length, int planes,
                  unsigned int* errors, cudaStream_t stream);

// The inverse of pack_codes: +1 and -1 of type T.
template <class T>
void unpack_codes(const uint64_t* words, T* x, int64_t rows, int64_t code_length,
                  cudaStream_t stream);

}  // namespace hashgcn::cuda

// The device's error flag (bits: core/errors.h), and checks of values that set it.
//
// Kernels take the flag as `errors`. They stay inside their buffers whatever the values are; what
// they compute from bad ones is unspecified.
#pragma once

#include <cuda_runtime.h>

#include "../core/codes.h"
#include "../core/rows.h"

namespace hashgcn::cuda {

// Where a block counts a query's distances in shared memory, in 32 bits.
constexpr int64_t kMaxCountedLength = 8192;
constexpr int64_t kMaxCountedItems = UINT32_MAX;

// The flag of the current device.
unsigned int* error_flag();

// out = flag, flag = 0.
void take_error_flag(unsigned int* errors, int32_t* out, cudaStream_t stream);

template <class T>
void check_finite(const T* x, int64_t count, unsigned int* errors, cudaStream_t stream);

// One number, finite and positive.
template <class T>
void check_positive(const T* number, unsigned int* errors, cudaStream_t stream);

// No bit is set past `code_length` in rows of packed codes.
void check_tails(const uint64_t* words, int64_t rows, int64_t code_length, unsigned int* errors,
                 cudaStream_t stream);

// Of both sides.
void check_codes(const core::Codes& codes, unsigned int* errors, cudaStream_t stream);

// Users, their part of the CSR, and the candidate lists. `candidate_order` may be null.
template <class T>
void check_rows(const core::Rows<T>& rows, const int64_t* candidate_order, unsigned int* errors,
                cudaStream_t stream);

}  // namespace hashgcn::cuda

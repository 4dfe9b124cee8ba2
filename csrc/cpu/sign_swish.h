#pragma once

#include "isa.h"

// out = +1 where x >= 0, else -1, over [begin, end): the codes of every estimator. Returns false if
// an x is NaN.
HASHGCN_KERNEL(template <class T> bool signs(const T* x, T* out, int64_t begin, int64_t end))

// Both of signs and pack_codes, over rows [begin, end) of x [*, code_length].
HASHGCN_KERNEL(template <class T> bool sign_swish_pack(const T* x, T* out, uint64_t* words,
                                                       int64_t code_length, int64_t begin,
                                                       int64_t end))

// out = grad * SS'_beta(x) over [begin, end).
HASHGCN_KERNEL(template <class T> void sign_swish_backward(const T* grad, const T* x, double beta,
                                                           T* out, int64_t begin, int64_t end))

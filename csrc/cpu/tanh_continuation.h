#pragma once

#include "isa.h"

// out = tanh(beta x) over [begin, end). Returns false if an x is NaN.
HASHGCN_KERNEL(template <class T>
               bool tanh_continuation(const T* x, double beta, T* out, int64_t begin, int64_t end))

// out = grad * beta (1 - tanh(beta x)^2) over [begin, end).
HASHGCN_KERNEL(template <class T> void tanh_continuation_backward(const T* grad, const T* x,
                                                                  double beta, T* out,
                                                                  int64_t begin, int64_t end))

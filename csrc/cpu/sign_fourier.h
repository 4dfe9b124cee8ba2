#pragma once

#include "isa.h"

// out = grad * the series' bounded derivative at x (core/sign_fourier.h) over [begin, end); the
// series has `count` terms.
HASHGCN_KERNEL(template <class T>
               void sign_fourier_backward(const T* grad, const T* x, double scale, double omega,
                                          int64_t count, T* out, int64_t begin, int64_t end))

#pragma once

#include "../core/slopes.h"
#include "isa.h"

// out = +1 where x >= 0, else -1, over [begin, end): every code. Returns false if an x is NaN.
HASHGCN_KERNEL(template <class T> bool signs(const T* x, T* out, int64_t begin, int64_t end))

// out = tanh(beta x) over [begin, end). Returns false if an x is NaN.
HASHGCN_KERNEL(template <class T>
               bool tanh_continuation(const T* x, double beta, T* out, int64_t begin, int64_t end))

// Elements [begin, end) of x [*, width]: their signs in rows where take_sign, else scale x. Returns
// false if an x is NaN.
HASHGCN_KERNEL(template <class T> bool sign_guided(const T* x, const bool* take_sign, double scale,
                                                   int64_t width, T* out, int64_t begin,
                                                   int64_t end))

// out = grad * slope(kind, x, factor) over [begin, end); see core/slopes.h.
HASHGCN_KERNEL(template <class T, class Kind> void scale_gradient(const T* grad, const T* x,
                                                                  Kind kind, double factor, T* out,
                                                                  int64_t begin, int64_t end))

#pragma once

#include "isa.h"

// Elements [begin, end) of x [*, width]: their signs in rows where take_sign, else scale x. Returns
// false if an x is NaN.
HASHGCN_KERNEL(template <class T> bool sign_guided(const T* x, const bool* take_sign, double scale,
                                                   int64_t width, T* out, int64_t begin,
                                                   int64_t end))

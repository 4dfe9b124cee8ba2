#pragma once

#include "isa.h"

// out = grad * scale where |scale x| <= clip, else 0, over [begin, end).
HASHGCN_KERNEL(template <class T> void sign_ste_backward(const T* grad, const T* x, double scale,
                                                         double clip, T* out, int64_t begin,
                                                         int64_t end))

#pragma once

#include "isa.h"

// Rows [begin, end) of out = x times matrix, [*, inner] x [inner, width]: each element is summed in
// the order of the inner index.
HASHGCN_KERNEL(template <class T> void fixed_order_mm(const T* x, const T* matrix, T* out,
                                                      int64_t inner, int64_t width, int64_t begin,
                                                      int64_t end))

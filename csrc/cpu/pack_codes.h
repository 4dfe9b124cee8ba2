#pragma once

#include "../core/scalar.h"
#include "isa.h"

// Packs rows [begin, end) of x [*, code_length] into words [*, words_per_code]. Returns false if an
// x is NaN.
HASHGCN_KERNEL(template <class T> bool pack_codes(const T* x, uint64_t* words, int64_t code_length,
                                                  int64_t begin, int64_t end))

// The inverse: +1 and -1 of type T.
HASHGCN_KERNEL(template <class T> void unpack_codes(const uint64_t* words, T* x,
                                                    int64_t code_length, int64_t begin,
                                                    int64_t end))

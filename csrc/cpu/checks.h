// Checks of values: each says whether everything in its range is in order.
#pragma once

#include "../core/rows.h"
#include "isa.h"

HASHGCN_KERNEL(template <class T> bool all_plus_minus_one(const T* x, int64_t begin, int64_t end))
HASHGCN_KERNEL(template <class T> bool all_finite(const T* x, int64_t begin, int64_t end))
HASHGCN_KERNEL(bool all_in_range(const int64_t* ids, int64_t bound, int64_t begin, int64_t end))
// No bit is set past `code_length` in rows [begin, end) of packed codes.
HASHGCN_KERNEL(bool tails_are_zero(const uint64_t* words, int64_t code_length, int64_t begin,
                                   int64_t end))
// ptr[i] <= ptr[i + 1] for i in [begin, end).
HASHGCN_KERNEL(bool non_decreasing(const int64_t* ptr, int64_t begin, int64_t end))
// The rows' users exist (or are -1), their part of the CSR lies inside it, and their ids are in
// range and strictly increasing.
HASHGCN_KERNEL(template <class T>
               bool rows_are_valid(const core::Rows<T>& rows, int64_t begin, int64_t end))

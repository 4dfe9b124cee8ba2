#pragma once

#include "isa.h"

namespace hashgcn::cpu {

// Columns are propagated in blocks of one cache line a row, all layers of a block at once: the
// gathered rows of a block fit caches that those of all columns would not.
template <class T>
constexpr int64_t kPropagateColumns = 64 / int64_t(sizeof(T));

// Gathered rows are asked for this many neighbours ahead; ids are read so far past the last one.
constexpr int64_t kPropagateAhead = 32;

// Half a layer for a block of columns: the rows of one side gather from the other side's.
//
// With y = scale * x kept, compact, beside x, a layer needs no edge values:
//   x'_r = scale_r * sum of y over the neighbours of r,   y'_r = scale_r * x'_r.
template <class T>
struct PropagateHalf {
  const int64_t* ptr;  // [rows + 1], non-decreasing
  const int32_t* ids;  // rows of source, and kPropagateAhead more of them behind the last
  const T* source;     // the other side's y, rows of kPropagateColumns, aligned to them
  const T* scale;      // [rows]
  T* y;                // like source
  const T* base;       // row stride `base_width`, 0 for one row that all share
  T* sum;              // becomes factor * (base + x'); null: x' is not in the mean
  int64_t base_width;
  int64_t width;    // of x and of its mean
  int64_t columns;  // of this block
  T factor;
};

}  // namespace hashgcn::cpu

// Ids [begin, end) in 32 bits; returns false if one is outside [0, bound), bound < 2^31.
HASHGCN_KERNEL(bool narrow_ids(const int64_t* ids, int64_t bound, int32_t* narrow, int64_t begin,
                               int64_t end))

// y = scale * x, zero past the block's columns, rows [begin, end); x has row stride `width`.
// Returns false if x holds NaN or infinity.
HASHGCN_KERNEL(template <class T> bool scale_rows(const T* x, const T* scale, T* y, int64_t width,
                                                  int64_t columns, int64_t begin, int64_t end))

// Rows [begin, end) of half a layer. Owner computes: a row is summed by one thread, its neighbours
// at even and at odd places apart, each in order.
HASHGCN_KERNEL(template <class T>
               void propagate_rows(const PropagateHalf<T>& half, int64_t begin, int64_t end))

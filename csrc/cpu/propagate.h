#pragma once

#include "isa.h"

namespace hashgcn::cpu {

// Columns are summed in blocks of kColumns, the last one of some steps.
constexpr int64_t kColumnStep = 16;
constexpr int64_t kColumns = 4 * kColumnStep;

// Row stride of y: whole steps, which for float are cache lines. The padding is zero.
constexpr int64_t propagate_stride(int64_t width) {
  return (width + kColumnStep - 1) / kColumnStep * kColumnStep;
}

}  // namespace hashgcn::cpu

// One half of one propagation layer, rows [begin, end): the rows of one side gather from the other.
//
// With y = scale * x kept beside x, a layer needs no edge values:
//   x'_r = scale_r * sum of y over the neighbours of r,   sum_r += x'_r,   y'_r = scale_r * x'_r.
// `sum` is [rows, width], `source_y` and `y` have propagate_stride(width). Owner computes: a row is
// summed by one thread in the order of its neighbours. Returns false if an id or a row is outside
// its range (that row is then left as it is, nothing is read outside).
HASHGCN_KERNEL(template <class T>
               bool propagate_rows(const int64_t* ptr, const int64_t* ids, int64_t num_pairs,
                                   int64_t num_sources, const T* source_y, const T* scale, T* y,
                                   T* sum, int64_t width, int64_t begin, int64_t end))

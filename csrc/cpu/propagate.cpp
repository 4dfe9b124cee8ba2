#include "propagate.h"

namespace hashgcn::cpu::HASHGCN_ISA {

// Columns are summed in blocks whose accumulators fit the vector registers.
constexpr int64_t kColumns = 64;

// Neighbours' rows are scattered over a table larger than the caches: they are asked for this many
// rows ahead.
constexpr int64_t kAhead = 8;

template <class T, int64_t kWidth>
static inline __attribute__((always_inline)) void sum_rows(const int64_t* ids, int64_t count,
                                                           const T* source, int64_t stride,
                                                           int64_t width, T* total) {
  const int64_t columns = kWidth > 0 ? kWidth : width;
  for (int64_t k = 0; k < columns; ++k) total[k] = 0;
  for (int64_t e = 0; e < count; ++e) {
    if (e + kAhead < count) {
      const char* ahead = reinterpret_cast<const char*>(source + ids[e + kAhead] * stride);
      for (int64_t byte = 0; byte < columns * int64_t(sizeof(T)); byte += 64) {
        __builtin_prefetch(ahead + byte);
      }
    }
    const T* row = source + ids[e] * stride;
    for (int64_t k = 0; k < columns; ++k) total[k] += row[k];
  }
}

template <class T>
bool propagate_rows(const int64_t* ptr, const int64_t* ids, int64_t num_pairs, int64_t num_sources,
                    const T* source_y, const T* scale, T* y, T* sum, int64_t width, int64_t begin,
                    int64_t end) {
  bool valid = true;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t first = ptr[row], count = ptr[row + 1] - first;
    bool row_valid = first >= 0 && count >= 0 && first + count <= num_pairs;
    for (int64_t e = 0; row_valid && e < count; ++e) {
      row_valid = uint64_t(ids[first + e]) < uint64_t(num_sources);
    }
    if (!row_valid) {
      valid = false;
      continue;
    }
    const T factor = scale[row];
    for (int64_t column = 0; column < width; column += kColumns) {
      const int64_t columns = width - column < kColumns ? width - column : kColumns;
      T total[kColumns];
      if (columns == kColumns) {
        sum_rows<T, kColumns>(ids + first, count, source_y + column, width, columns, total);
      } else {
        sum_rows<T, 0>(ids + first, count, source_y + column, width, columns, total);
      }
      const int64_t at = row * width + column;
      for (int64_t k = 0; k < columns; ++k) {
        const T x = factor * total[k];
        sum[at + k] += x;
        y[at + k] = factor * x;
      }
    }
  }
  return valid;
}

template bool propagate_rows<float>(const int64_t*, const int64_t*, int64_t, int64_t, const float*,
                                    const float*, float*, float*, int64_t, int64_t, int64_t);
template bool propagate_rows<double>(const int64_t*, const int64_t*, int64_t, int64_t,
                                     const double*, const double*, double*, double*, int64_t,
                                     int64_t, int64_t);

}  // namespace hashgcn::cpu::HASHGCN_ISA

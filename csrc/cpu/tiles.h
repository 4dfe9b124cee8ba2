// A tile of users times a tile of items: the small dense product that the loss kernels share.
#pragma once

#include <cstdint>

namespace hashgcn::cpu {

constexpr int64_t kTileUsers = 32;
constexpr int64_t kTileItems = 64;

// Rows of tiles are padded with zeros to whole pairs of 32-byte vectors.
template <class T>
constexpr int64_t padded_width(int64_t width) {
  constexpr int64_t step = 64 / int64_t(sizeof(T));
  return (width + step - 1) / step * step;
}

constexpr int64_t round_up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

// Rows of a padded copy of user rows: whole tiles, and the blocks of four that start at any row.
constexpr int64_t padded_rows(int64_t batch) { return round_up(batch, kTileUsers) + 4; }

}  // namespace hashgcn::cpu

#if defined(HASHGCN_ISA)
namespace hashgcn::cpu::HASHGCN_ISA {

template <class T>
struct Lanes;
template <>
struct Lanes<float> {
  typedef float type __attribute__((vector_size(32), aligned(4), may_alias));
};
template <>
struct Lanes<double> {
  typedef double type __attribute__((vector_size(32), aligned(8), may_alias));
};

// C += A B for M x K times K x N; A's element (m, k) is a[m * a_row + k * a_step]. M is a multiple
// of 4 and N of two vectors (callers pad with zeros). Each element is summed in the order of k.
// Blocks of 4 x 2 vectors keep eight independent sums in registers, as many as the multiply-add
// units have in flight.
template <class T>
static inline void add_product(int64_t M, int64_t N, int64_t K, const T* a, int64_t a_row,
                               int64_t a_step, const T* b, int64_t b_row, T* c, int64_t c_row) {
  using V = typename Lanes<T>::type;
  constexpr int64_t lanes = 32 / sizeof(T);
  for (int64_t n = 0; n < N; n += 2 * lanes) {
    for (int64_t m = 0; m < M; m += 4) {
      V sum[4][2];
      for (int r = 0; r < 4; ++r) {
        sum[r][0] = *reinterpret_cast<const V*>(c + (m + r) * c_row + n);
        sum[r][1] = *reinterpret_cast<const V*>(c + (m + r) * c_row + n + lanes);
      }
      for (int64_t k = 0; k < K; ++k) {
        const V b0 = *reinterpret_cast<const V*>(b + k * b_row + n);
        const V b1 = *reinterpret_cast<const V*>(b + k * b_row + n + lanes);
        for (int r = 0; r < 4; ++r) {
          const T factor = a[(m + r) * a_row + k * a_step];
          sum[r][0] += factor * b0;
          sum[r][1] += factor * b1;
        }
      }
      for (int r = 0; r < 4; ++r) {
        *reinterpret_cast<V*>(c + (m + r) * c_row + n) = sum[r][0];
        *reinterpret_cast<V*>(c + (m + r) * c_row + n + lanes) = sum[r][1];
      }
    }
  }
}

template <class T>
static inline void add_scaled(int64_t width, T factor, const T* x, T* y) {
  for (int64_t k = 0; k < width; ++k) y[k] += factor * x[k];
}

template <class T>
static inline void fill(T* x, int64_t count, T value) {
  for (int64_t i = 0; i < count; ++i) x[i] = value;
}

}  // namespace hashgcn::cpu::HASHGCN_ISA
#endif

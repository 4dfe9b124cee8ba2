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

#if defined(__AVX512F__)
constexpr int64_t kVectorBytes = 64;
constexpr int64_t kBlockVectors = 4;  // 4 x 4 sums of 32 registers
#else
constexpr int64_t kVectorBytes = 32;
constexpr int64_t kBlockVectors = 2;  // 4 x 2 sums of 16 registers
#endif

template <class T>
struct Lanes;
template <>
struct Lanes<float> {
  typedef float type __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
};
template <>
struct Lanes<double> {
  typedef double type __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
};

// Columns [n, n + kVectors vectors) of add_product. Blocks of four rows keep at least eight
// independent sums in registers, as many as the multiply-add units have in flight.
template <int64_t kVectors, class T>
static inline void add_product_columns(int64_t M, int64_t n, int64_t K, const T* a, int64_t a_row,
                                       int64_t a_step, const T* b, int64_t b_row, T* c,
                                       int64_t c_row) {
  using V = typename Lanes<T>::type;
  constexpr int64_t lanes = kVectorBytes / sizeof(T);
  for (int64_t m = 0; m < M; m += 4) {
    V sum[4][kVectors];
    for (int r = 0; r < 4; ++r) {
      for (int64_t v = 0; v < kVectors; ++v) {
        sum[r][v] = *reinterpret_cast<const V*>(c + (m + r) * c_row + n + v * lanes);
      }
    }
    for (int64_t k = 0; k < K; ++k) {
      V row[kVectors];
      for (int64_t v = 0; v < kVectors; ++v) {
        row[v] = *reinterpret_cast<const V*>(b + k * b_row + n + v * lanes);
      }
      for (int r = 0; r < 4; ++r) {
        const T factor = a[(m + r) * a_row + k * a_step];
        for (int64_t v = 0; v < kVectors; ++v) sum[r][v] += factor * row[v];
      }
    }
    for (int r = 0; r < 4; ++r) {
      for (int64_t v = 0; v < kVectors; ++v) {
        *reinterpret_cast<V*>(c + (m + r) * c_row + n + v * lanes) = sum[r][v];
      }
    }
  }
}

// C += A B for M x K times K x N; A's element (m, k) is a[m * a_row + k * a_step]. M is a multiple
// of 4 and N of 64 bytes (callers pad with zeros). Each element is summed in the order of k.
template <class T>
static inline void add_product(int64_t M, int64_t N, int64_t K, const T* a, int64_t a_row,
                               int64_t a_step, const T* b, int64_t b_row, T* c, int64_t c_row) {
  constexpr int64_t lanes = kVectorBytes / sizeof(T), block = kBlockVectors * lanes;
  int64_t n = 0;
  for (; n + block <= N; n += block) {
    add_product_columns<kBlockVectors>(M, n, K, a, a_row, a_step, b, b_row, c, c_row);
  }
  for (; n < N; n += lanes) {
    add_product_columns<1>(M, n, K, a, a_row, a_step, b, b_row, c, c_row);
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

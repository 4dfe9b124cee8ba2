// Dense products with a matrix of signs, +1 and -1.
//
// AVX-512, float: four rows at once. Four numbers times the signs of four rows have 16 possible
// sums. They fill one register, and the signs of 16 columns, four bits each, pick among them: for
// 64 columns four multiply-adds make the sums, four permutations pick and four additions add, where
// a plain product takes 16 multiply-adds. These share out over more of the vector units as well:
// the score tables' backward pass takes 60 ms, with plain products 110 (Zen 4, docs/design.md).
#pragma once

#include "../core/codes.h"
#include "tiles.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace hashgcn::cpu::HASHGCN_ISA {

// Lays out the signs of packed rows for add_sign_product: +1 and -1 of `stride` columns, 0 beyond
// the code length and for rows from `count` up to `rows`, which are a multiple of four.
template <class T>
static inline void lay_out_signs(const uint64_t* words, int64_t code_length, int64_t count,
                                 int64_t rows, int64_t stride, T* signs) {
  const int64_t row_words = core::words_per_code(code_length);
  fill<T>(signs, rows * stride, 0);
  for (int64_t row = 0; row < count; ++row) {
    for (int64_t k = 0; k < code_length; ++k) {
      signs[row * stride + k] = words[row * row_words + k / 64] >> (k % 64) & 1 ? T(1) : T(-1);
    }
  }
}

// C += A S for M x K times K x stride; A's element (m, k) is a[m * a_row + k * a_step]. M and K are
// multiples of four; A is 0 where S has no row. Columns beyond the code length may get anything.
template <class T>
static inline void add_sign_product(int64_t M, int64_t K, const T* a, int64_t a_row, int64_t a_step,
                                    const T* signs, int64_t stride, T* c) {
  add_product<T>(M, stride, K, a, a_row, a_step, signs, stride, c, stride);
}

#if defined(__AVX512F__)
// Patterns: in the place of column k of rows r to r + 3 the bits k of them.
template <>
inline void lay_out_signs<float>(const uint64_t* words, int64_t code_length, int64_t count,
                                 int64_t rows, int64_t stride, float* signs) {
  const int64_t row_words = core::words_per_code(code_length);
  int32_t* patterns = reinterpret_cast<int32_t*>(signs);
  for (int64_t row = 0; row < rows; row += 4, patterns += stride) {
    fill<int32_t>(patterns, stride, 0);
    for (int64_t r = 0; r < 4 && row + r < count; ++r) {
      for (int64_t k = 0; k < code_length; ++k) {
        const uint64_t word = words[(row + r) * row_words + k / 64];
        patterns[k] |= int32_t(word >> (k % 64) & 1) << r;
      }
    }
  }
}

// Columns [0, 16 kVectors) of four rows of C.
template <int64_t kVectors>
static inline void add_picked_sums(int64_t K, const float* a, int64_t a_row, int64_t a_step,
                                   const int32_t* patterns, int64_t stride, float* c) {
  // Entry p of signs[r]: +1 where bit r of p is set, else -1.
  const __m512 plus = _mm512_set1_ps(1), minus = _mm512_set1_ps(-1);
  const __m512 signs[4] = {
      _mm512_mask_mov_ps(minus, 0xaaaa, plus), _mm512_mask_mov_ps(minus, 0xcccc, plus),
      _mm512_mask_mov_ps(minus, 0xf0f0, plus), _mm512_mask_mov_ps(minus, 0xff00, plus)};
  __m512 total[4][kVectors];
  for (int m = 0; m < 4; ++m) {
    for (int64_t v = 0; v < kVectors; ++v) total[m][v] = _mm512_loadu_ps(c + m * stride + 16 * v);
  }
  for (int64_t k = 0; k < K; k += 4, patterns += stride) {
    __m512i pattern[kVectors];
    for (int64_t v = 0; v < kVectors; ++v) pattern[v] = _mm512_loadu_si512(patterns + 16 * v);
    for (int m = 0; m < 4; ++m) {
      const float* x = a + m * a_row + k * a_step;
      __m512 sums = _mm512_mul_ps(_mm512_set1_ps(x[0]), signs[0]);
      for (int r = 1; r < 4; ++r) {
        sums = _mm512_fmadd_ps(_mm512_set1_ps(x[r * a_step]), signs[r], sums);
      }
      for (int64_t v = 0; v < kVectors; ++v) {
        total[m][v] = _mm512_add_ps(total[m][v], _mm512_permutexvar_ps(pattern[v], sums));
      }
    }
  }
  for (int m = 0; m < 4; ++m) {
    for (int64_t v = 0; v < kVectors; ++v) _mm512_storeu_ps(c + m * stride + 16 * v, total[m][v]);
  }
}

template <>
inline void add_sign_product<float>(int64_t M, int64_t K, const float* a, int64_t a_row,
                                    int64_t a_step, const float* signs, int64_t stride, float* c) {
  const int32_t* patterns = reinterpret_cast<const int32_t*>(signs);
  for (int64_t m = 0; m < M; m += 4, a += 4 * a_row, c += 4 * stride) {
    int64_t n = 0;
    for (; n + 64 <= stride; n += 64) {
      add_picked_sums<4>(K, a, a_row, a_step, patterns + n, stride, c + n);
    }
    for (; n < stride; n += 16) {
      add_picked_sums<1>(K, a, a_row, a_step, patterns + n, stride, c + n);
    }
  }
}
#endif

}  // namespace hashgcn::cpu::HASHGCN_ISA

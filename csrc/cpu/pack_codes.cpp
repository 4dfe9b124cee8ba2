#include "pack_codes.h"

#include "../core/codes.h"
#include "../core/slopes.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace hashgcn::cpu::HASHGCN_ISA {

// Bits of `count` values, at most 64. `*nan` is set if one of them is NaN.
template <class T>
static inline uint64_t pack_word(const T* values, int64_t count, bool* nan) {
  // Bits are gathered a byte at a time: the inner loop of eight unrolls without dependences.
  uint64_t word = 0;
  int bad = 0;
  int64_t bit = 0;
  for (; bit + 8 <= count; bit += 8) {
    unsigned byte = 0;
    for (int j = 0; j < 8; ++j) {
      const auto value = core::load(values[bit + j]);
      bad |= value != value;
      byte |= unsigned(core::is_plus(values[bit + j])) << j;
    }
    word |= uint64_t(byte) << bit;
  }
  for (; bit < count; ++bit) {
    const auto value = core::load(values[bit]);
    bad |= value != value;
    word |= uint64_t(core::is_plus(values[bit])) << bit;
  }
  *nan |= bad != 0;
  return word;
}

#if defined(__AVX2__)
// The same from comparison masks.
static inline uint64_t pack_word(const float* values, int64_t count, bool* nan) {
  if (count < 64) return pack_word<float>(values, count, nan);
  uint64_t word = 0, bad = 0;
#if defined(__AVX512F__)
  for (int64_t bit = 0; bit < 64; bit += 16) {
    const __m512 x = _mm512_loadu_ps(values + bit);
    word |= uint64_t(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GE_OQ)) << bit;
    bad |= _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  }
#else
  for (int64_t bit = 0; bit < 64; bit += 8) {
    const __m256 x = _mm256_loadu_ps(values + bit);
    const __m256 plus = _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GE_OQ);
    word |= uint64_t(unsigned(_mm256_movemask_ps(plus))) << bit;
    bad |= unsigned(_mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
  }
#endif
  *nan |= bad != 0;
  return word;
}
#endif

template <class T>
bool pack_codes(const T* x, uint64_t* words, int64_t code_length, int64_t begin, int64_t end) {
  const int64_t row_words = core::words_per_code(code_length);
  bool nan = false;
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t w = 0; w < row_words; ++w) {
      const int64_t left = code_length - w * 64;
      words[row * row_words + w] =
          pack_word(x + row * code_length + w * 64, left < 64 ? left : 64, &nan);
    }
  }
  return !nan;
}

template <class T>
void unpack_codes(const uint64_t* words, T* x, int64_t code_length, int64_t begin, int64_t end) {
  const int64_t row_words = core::words_per_code(code_length);
  const T plus = core::store<T>(1), minus = core::store<T>(-1);
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t k = 0; k < code_length; ++k) {
      const uint64_t word = words[row * row_words + k / 64];
      x[row * code_length + k] = (word >> (k % 64)) & 1 ? plus : minus;
    }
  }
}

HASHGCN_FOR_ELEMENTS(pack_codes)
HASHGCN_FOR_ELEMENTS(unpack_codes)

}  // namespace hashgcn::cpu::HASHGCN_ISA

// Vector registers of an instruction set, and counts of bits that AVX2 lacks.
#pragma once

#include "../core/macros.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace hashgcn::cpu::HASHGCN_ISA {

#if defined(__AVX512F__)
constexpr int64_t kRegisterBytes = 64;
#elif defined(__AVX2__)
constexpr int64_t kRegisterBytes = 32;
#else
constexpr int64_t kRegisterBytes = 16;
#endif

#if defined(__AVX2__)
// Set bits of each byte.
HASHGCN_HD __m256i byte_counts(__m256i x) {
  const __m256i ones =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m256i low = _mm256_set1_epi8(15);
  return _mm256_add_epi8(_mm256_shuffle_epi8(ones, _mm256_and_si256(x, low)),
                         _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
}
#endif

}  // namespace hashgcn::cpu::HASHGCN_ISA

// Which of 64 items, as they stand, are nearer to a query than a bound: the inner loop of top-N
// search for a few queries, which would not pay for laying out planes.
#pragma once

#include "../core/codes.h"
#include "isa.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace hashgcn::cpu::HASHGCN_ISA {

// Vectors of whole words. Where a code takes several, their counts are added by rotation, so that
// each of its words' places holds its distance.
#if defined(__AVX512VPOPCNTDQ__)
typedef __m512i Words;
template <int kWords>
constexpr bool kInVectors = kWords == 1 || kWords == 2 || kWords == 4;

HASHGCN_HD Words load_words(const uint64_t* x) { return _mm512_loadu_si512(x); }
HASHGCN_HD Words least(Words a, Words b) { return _mm512_min_epu64(a, b); }
HASHGCN_HD uint32_t places_below(Words a, int64_t bound) {
  return _mm512_cmplt_epi64_mask(a, _mm512_set1_epi64(bound));
}
template <int kWords>
HASHGCN_HD Words distances(Words x, Words query) {
  Words distance = _mm512_popcnt_epi64(_mm512_xor_si512(x, query));
  if (kWords >= 2) distance = _mm512_add_epi64(distance, _mm512_permutex_epi64(distance, 0xb1));
  if (kWords == 4) distance = _mm512_add_epi64(distance, _mm512_permutex_epi64(distance, 0x4e));
  return distance;
}
#elif defined(__AVX2__)
typedef __m256i Words;
// Not 256 bits: a vector would hold one item, which takes longer than scalar population counts.
template <int kWords>
constexpr bool kInVectors = kWords == 1 || kWords == 2;

HASHGCN_HD Words load_words(const uint64_t* x) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
}
HASHGCN_HD Words least(Words a, Words b) { return _mm256_min_epu32(a, b); }
HASHGCN_HD uint32_t places_below(Words a, int64_t bound) {
  return uint32_t(
      _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(_mm256_set1_epi64x(bound), a))));
}
template <int kWords>
HASHGCN_HD Words distances(Words x, Words query) {
  const Words ones =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const Words low = _mm256_set1_epi8(15), other = _mm256_xor_si256(x, query);
  const Words bytes = _mm256_add_epi8(
      _mm256_shuffle_epi8(ones, _mm256_and_si256(other, low)),
      _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi16(other, 4), low)));
  Words distance = _mm256_sad_epu8(bytes, _mm256_setzero_si256());
  if (kWords == 2) distance = _mm256_add_epi64(distance, _mm256_permute4x64_epi64(distance, 0xb1));
  return distance;
}
#else
template <int kWords>
constexpr bool kInVectors = false;
#endif

// Bit j is set where item j of up to 64 is nearer than the bound.
template <int kWords>
HASHGCN_HD uint64_t nearer_items(const uint64_t* items, const uint64_t* query, int64_t words,
                                 int64_t count, int32_t bound) {
  const int64_t used = kWords > 0 ? kWords : words;
  uint64_t nearer = 0;
#if defined(__AVX2__)
  if constexpr (kInVectors<kWords>) {
    if (count == 64) {
      constexpr int64_t lanes = sizeof(Words) / 8, step = lanes / kWords;
      uint64_t repeated[lanes];
      for (int64_t l = 0; l < lanes; ++l) repeated[l] = query[l % kWords];
      const Words q = load_words(repeated);
      Words nearest = distances<kWords>(load_words(items), q);
      for (int64_t j = step; j < 64; j += step) {
        nearest = least(nearest, distances<kWords>(load_words(items + j * kWords), q));
      }
      if (__builtin_expect(places_below(nearest, bound) == 0, 1)) return 0;
      // One place of each item's.
      constexpr uint32_t first = kWords == 1 ? 0xff : kWords == 2 ? 0x55 : 0x11;
      for (int64_t j = 0; j < 64; j += step) {
        const Words distance = distances<kWords>(load_words(items + j * kWords), q);
        nearer |= uint64_t(_pext_u32(places_below(distance, bound), first)) << j;
      }
      return nearer;
    }
  }
#endif
  int32_t nearest = INT32_MAX;
  for (int64_t j = 0; j < count; ++j) {
    const int32_t distance = core::hamming(query, items + j * used, used);
    nearest = distance < nearest ? distance : nearest;
  }
  if (__builtin_expect(nearest >= bound, 1)) return 0;
  for (int64_t j = 0; j < count; ++j) {
    nearer |= uint64_t(core::hamming(query, items + j * used, used) < bound) << j;
  }
  return nearer;
}

}  // namespace hashgcn::cpu::HASHGCN_ISA

// Which of 64 items, as they stand, are nearer to a query than a bound: the inner loop of top-N
// search for a few queries, which would not pay for laying out planes.
#pragma once

#include "../core/codes.h"
#include "isa.h"
#include "vectors.h"

namespace hashgcn::cpu::HASHGCN_ISA {

// kStep items at a time: their distances stand in a vector, and `items_below` has a bit for each.
#if defined(__AVX512VPOPCNTDQ__)
typedef __m512i Words;
template <int kWords>
constexpr int64_t kStep = kWords == 1 || kWords == 2 || kWords == 4 ? 8 / kWords : 0;

HASHGCN_HD Words load_words(const uint64_t* x) { return _mm512_loadu_si512(x); }
HASHGCN_HD Words least(Words a, Words b) { return _mm512_min_epu64(a, b); }
HASHGCN_HD Words sum(Words a, Words b) { return _mm512_add_epi64(a, b); }
// The counts of a code's words are added by rotation, so that each of their places holds the sum.
template <int kWords>
HASHGCN_HD Words distances(const uint64_t* items, Words query) {
  Words distance = _mm512_popcnt_epi64(_mm512_xor_si512(load_words(items), query));
  if (kWords >= 2) distance = _mm512_add_epi64(distance, _mm512_permutex_epi64(distance, 0xb1));
  if (kWords == 4) distance = _mm512_add_epi64(distance, _mm512_permutex_epi64(distance, 0x4e));
  return distance;
}
template <int kWords>
HASHGCN_HD uint32_t items_below(Words distance, int64_t bound) {
  constexpr uint32_t first = kWords == 1 ? 0xff : kWords == 2 ? 0x55 : 0x11;
  return _pext_u32(_mm512_cmplt_epi64_mask(distance, _mm512_set1_epi64(bound)), first);
}
#elif defined(__AVX2__)
typedef __m256i Words;
template <int kWords>
constexpr int64_t kStep = kWords == 1 || kWords == 4 ? 4
                          : kWords == 2              ? 2
                                                     : 0;

HASHGCN_HD Words load_words(const uint64_t* x) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
}
HASHGCN_HD Words least(Words a, Words b) { return _mm256_min_epu32(a, b); }
HASHGCN_HD Words sum(Words a, Words b) { return _mm256_add_epi64(a, b); }
HASHGCN_HD Words counts(const uint64_t* words, Words query) {
  const Words bytes = byte_counts(_mm256_xor_si256(load_words(words), query));
  return _mm256_sad_epu8(bytes, _mm256_setzero_si256());
}
template <int kWords>
HASHGCN_HD Words distances(const uint64_t* items, Words query) {
  const Words a = counts(items, query);
  if (kWords == 1) return a;
  if (kWords == 2) return _mm256_add_epi64(a, _mm256_permute4x64_epi64(a, 0xb1));
  // Four items of four words: two items' counts share their 64-bit places, and all places of an
  // item are added. 1.0 ns an item, scalar population counts 1.3 (Zen 4).
  const Words b = counts(items + 4, query), c = counts(items + 8, query);
  const Words d = counts(items + 12, query);
  const Words ab = _mm256_or_si256(a, _mm256_slli_epi64(b, 32));
  const Words cd = _mm256_or_si256(c, _mm256_slli_epi64(d, 32));
  const Words sums = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
  return _mm256_add_epi32(sums, _mm256_permute4x64_epi64(sums, 0x4e));
}
template <int kWords>
HASHGCN_HD uint32_t items_below(Words distance, int32_t bound) {
  if (kWords == 4) {
    const Words below = _mm256_cmpgt_epi32(_mm256_set1_epi32(bound), distance);
    return uint32_t(_mm256_movemask_ps(_mm256_castsi256_ps(below))) & 15;
  }
  const Words below = _mm256_cmpgt_epi64(_mm256_set1_epi64x(bound), distance);
  return _pext_u32(uint32_t(_mm256_movemask_pd(_mm256_castsi256_pd(below))), kWords == 1 ? 15 : 5);
}
#endif

#if defined(__AVX2__)
// Of the planes of a query, from the last, whose weight is the largest. Sums of 64 bits serve
// numbers of 32 bits too: they are not negative.
template <int kWords, int kPlanes>
HASHGCN_HD Words graded_distances(const uint64_t* items, const Words* query) {
  Words distance = distances<kWords>(items, query[kPlanes - 1]);
  for (int p = kPlanes - 2; p >= 0; --p) {
    distance = sum(sum(distance, distance), distances<kWords>(items, query[p]));
  }
  return distance;
}
#endif

// Bit j is set where item j of up to 64 is nearer than the bound.
template <int kWords, int kPlanes>
static inline uint64_t nearer_items(const uint64_t* items, const uint64_t* query, int64_t words,
                                    int64_t count, int32_t bound) {
  const int64_t used = kWords > 0 ? kWords : words;
  uint64_t nearer = 0;
#if defined(__AVX2__)
  if constexpr (kStep<kWords> > 0) {
    if (count == 64) {
      constexpr int64_t step = kStep<kWords>, lanes = sizeof(Words) / 8;
      Words q[kPlanes];
      for (int p = 0; p < kPlanes; ++p) {
        uint64_t repeated[lanes];
        for (int64_t l = 0; l < lanes; ++l) repeated[l] = query[p * kWords + l % kWords];
        q[p] = load_words(repeated);
      }
      Words nearest = graded_distances<kWords, kPlanes>(items, q);
      for (int64_t j = step; j < 64; j += step) {
        nearest = least(nearest, graded_distances<kWords, kPlanes>(items + j * kWords, q));
      }
      if (__builtin_expect(items_below<kWords>(nearest, bound) == 0, 1)) return 0;
      for (int64_t j = 0; j < 64; j += step) {
        const Words distance = graded_distances<kWords, kPlanes>(items + j * kWords, q);
        nearer |= uint64_t(items_below<kWords>(distance, bound)) << j;
      }
      return nearer;
    }
  }
#endif
  const auto distance = [&](int64_t j) {
    return core::graded_distance(query, items + j * used, used, kPlanes);
  };
  int32_t nearest = INT32_MAX;
  for (int64_t j = 0; j < count; ++j) {
    const int32_t own = distance(j);
    nearest = own < nearest ? own : nearest;
  }
  if (__builtin_expect(nearest >= bound, 1)) return 0;
  for (int64_t j = 0; j < count; ++j) nearer |= uint64_t(distance(j) < bound) << j;
  return nearer;
}

template <int kWords>
HASHGCN_HD uint64_t nearer_items(const uint64_t* items, const uint64_t* query, int64_t words,
                                 int64_t planes, int64_t count, int32_t bound) {
  switch (planes) {
    case 1:
      return nearer_items<kWords, 1>(items, query, words, count, bound);
    case 2:
      return nearer_items<kWords, 2>(items, query, words, count, bound);
    case 3:
      return nearer_items<kWords, 3>(items, query, words, count, bound);
    default:
      static_assert(core::kMaxPlanes == 4);
      return nearer_items<kWords, 4>(items, query, words, count, bound);
  }
}

}  // namespace hashgcn::cpu::HASHGCN_ISA

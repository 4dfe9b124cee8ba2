// Which items of a tile are nearer to a query than a bound: the inner loop of top-N search, for
// each instruction set.
//
// A tile is a copy of some items in the layout its instruction set wants, made once for all queries
// of a block. Items are tested in groups of kGroup. A test may let a farther item through (callers
// look at the exact distance of what is let through), but never holds a nearer one back.
#pragma once

#include "hamming_topk.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace hashgcn::cpu::HASHGCN_ISA {

#if defined(__AVX512VPOPCNTDQ__)

// Word-planar: word w of all items of a group stands together, so that a group's distances are sums
// of vertical popcounts. Per 512 bits of code: xor, popcount, and one addition or minimum, 1.5
// cycles on Zen 4; comparing each distance instead of a minimum of eight would take 2.
constexpr int64_t kGroup = 64;
constexpr int64_t kGroupWords = 64;  // words of a tile for each word of a group's codes
constexpr int64_t kMaxPlanarWords = INT64_MAX;
constexpr bool kOneWordIsPlanar = true;

static inline const uint64_t* prepare_query(const uint64_t* query, int64_t, uint64_t*) {
  return query;
}

static inline void prepare_group(const uint64_t* items, int64_t words, int64_t count,
                                 uint64_t* group) {
  if (words == 2 && count == kGroup) {
    const __m512i even = _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1);
    for (int64_t j = 0; j < kGroup; j += 8) {
      const __m512i a = _mm512_loadu_si512(items + 2 * j);
      const __m512i b = _mm512_loadu_si512(items + 2 * j + 8);
      _mm512_storeu_si512(group + j, _mm512_permutex2var_epi64(a, even, b));
      _mm512_storeu_si512(group + kGroup + j, _mm512_permutex2var_epi64(a, odd, b));
    }
    return;
  }
  if (words == 4 && count == kGroup) {
    // Words 0 and 1, or 2 and 3, of four items; then halves of two such vectors.
    const __m512i first = _mm512_set_epi64(13, 9, 5, 1, 12, 8, 4, 0);
    const __m512i second = _mm512_set_epi64(15, 11, 7, 3, 14, 10, 6, 2);
    for (int64_t j = 0; j < kGroup; j += 8) {
      __m512i of_four[2][2];
      for (int64_t half = 0; half < 2; ++half) {
        const __m512i a = _mm512_loadu_si512(items + 4 * (j + 4 * half));
        const __m512i b = _mm512_loadu_si512(items + 4 * (j + 4 * half) + 8);
        of_four[half][0] = _mm512_permutex2var_epi64(a, first, b);
        of_four[half][1] = _mm512_permutex2var_epi64(a, second, b);
      }
      for (int64_t pair = 0; pair < 2; ++pair) {
        const __m512i a = of_four[0][pair], b = of_four[1][pair];
        uint64_t* plane = group + 2 * pair * kGroup + j;
        _mm512_storeu_si512(plane, _mm512_shuffle_i64x2(a, b, 0x44));
        _mm512_storeu_si512(plane + kGroup, _mm512_shuffle_i64x2(a, b, 0xee));
      }
    }
    return;
  }
  for (int64_t w = 0; w < words; ++w) {
    for (int64_t j = 0; j < count; ++j) group[w * kGroup + j] = items[j * words + w];
    for (int64_t j = count; j < kGroup; ++j) group[w * kGroup + j] = 0;
  }
}

// Distances of a group's items, eight in a vector.
template <int kWords>
static inline void add_up(const uint64_t* group, const uint64_t* prepared, int64_t words,
                          __m512i* distance) {
  const int64_t used = kWords > 0 ? kWords : words;
  for (int v = 0; v < 8; ++v) {
    distance[v] = _mm512_popcnt_epi64(_mm512_xor_si512(_mm512_loadu_si512(group + 8 * v),
                                                       _mm512_set1_epi64(int64_t(prepared[0]))));
  }
  for (int64_t w = 1; w < used; ++w) {
    const __m512i word = _mm512_set1_epi64(int64_t(prepared[w]));
    for (int v = 0; v < 8; ++v) {
      const __m512i plane = _mm512_loadu_si512(group + w * kGroup + 8 * v);
      distance[v] =
          _mm512_add_epi64(distance[v], _mm512_popcnt_epi64(_mm512_xor_si512(plane, word)));
    }
  }
}

template <int kWords>
static inline void group_distances(const uint64_t* group, const uint64_t* prepared, int64_t words,
                                   uint8_t* distances) {
  __m512i distance[8];
  add_up<kWords>(group, prepared, words, distance);
  for (int v = 0; v < 8; ++v) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(distances + 8 * v),
                     _mm512_cvtusepi64_epi8(distance[v]));
  }
}

template <int kWords>
HASHGCN_HD bool test_group(const uint64_t* group, const uint64_t* prepared, int64_t words,
                              int32_t bound, uint64_t* passed) {
  __m512i distance[8];
  add_up<kWords>(group, prepared, words, distance);
  const auto least = [&](int a, int b) { return _mm512_min_epu32(distance[a], distance[b]); };
  const __m512i limit = _mm512_set1_epi64(bound);
  const __m512i nearest = _mm512_min_epu32(_mm512_min_epu32(least(0, 1), least(2, 3)),
                                           _mm512_min_epu32(least(4, 5), least(6, 7)));
  if (__builtin_expect(_mm512_cmplt_epi64_mask(nearest, limit) == 0, 1)) return false;
  uint64_t mask = 0;
  for (int v = 0; v < 8; ++v) {
    mask |= uint64_t(_mm512_cmplt_epi64_mask(distance[v], limit)) << (8 * v);
  }
  *passed = mask;
  return true;
}

#elif defined(__AVX2__)

// Nibble-planar: four bits of each item of a group stand together, one nibble a byte, and a query
// is a table of 16 distances for each nibble, so that 32 items are looked up and added at once: a
// third of the time of scalar popcounts at 64 bits, half at 256 (Zen 4). Sums saturate at 255: a
// bound above that lets all through.
constexpr int64_t kGroup = 128;
constexpr int64_t kGroupWords = 256;
constexpr int64_t kMaxPlanarWords = kTopkTableWords / 32;
constexpr bool kOneWordIsPlanar = false;

static inline const uint64_t* prepare_query(const uint64_t* query, int64_t words,
                                            uint64_t* prepared) {
  // Distances of the nibbles 0 to 15 from 0; from q they are those of nibble ^ q.
  const __m128i ones = _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m128i nibbles = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m128i* table = reinterpret_cast<__m128i*>(prepared);
  for (int64_t j = 0; j < 16 * words; ++j) {
    const char q = char((query[j / 16] >> (4 * (j % 16))) & 15);
    _mm_storeu_si128(table + j, _mm_shuffle_epi8(ones, _mm_xor_si128(nibbles, _mm_set1_epi8(q))));
  }
  return prepared;
}

// 32 items' word w as eight vectors of bytes: byte b of items 0 to 31 in vector b. Each round
// interleaves the first half of the rows with the second, in both halves of the registers.
static inline void transpose_bytes(const uint64_t* words_of_items, int64_t words, int64_t count,
                                   __m256i* rows) {
  const auto word = [&](int64_t j) {
    return j < count ? int64_t(words_of_items[j * words]) : int64_t(0);
  };
  for (int r = 0; r < 8; ++r) {
    rows[r] = _mm256_set_epi64x(word(2 * r + 17), word(2 * r + 16), word(2 * r + 1), word(2 * r));
  }
  for (int round = 0; round < 4; ++round) {
    __m256i next[8];
    for (int r = 0; r < 4; ++r) {
      next[2 * r] = _mm256_unpacklo_epi8(rows[r], rows[r + 4]);
      next[2 * r + 1] = _mm256_unpackhi_epi8(rows[r], rows[r + 4]);
    }
    for (int r = 0; r < 8; ++r) rows[r] = next[r];
  }
}

static inline void prepare_group(const uint64_t* items, int64_t words, int64_t count,
                                 uint64_t* group) {
  uint8_t* planes = reinterpret_cast<uint8_t*>(group);
  const __m256i low = _mm256_set1_epi8(15);
  for (int64_t w = 0; w < words; ++w) {
    for (int64_t j = 0; j < kGroup; j += 32) {
      __m256i rows[8];
      if (count - j >= 32) {
        transpose_bytes(items + j * words + w, words, 32, rows);
      } else {
        transpose_bytes(items + j * words + w, words, count - j, rows);
      }
      for (int b = 0; b < 8; ++b) {
        uint8_t* plane = planes + (16 * w + 2 * b) * kGroup + j;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(plane), _mm256_and_si256(rows[b], low));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(plane + kGroup),
                            _mm256_and_si256(_mm256_srli_epi16(rows[b], 4), low));
      }
    }
  }
}

// Distances of a group's items, 32 in a vector.
template <int kWords>
static inline void add_up(const uint64_t* group, const uint64_t* prepared, int64_t words,
                          __m256i* distance) {
  const int64_t nibbles = 16 * (kWords > 0 ? kWords : words);
  const __m256i* planes = reinterpret_cast<const __m256i*>(group);
  const __m128i* table = reinterpret_cast<const __m128i*>(prepared);
  for (int v = 0; v < 4; ++v) distance[v] = _mm256_setzero_si256();
  for (int64_t j = 0; j < nibbles; ++j) {
    const __m256i of_nibble = _mm256_broadcastsi128_si256(_mm_loadu_si128(table + j));
    for (int v = 0; v < 4; ++v) {
      const __m256i nibble = _mm256_loadu_si256(planes + 4 * j + v);
      distance[v] = _mm256_adds_epu8(distance[v], _mm256_shuffle_epi8(of_nibble, nibble));
    }
  }
}

template <int kWords>
static inline void group_distances(const uint64_t* group, const uint64_t* prepared, int64_t words,
                                   uint8_t* distances) {
  __m256i distance[4];
  add_up<kWords>(group, prepared, words, distance);
  for (int v = 0; v < 4; ++v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(distances) + v, distance[v]);
  }
}

template <int kWords>
HASHGCN_HD bool test_group(const uint64_t* group, const uint64_t* prepared, int64_t words,
                              int32_t bound, uint64_t* passed) {
  __m256i distance[4];
  add_up<kWords>(group, prepared, words, distance);
  if (bound <= 0) return false;
  const __m256i last = _mm256_set1_epi8(char(bound > 255 ? 255 : bound - 1));
  const auto within = [&](__m256i x) { return _mm256_cmpeq_epi8(_mm256_min_epu8(x, last), x); };
  const __m256i nearest = _mm256_min_epu8(_mm256_min_epu8(distance[0], distance[1]),
                                          _mm256_min_epu8(distance[2], distance[3]));
  if (__builtin_expect(_mm256_movemask_epi8(within(nearest)) == 0, 1)) return false;
  for (int v = 0; v < 2; ++v) {
    const uint64_t low = uint32_t(_mm256_movemask_epi8(within(distance[2 * v])));
    const uint64_t high = uint32_t(_mm256_movemask_epi8(within(distance[2 * v + 1])));
    passed[v] = low | high << 32;
  }
  return true;
}

#else

// No layout is better than the items' own.
constexpr int64_t kGroup = 64;
constexpr int64_t kGroupWords = 64;
constexpr int64_t kMaxPlanarWords = 0;
constexpr bool kOneWordIsPlanar = false;

static inline const uint64_t* prepare_query(const uint64_t* query, int64_t, uint64_t*) {
  return query;
}
static inline void prepare_group(const uint64_t*, int64_t, int64_t, uint64_t*) {}
template <int kWords>
static inline void group_distances(const uint64_t*, const uint64_t*, int64_t, uint8_t*) {}
template <int kWords>
HASHGCN_HD bool test_group(const uint64_t*, const uint64_t*, int64_t, int32_t, uint64_t*) {
  return false;
}

#endif

// Least distance among some items as they stand: vectors of whole words, a code's words added by
// rotation where a vector holds several, scalar popcounts for other lengths (and for 256 bits on
// AVX2, where a vector would hold one item).
template <int kWords>
static inline int32_t least_distance(const uint64_t* items, const uint64_t* query, int64_t words,
                                     int64_t count) {
  const int64_t used = kWords > 0 ? kWords : words;
  int64_t j = 0;
  int32_t least = INT32_MAX;
#if defined(__AVX512VPOPCNTDQ__)
  if constexpr (kWords > 0) {
    uint64_t repeated[8];
    for (int64_t l = 0; l < 8; ++l) repeated[l] = query[l % kWords];
    const __m512i q = _mm512_loadu_si512(repeated);
    __m512i nearest = _mm512_set1_epi32(INT32_MAX);
    for (; j + 8 / kWords <= count; j += 8 / kWords) {
      const __m512i x = _mm512_loadu_si512(items + j * kWords);
      __m512i distance = _mm512_popcnt_epi64(_mm512_xor_si512(x, q));
      if (kWords >= 2) {
        distance = _mm512_add_epi64(distance, _mm512_permutex_epi64(distance, 0xb1));
      }
      if (kWords == 4) {
        distance = _mm512_add_epi64(distance, _mm512_permutex_epi64(distance, 0x4e));
      }
      nearest = _mm512_min_epu64(nearest, distance);
    }
    least = int32_t(_mm512_reduce_min_epu64(nearest));
  }
#elif defined(__AVX2__)
  if constexpr (kWords == 1 || kWords == 2) {
    uint64_t repeated[4];
    for (int64_t l = 0; l < 4; ++l) repeated[l] = query[l % kWords];
    const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(repeated));
    const __m256i ones =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m256i low = _mm256_set1_epi8(15);
    __m256i nearest = _mm256_set1_epi32(INT32_MAX);
    for (; j + 4 / kWords <= count; j += 4 / kWords) {
      const __m256i* at = reinterpret_cast<const __m256i*>(items + j * kWords);
      const __m256i x = _mm256_xor_si256(_mm256_loadu_si256(at), q);
      const __m256i bytes = _mm256_add_epi8(
          _mm256_shuffle_epi8(ones, _mm256_and_si256(x, low)),
          _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
      __m256i distance = _mm256_sad_epu8(bytes, _mm256_setzero_si256());
      if (kWords == 2) {
        distance = _mm256_add_epi64(distance, _mm256_permute4x64_epi64(distance, 0xb1));
      }
      nearest = _mm256_min_epu32(nearest, distance);
    }
    uint64_t lanes[4];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), nearest);
    for (const uint64_t lane : lanes)
      least = int32_t(uint32_t(lane)) < least ? int32_t(lane) : least;
  }
#endif
  for (; j < count; ++j) {
    const int32_t distance = core::hamming(query, items + j * used, used);
    least = distance < least ? distance : least;
  }
  return least;
}

// The test of test_group for up to kGroup items as they stand.
template <int kWords>
static inline bool test_items(const uint64_t* items, const uint64_t* query, int64_t words,
                              int64_t count, int32_t bound, uint64_t* passed) {
  const int64_t used = kWords > 0 ? kWords : words;
  const int32_t least = least_distance<kWords>(items, query, words, count);
  if (__builtin_expect(least >= bound, 1)) return false;
  for (int64_t v = 0; v < kGroup / 64; ++v) passed[v] = 0;
  for (int64_t j = 0; j < count; ++j) {
    const int32_t distance = core::hamming(query, items + j * used, used);
    passed[j / 64] |= uint64_t(distance < bound) << (j % 64);
  }
  return true;
}

}  // namespace hashgcn::cpu::HASHGCN_ISA

// Which items of a group are nearer to a query than a bound, by bit planes: the inner loop of top-N
// search over a block of queries.
//
// A plane holds one bit of every item of a group, so that an instruction treats as many items as a
// vector has bits. Whether an item and a query differ in three dimensions adds up to a number of
// two bits, sum and carry, which depends on the item and three bits of the query. All answers, 2
// sums and 8 carries, are laid out once for a block of queries, and a query picks its own: a full
// adder in place of three XORs and a full adder. 42 more add up 64 dimensions, and they start from
// the negative of the bound, so that the last carry says that an item is too far.
//
// Top 100 of 128 queries among 10^6 items of 64 bits, AVX-512, one core (Zen 4): 7.4 ms, a tenth of
// it for laying out. Population counts of eight words at a time took 10.8.
#pragma once

#include "hamming_topk.h"
#include "tiles.h"
#include "vectors.h"

namespace hashgcn::cpu::HASHGCN_ISA {

typedef uint64_t Plane __attribute__((vector_size(kRegisterBytes), may_alias));

// Laying out planes pays from about this many queries on. Without vector instructions that count,
// it always does.
template <bool kGraded>
constexpr int64_t kPlanarQueries = kRegisterBytes <= 16 ? 1
                                   : kGraded            ? 6
                                                        : 12;

// Item t of a group is bit t / kLanes of lane t % kLanes: words of consecutive items are then
// transposed as they stand.
constexpr int64_t kLanes = kRegisterBytes / 8;
constexpr int64_t kGroup = 64 * kLanes;

// For one word of a code: for each of 21 triples of bits 2 sums and 8 carries, and for the last bit
// both values. A query picks 22 sums and bits and 21 carries. A graded one picks more: for it the
// bits of a triple follow, each with its complement, and zeros at the end.
constexpr int64_t kTriples = 21;
template <bool kGraded>
constexpr int64_t kOfTriple = kGraded ? 16 : 10;
template <bool kGraded>
constexpr int64_t kWordPlanes = kTriples * kOfTriple<kGraded> + (kGraded ? 3 : 2);
template <bool kGraded>
constexpr int64_t kWordStep = kWordPlanes<kGraded> * kLanes;  // words of a group for each of a code
constexpr int64_t kWordPicks = 4 * kTopkPickWords;
static_assert(kWordStep<false> <= topk_group_words(1) && kWordStep<true> <= topk_group_words(2) &&
              kWordPicks >= 2 * kTriples + 1);

// What a graded query picks more: for each of the weights 4, 8 and 16 `counts`, multiples of
// kMoreStep, in words from the group's beginning.
constexpr int64_t kMoreShifts = 3, kMoreStep = 4;
static_assert(kMoreShifts * kMoreStep <= 2 * kTopkMoreRest);
struct MorePicks {
  uint32_t* picks;
  int64_t counts[kMoreShifts];
  int64_t constant;  // that a distance exceeds the sum of picks by
};

HASHGCN_HD Plane sum(Plane a, Plane b, Plane c) {
#if defined(__AVX512F__)
  return Plane(_mm512_ternarylogic_epi64(__m512i(a), __m512i(b), __m512i(c), 0x96));
#else
  return a ^ b ^ c;
#endif
}

HASHGCN_HD Plane majority(Plane a, Plane b, Plane c) {
#if defined(__AVX512F__)
  return Plane(_mm512_ternarylogic_epi64(__m512i(a), __m512i(b), __m512i(c), 0xe8));
#else
  return (a & b) | (c & (a ^ b));
#endif
}

// The places of a triple's sum and carry among a word's picks, in words from its planes' beginning.
// They stand in the order in which `carry` wants them: sums of two triples, then their carries. At
// 41 is the last bit.
static inline void pick_triple(int64_t triple, int64_t sum, int64_t carry, uint16_t* picks) {
  picks[triple / 2 * 4 + triple % 2] = uint16_t(sum * kLanes);
  picks[triple == 20 ? 42 : triple / 2 * 4 + 2 + triple % 2] = uint16_t(carry * kLanes);
}

static inline void pick_planes(const uint64_t* query, int64_t words, uint16_t* picks) {
  for (int64_t w = 0; w < words; ++w, picks += kWordPicks) {
    for (int64_t t = 0; t < kTriples; ++t) {
      const int pattern = int(query[w] >> (3 * t)) & 7;
      const int64_t first = kOfTriple<false> * t;
      pick_triple(t, first + (core::popcount(uint64_t(pattern)) & 1), first + 2 + pattern, picks);
    }
    picks[41] = uint16_t((kWordPlanes<false> - 2 + int64_t(query[w] >> 63)) * kLanes);
  }
}

// Transposes 64 x 64 bits in each lane: bit i of rows[p] becomes bit p of rows[i].
static inline void transpose(Plane* rows) {
  const auto swap = [&](int a, int step, uint64_t low) {
    const Plane moved = ((rows[a] >> step) ^ rows[a + step]) & low;
    rows[a] ^= moved << step;
    rows[a + step] ^= moved;
  };
  // Three steps at a time, on eight rows that fit the registers.
  for (int r = 0; r < 8; ++r) {
    for (int k = 0; k < 4; ++k) swap(r + 8 * k, 32, 0x00000000ffffffff);
    for (int k = 0; k < 8; ++k) {
      if ((k & 2) == 0) swap(r + 8 * k, 16, 0x0000ffff0000ffff);
    }
    for (int k = 0; k < 8; k += 2) swap(r + 8 * k, 8, 0x00ff00ff00ff00ff);
  }
  for (int r = 0; r < 64; r += 8) {
    for (int k = 0; k < 4; ++k) swap(r + k, 4, 0x0f0f0f0f0f0f0f0f);
    for (int k = 0; k < 8; ++k) {
      if ((k & 2) == 0) swap(r + k, 2, 0x3333333333333333);
    }
    for (int k = 0; k < 8; k += 2) swap(r + k, 1, 0x5555555555555555);
  }
}

// The planes of one word of a group's codes, from that word of all its items.
template <bool kGraded>
static inline void lay_out_word(Plane* items, Plane* planes) {
  transpose(items);
  for (int64_t t = 0; t < kTriples; ++t, planes += kOfTriple<kGraded>) {
    const Plane a = items[3 * t], b = items[3 * t + 1], c = items[3 * t + 2];
    planes[0] = sum(a, b, c);
    planes[1] = ~planes[0];
    for (int pattern = 0; pattern < 4; ++pattern) {
      const Plane carry = majority(pattern & 1 ? ~a : a, pattern & 2 ? ~b : b, c);
      planes[2 + pattern] = carry;
      planes[2 + (pattern ^ 7)] = ~carry;
    }
    for (int64_t j = 0; kGraded && j < 3; ++j) {
      planes[10 + 2 * j] = items[3 * t + j];
      planes[11 + 2 * j] = ~items[3 * t + j];
    }
  }
  planes[0] = items[63];
  planes[1] = ~planes[0];
  if (kGraded) planes[2] = Plane{};
}

// Lays out a group of `count` items, with zeros in the place of missing ones.
template <int kWords, bool kGraded>
static void lay_out(const uint64_t* items, int64_t words, int64_t count, uint64_t* group) {
  constexpr int64_t kMany = kWords > 0 ? kWords : 1;  // words at a time
  const int64_t used = kWords > 0 ? kWords : words;
  union {
    uint64_t words[kMany][kGroup];
    Plane planes[kMany][64];
  } of;
  for (int64_t w = 0; w < used; w += kMany) {
    if (count == kGroup) {
      for (int64_t t = 0; t < kGroup; ++t) {
        for (int64_t m = 0; m < kMany; ++m) of.words[m][t] = items[t * used + w + m];
      }
    } else {
      for (int64_t t = 0; t < kGroup; ++t) {
        for (int64_t m = 0; m < kMany; ++m) {
          of.words[m][t] = t < count ? items[t * used + w + m] : 0;
        }
      }
    }
    for (int64_t m = 0; m < kMany; ++m) {
      lay_out_word<kGraded>(of.planes[m],
                            reinterpret_cast<Plane*>(group + (w + m) * kWordStep<kGraded>));
    }
  }
}

// Adds two planes to a running sum of their weight; the carry weighs twice as much.
HASHGCN_HD Plane add(Plane* running, Plane a, Plane b) {
  const Plane carry = majority(*running, a, b);
  *running = sum(*running, a, b);
  return carry;
}

HASHGCN_HD Plane add(Plane* running, Plane a) {
  const Plane carry = *running & a;
  *running ^= a;
  return carry;
}

// Plane `i` of weight 2^kWeight among those that the picks of a code add up to.
template <int kWeight, bool kGraded>
HASHGCN_HD Plane carry(const uint64_t* planes, const uint16_t* picks, Plane* running, int i) {
  if constexpr (kWeight == 6) {  // one from each word
    planes += i * kWordStep<kGraded>;
    picks += i * kWordPicks;
    i = 0;
  }
  const auto pick = [&](int entry) {
    return *reinterpret_cast<const Plane*>(planes + picks[entry]);
  };
  if constexpr (kWeight > 1) {
    const Plane a = carry<kWeight - 1, kGraded>(planes, picks, running, 2 * i);
    const Plane b = carry<kWeight - 1, kGraded>(planes, picks, running, 2 * i + 1);
    return add(&running[kWeight - 1], a, b);
  } else {
    // Of three such planes one comes from two sums, the others are carries of triples.
    const int pair = i / 3, entry = 4 * pair;
    if (i % 3 == 0) return add(&running[0], pick(entry), pick(entry + 1));
    return pick(entry + 1 + i % 3);
  }
}

// The same from 2^kLog planes of one weight, which `running` begins with.
template <int kLog>
HASHGCN_HD Plane more_carry(const uint64_t* planes, const uint32_t* picks, Plane* running) {
  const auto pick = [&](int entry) {
    return *reinterpret_cast<const Plane*>(planes + picks[entry]);
  };
  if constexpr (kLog == 1) {
    return add(&running[0], pick(0), pick(1));
  } else {
    const Plane a = more_carry<kLog - 1>(planes, picks, running);
    const Plane b = more_carry<kLog - 1>(planes, picks + (1 << (kLog - 1)), running);
    return add(&running[kLog - 1], a, b);
  }
}

// A number for each item of a group, bit by bit: room for twice the longest distance, and for four
// more bits of a graded one.
struct Numbers {
  Plane bits[6 + kTopkHighBits + 4];
};

// A graded query's planes of a word add up to less than 2^10: kMostTotal for each triple, and 17.
template <bool kGraded>
HASHGCN_HD int bits_of_distances(int64_t words) {
  if (!kGraded) return 70 - __builtin_clzll(uint64_t(words));
  return words == 1 ? 10 : 74 - __builtin_clzll(uint64_t(words - 1));
}
constexpr int kMostTotal = 47;
static_assert(kTriples * kMostTotal + 17 < 1 << 10);

// Adds a plane to the numbers. Returns the carry out of the highest bit.
HASHGCN_HD Plane add_plane(Plane plane, int first, int bits, Numbers* numbers) {
  for (int bit = first; bit < bits; ++bit) plane = add(&numbers->bits[bit], plane);
  return plane;
}

// Adds `count` of the picks, all of weight 2^kShift, as many as a power of two at a time. Their
// carries are added together: one after the other they took a twentieth of the search longer.
template <int kShift>
HASHGCN_HD Plane add_more(const uint64_t* group, const uint32_t* picks, int64_t count, int bits,
                          Numbers* numbers) {
  Plane beyond = {}, *running = numbers->bits + kShift;
  if (count == 0) return beyond;
  for (; count >= 32; count -= 32, picks += 32) {
    beyond |= add_plane(more_carry<5>(group, picks, running), kShift + 5, bits, numbers);
  }
  Plane four = {}, eight = {}, sixteen = {};
  if ((count & 4) != 0) four = more_carry<2>(group, picks, running);
  picks += count & 4;
  if ((count & 8) != 0) eight = more_carry<3>(group, picks, running);
  picks += count & 8;
  if ((count & 16) != 0) sixteen = more_carry<4>(group, picks, running);
  const Plane c = add(&running[3], add(&running[2], four), eight);
  return beyond | add_plane(add(&running[4], c, sixteen), kShift + 5, bits, numbers);
}

// Adds the distances of a group's items, less `more->constant`. Returns the carry out of the
// highest bit. Plain queries have no `more`.
template <int kWords, bool kGraded>
HASHGCN_HD Plane add_distances(const uint64_t* group, const uint16_t* picks, const MorePicks* more,
                               int64_t words, Numbers* numbers) {
  constexpr int kWeight = kWords == 4 ? 8 : kWords == 2 ? 7 : 6;
  const int64_t used = kWords > 0 ? kWords : words, step = 1 << (kWeight - 6);
  const int bits = bits_of_distances<kGraded>(used);
  // Keeps the picks from being loaded before the callers' loop over groups, only to be spilled:
  // search would take half as long again.
  asm("" : "+r"(picks));
  Plane beyond = {};
  for (int64_t w = 0; w < used; w += step) {
    const Plane c = carry<kWeight, kGraded>(group + w * kWordStep<kGraded>, picks + w * kWordPicks,
                                            numbers->bits, 0);
    beyond |= add_plane(c, kWeight, bits, numbers);
  }
  if constexpr (kGraded) {
    const uint32_t* next = more->picks;
    beyond |= add_more<2>(group, next, more->counts[0], bits, numbers);
    next += more->counts[0];
    beyond |= add_more<3>(group, next, more->counts[1], bits, numbers);
    next += more->counts[1];
    beyond |= add_more<4>(group, next, more->counts[2], bits, numbers);
  }
  return beyond;
}

// The negative of the bound, at least 1 and at most one more than the largest sum of picks, for all
// items: a sum below the bound then leaves no carry.
HASHGCN_HD Numbers minus(int64_t bound, int bits) {
  Numbers numbers;
  for (int bit = 0; bit < bits; ++bit) {
    numbers.bits[bit] = Plane{} - uint64_t(-bound >> bit & 1);
  }
  return numbers;
}

HASHGCN_HD uint64_t any_lane(Plane plane) {
#if defined(__AVX512F__)
  return uint64_t(_mm512_reduce_or_epi64(__m512i(plane)));
#else
  uint64_t all = 0;
  for (int64_t l = 0; l < kLanes; ++l) all |= plane[l];
  return all;
#endif
}

HASHGCN_HD bool any(Plane plane) {
#if defined(__AVX512F__)
  return _mm512_test_epi64_mask(__m512i(plane), __m512i(plane)) != 0;
#else
  return any_lane(plane) != 0;
#endif
}

// Bit l is set where bit `place` of lane l is.
HASHGCN_HD uint64_t lanes_with(Plane plane, int64_t place) {
#if defined(__AVX512F__)
  return _mm512_test_epi64_mask(__m512i(plane), _mm512_set1_epi64(int64_t(1) << place));
#else
  uint64_t lanes = 0;
  for (int64_t l = 0; l < kLanes; ++l) lanes |= (plane[l] >> place & 1) << l;
  return lanes;
#endif
}

HASHGCN_HD int64_t count(Plane plane) {
#if defined(__AVX512VPOPCNTDQ__)
  return _mm512_reduce_add_epi64(_mm512_popcnt_epi64(__m512i(plane)));
#else
  int64_t sum = 0;
  for (int64_t l = 0; l < kLanes; ++l) sum += core::popcount(plane[l]);
  return sum;
#endif
}

}  // namespace hashgcn::cpu::HASHGCN_ISA

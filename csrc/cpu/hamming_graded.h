// Which planes of a group add up to the distances of a graded query.
//
// With m_j = 1 where the signs of weight q_j and of an item differ, the distance is a constant +
// sum over j of m_j |q_j|. What three dimensions add is rewritten to
//
//     a constant +- 1 sum +- 2 carry + up to four more of +- 4, 8 or 16 plane
//
// in planes that there are of a triple: sum, carries, and the bits themselves. Weights 3, 3 and 1
// become sum(a, b, c) + 2 carry(a, b, ~c) + 4 carry(a, b, c). What is subtracted is a complement. A
// plain query has the sum and a carry alone, so that what follows those is what weights cost. For
// 64 of them at random it is 22 planes up to 3, 42 up to 7 and 61 up to 15, a full adder each,
// beside 42; signed binary digits of each weight would be 32, 48 and 72.
#pragma once

#include "hamming_planes.h"

namespace hashgcn::cpu::HASHGCN_ISA {

// Planes of a triple that follow its sum and carry.
constexpr int kMostMore = 4;
static_assert(kTriples * kMostMore + 2 <= 2 * kTopkMoreWords);  // 2 of the last weight

// Functions of the three m, bit i the value where they are the digits of i, the first one the
// lowest: themselves; their sum; the carry of them as they stand, with the first, with the second,
// and with these two complemented.
constexpr int kFunctions = 8, kSumFunction = 3, kCarryFunction = 4;
constexpr int kFunctionValues[kFunctions] = {0xaa, 0xcc, 0xf0, 0x96, 0xe8, 0xd4, 0xb2, 0x71};

// 2^shift times a function, or its complement.
struct Term {
  uint8_t function, shift, complement;

  int at(int i) const { return ((kFunctionValues[function] >> i & 1) ^ complement) << shift; }
};

struct Rewrite {
  Term terms[2 + kMostMore];
  int count, total;  // of 2^shift of all terms

  void push(Term term) {
    terms[count++] = term;
    total += 1 << term.shift;
  }
};

// Of the weights of a triple, 1 + 2 l for each of three l: bit 3 p + j of a place is bit p of l_j.
class Rewrites {
 public:
  Rewrites() {
    sizes_[0] = sums_[0] = 0;
    for (int set = 1; set < kSets; ++set) {
      sizes_[set] = uint8_t(sizes_[set & (set - 1)] + 1);
      sums_[set] = uint8_t(sums_[set & (set - 1)] ^ kFunctionValues[__builtin_ctz(unsigned(set))]);
    }
    for (int place = 0; place < kPlaces; ++place) {
      int values[8] = {};
      for (int i = 0; i < 8; ++i) {
        for (int j = 0; j < 3; ++j) {
          int weight = 1;
          for (int p = 0; p < 3; ++p) weight += (place >> (3 * p + j) & 1) << (p + 1);
          values[i] += (i >> j & 1) * weight;
        }
      }
      Rewrite start = {};
      best_[place].count = 2 + kMostMore + 1;
      complete(values, 0, start, &best_[place]);
    }
  }

  const Rewrite& operator[](int place) const { return best_[place]; }

 private:
  static constexpr int kSets = 1 << kFunctions, kPlaces = 512;

  // Takes as few terms of 2^shift and above as make `rest` a constant: the first ones found among
  // those that need the fewest at each shift.
  void complete(const int* rest, int shift, const Rewrite& start, Rewrite* best) const {
    int odd = 0, any = 0;
    for (int i = 0; i < 8; ++i) {
      any |= rest[i] - rest[0];
      odd |= ((rest[i] - rest[0]) >> shift & 1) << i;
    }
    if (any == 0 && start.count < best->count && start.total <= kMostTotal) *best = start;
    if (any == 0 || shift == 2 + kMoreShifts) return;
    if (odd == 0) return complete(rest, shift + 1, start, best);
    // A sum, then a carry, then any.
    const int most = shift < 2 ? 1 : best->count - 1 - start.count;
    bool fits = false;
    for (int size = 1; !fits && size <= most; ++size) {
      for (int set = 1; set < kSets; ++set) {
        if (sizes_[set] != size || (sums_[set] != odd && sums_[set] != (odd ^ 0xff))) continue;
        fits = true;
        for (int complements = 0; complements < 1 << size; ++complements) {
          Rewrite longer = start;
          int next[8];
          for (int i = 0; i < 8; ++i) next[i] = rest[i];
          for (int left = set; left != 0; left &= left - 1) {
            const int complement = complements >> (longer.count - start.count) & 1;
            const Term term{uint8_t(__builtin_ctz(unsigned(left))), uint8_t(shift),
                            uint8_t(complement)};
            longer.push(term);
            for (int i = 0; i < 8; ++i) next[i] -= term.at(i);
          }
          complete(next, shift + 1, longer, best);
        }
      }
    }
  }

  uint8_t sizes_[kSets], sums_[kSets];
  Rewrite best_[kPlaces];
};

// Where a term's plane is among those of its triple; `signs` are those of the weights.
static inline int place_of(const Term& term, int signs) {
  if (term.function < kSumFunction) {
    return 10 + 2 * term.function + ((signs >> term.function & 1) ^ term.complement);
  }
  if (term.function == kSumFunction) {
    return (core::popcount(uint64_t(signs)) & 1) ^ term.complement;
  }
  return 2 + ((term.function - kCarryFunction) ^ signs ^ (term.complement ? 7 : 0));
}

// A graded query's picks in place of a plain one's, and more.
static inline void pick_graded(const uint64_t* query, int64_t code_length, int64_t num_planes,
                               uint16_t* picks, MorePicks* more) {
  static const Rewrites rewrites;
  const int64_t words = core::words_per_code(code_length);
  constexpr int64_t kLast = kTriples * kOfTriple<true>, kZero = kLast + 2;
  int64_t constant = 0, next[kMoreShifts] = {};
  // What follows is counted first.
  for (int pass = 0; pass < 2; ++pass) {
    const bool write = pass == 1;
    for (int64_t w = 0; w < words; ++w) {
      const auto add = [&](int shift, int64_t plane) {
        if (write)
          more->picks[next[shift - 2]] = uint32_t((w * kWordPlanes<true> + plane) * kLanes);
        ++next[shift - 2];
      };
      const uint64_t used = w + 1 < words ? ~uint64_t(0) : core::last_word_mask(code_length);
      const uint64_t signs = query[(num_planes - 1) * words + w];
      uint64_t levels[core::kMaxPlanes] = {};  // bit p of |q| / 2
      for (int64_t p = 0; p + 1 < num_planes; ++p) {
        const uint64_t other = query[p * words + w] ^ signs;
        if (write) constant += int64_t(core::popcount(other)) << p;
        levels[p] = ~other & used;
      }
      for (int64_t t = 0; t < kTriples; ++t) {
        int place = 0;
        for (int p = 0; p < 3; ++p) place |= int(levels[p] >> (3 * t) & 7) << (3 * p);
        const Rewrite& rewrite = rewrites[place];
        const int triple = int(signs >> (3 * t) & 7);
        const auto plane = [&](int term) {
          return t * kOfTriple<true> + place_of(rewrite.terms[term], triple);
        };
        for (int term = 2; term < rewrite.count; ++term) {
          add(rewrite.terms[term].shift, plane(term));
        }
        if (!write) continue;
        pick_triple(t, plane(0), plane(1), picks + w * kWordPicks);
        for (int term = 0; term < rewrite.count; ++term) constant -= rewrite.terms[term].at(0);
      }
      // The last weight is 4 r + 1 or 4 r - 1.
      int weight = 1;
      for (int p = 0; p < 3; ++p) weight += int(levels[p] >> 63) << (p + 1);
      const int r = (weight + 1) / 4, sign = int(signs >> 63);
      for (int i = 0; i < kMoreShifts; ++i) {
        if (r >> i & 1) add(2 + i, kLast + sign);
      }
      if (!write) continue;
      const int complement = weight % 4 == 3;
      constant -= complement;
      picks[w * kWordPicks + 41] = uint16_t((kLast + (sign ^ complement)) * kLanes);
    }
    int64_t begin = 0;
    for (int i = 0; i < kMoreShifts; ++i) {
      if (write) {
        for (; next[i] % kMoreStep != 0; ++next[i]) more->picks[next[i]] = kZero * kLanes;
      } else {
        more->counts[i] = round_up(next[i], kMoreStep);
        next[i] = begin;
        begin += more->counts[i];
      }
    }
  }
  more->constant = constant;
}

}  // namespace hashgcn::cpu::HASHGCN_ISA

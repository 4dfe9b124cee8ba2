// Layout of packed codes: int64 words, bit j of word w is dimension 64 w + j, set for +1, zero
// tail.
#pragma once

#include "macros.h"

namespace hashgcn::core {

constexpr int64_t kMaxCodeLength = INT32_MAX - 1;  // of 32-bit distances one is above all

// Graded queries hold odd weights: q = sum over p < planes of 2^p b_p, with b_p = +-1.
constexpr int64_t kMaxPlanes = 4;

// Packed codes of queries and of items: planes of words_per_code(code_length) words, of which a
// query has `planes`, one plain code for each b_p, and an item one.
struct Codes {
  int64_t num_queries, num_items, code_length, planes;
  const uint64_t* queries;
  const uint64_t* items;
};

HASHGCN_HD int64_t words_per_code(int64_t code_length) { return (code_length + 63) / 64; }

// The largest weight of a dimension, which is also the sum of the planes' weights.
HASHGCN_HD int64_t largest_weight(int64_t planes) { return (int64_t(1) << planes) - 1; }

// Of a query from an item: (largest_weight * code_length - score) / 2.
HASHGCN_HD int64_t longest_distance(const Codes& codes) {
  return largest_weight(codes.planes) * codes.code_length;
}

// The bits of a row's last word that belong to the code.
HASHGCN_HD uint64_t last_word_mask(int64_t code_length) {
  const int used = int((code_length - 1) % 64) + 1;
  return ~uint64_t(0) >> (64 - used);
}

HASHGCN_HD int popcount(uint64_t x) {
#if defined(__CUDA_ARCH__)
  return __popcll(x);
#else
  return __builtin_popcountll(x);
#endif
}

HASHGCN_HD int hamming(const uint64_t* a, const uint64_t* b, int64_t words) {
  int distance = 0;
  for (int64_t w = 0; w < words; ++w) distance += popcount(a[w] ^ b[w]);
  return distance;
}

// One more than the longest distance of codes whose tails, unchecked, may hold bits.
HASHGCN_HD int64_t unchecked_bins(const Codes& codes) {
  return largest_weight(codes.planes) * 64 * words_per_code(codes.code_length) + 1;
}

// Sum over planes of 2^p hamming(plane p of the query, item).
HASHGCN_HD int graded_distance(const uint64_t* query, const uint64_t* item, int64_t words,
                               int64_t planes) {
  int distance = 0;
  for (int64_t p = planes - 1; p >= 0; --p) {
    distance = 2 * distance + hamming(query + p * words, item, words);
  }
  return distance;
}

}  // namespace hashgcn::core

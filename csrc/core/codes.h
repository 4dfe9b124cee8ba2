// Layout of packed codes: int64 words, bit j of word w is dimension 64 w + j, set for +1, zero
// tail.
#pragma once

#include "macros.h"

namespace hashgcn::core {

constexpr int64_t kMaxCodeLength = INT32_MAX - 1;  // of 32-bit distances one is above all

// Packed codes of queries and of items, rows of words_per_code(code_length).
struct Codes {
  int64_t num_queries, num_items, code_length;
  const uint64_t* queries;
  const uint64_t* items;
};

HASHGCN_HD int64_t words_per_code(int64_t code_length) { return (code_length + 63) / 64; }

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

}  // namespace hashgcn::core

// Arguments of the weighted top-N kernels, and their order. It is total: larger score, then smaller
// row.
#pragma once

#include <cmath>
#include <cstring>

#include "hamming_topk.h"

namespace hashgcn::core {

// What a rank without a candidate holds.
constexpr float kNoScore = -INFINITY;

// The largest magnitude of a scale: with two of them for each of less than 2^31 bits a score stays
// finite, so that it is never NaN and never kNoScore.
constexpr float kMaxScale = 0x1p48f;

// A row is several codes of `code_length` bits, its segments: `queries` and `items` are [rows,
// num_segments, words_per_code].
struct WeightedHammingTopk : HammingTopk {
  int64_t num_segments;
  const float* query_scale;  // [num_queries, num_segments]
  const float* item_scale;   // [num_items, num_segments]
};

// A number that rises as the score falls. Scores are no -0: their sums start at +0, and only the
// sum of two -0 is one.
HASHGCN_HD uint32_t score_key(float score) {
  uint32_t bits;
  std::memcpy(&bits, &score, sizeof bits);
  return bits >> 31 ? bits : ~bits & 0x7fffffff;
}

HASHGCN_HD float score_of(uint32_t key) {
  const uint32_t bits = key >> 31 ? key : ~key & 0x7fffffff;
  float score;
  std::memcpy(&score, &bits, sizeof score);
  return score;
}

}  // namespace hashgcn::core

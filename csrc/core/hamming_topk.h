// Arguments of the Hamming top-N kernels. The order is total: smaller distance, then smaller row.
#pragma once

#include "codes.h"

namespace hashgcn::core {

// What a rank without a candidate holds.
constexpr int64_t kNoItem = -1;
constexpr int32_t kNoDistance = INT32_MAX;

constexpr int64_t kMaxTopk = INT32_MAX;
constexpr int64_t kMaxCodeLength = INT32_MAX - 1;  // a distance is below kNoDistance

struct HammingTopk {
  int64_t num_queries, num_items, code_length, k;
  const uint64_t* queries;     // [num_queries, words_per_code]
  const uint64_t* items;       // [num_items, words_per_code]
  const int64_t* exclude_ptr;  // [num_queries + 1], or null: nothing is excluded
  const int64_t* exclude_ids;  // item rows, in any order, repeats allowed
  const bool* allow;           // [num_items], or null: every item is allowed
};

}  // namespace hashgcn::core

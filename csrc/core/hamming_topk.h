// Arguments of the Hamming top-N kernels. The order is total: smaller distance, then smaller row.
#pragma once

#include "codes.h"
#include "rows.h"

namespace hashgcn::core {

// What a rank without a candidate holds.
constexpr int64_t kNoItem = -1;
constexpr int32_t kNoDistance = INT32_MAX;

constexpr int64_t kMaxTopk = INT32_MAX;

struct HammingTopk : Codes {
  int64_t k;
  Lists excluded;     // item rows for each query, in any order, repeats allowed
  const bool* allow;  // [num_items], or null: every item is allowed
};

}  // namespace hashgcn::core

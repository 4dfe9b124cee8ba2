// Exclusion lists of top-N search, for both Python faces.
#pragma once

#include "../core/hamming_topk.h"
#include "../core/require.h"
#include "checks.h"

namespace hashgcn::cpu {

inline void check_exclusions(const char* op, const core::HammingTopk& problem,
                             int64_t num_excluded) {
  if (problem.exclude_ptr == nullptr) return;
  require(problem.exclude_ptr[0] == 0 && problem.exclude_ptr[problem.num_queries] == num_excluded &&
              HASHGCN_RUN(non_decreasing(problem.exclude_ptr, 0, problem.num_queries)),
          op, "exclude_ptr to rise from 0 to ", num_excluded,
          " (the number of exclude_ids), got one that does not");
  require(HASHGCN_RUN(all_in_range(problem.exclude_ids, problem.num_items, 0, num_excluded)), op,
          "exclude_ids in [0, ", problem.num_items, "), got one outside");
}

}  // namespace hashgcn::cpu

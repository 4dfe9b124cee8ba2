// Lists of results in row order, each a value (distance, or key of a score) and a row.
#pragma once

#include "hamming_topk.h"

namespace hashgcn::cpu::HASHGCN_ISA {

// Drops results beyond the value `last`, and of those that equal it all but the first `ties`.
// Returns how many stay. Without a branch: which ones go cannot be foretold.
template <class Value>
static inline int64_t drop_beyond(Value* values, int64_t* rows, int64_t count, Value last,
                                  int64_t ties) {
  int64_t kept = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Value value = values[i];
    values[kept] = value;
    rows[kept] = rows[i];
    const bool tie = value == last;
    kept += (value < last) | (tie & (ties > 0));
    ties -= tie;
  }
  return kept;
}

// Ranks [count, k), for which there is no candidate.
template <class Value>
static inline void write_missing(int64_t count, int64_t k, Value no_value, Value* values,
                                 int64_t* ids) {
  for (int64_t rank = count; rank < k; ++rank) {
    values[rank] = no_value;
    ids[rank] = core::kNoItem;
  }
}

// Results of queries [begin, end) from those of consecutive parts of the items, [parts,
// num_queries, k] each; `before(a, b)`: value a comes first.
template <class Value, class Before>
static inline void merge_parts(const core::HammingTopk& problem, int64_t parts,
                               const Value* part_values, const int64_t* part_ids, Value* values,
                               int64_t* ids, int64_t begin, int64_t end, const Before& before) {
  const int64_t k = problem.k;
  for (int64_t query = begin; query < end; ++query) {
    int64_t next[kMaxItemParts];
    for (int64_t p = 0; p < parts; ++p) next[p] = (p * problem.num_queries + query) * k;
    for (int64_t rank = 0; rank < k; ++rank) {
      // Among equals the first part: its rows are smaller. No part runs out: each holds k entries.
      int64_t best = 0;
      for (int64_t p = 1; p < parts; ++p) {
        if (before(part_values[next[p]], part_values[next[best]])) best = p;
      }
      values[query * k + rank] = part_values[next[best]];
      ids[query * k + rank] = part_ids[next[best]++];
    }
  }
}

}  // namespace hashgcn::cpu::HASHGCN_ISA

#pragma once

#include "../core/hamming_topk.h"
#include "isa.h"

// Top-N of queries [begin, end) into distances and ids [num_queries, k]. `scratch` holds
// topk_scratch(problem) bytes for each thread, aligned to 8.
HASHGCN_KERNEL(void hamming_topk(const core::HammingTopk& problem, int32_t* distances, int64_t* ids,
                                 void* scratch, int64_t begin, int64_t end))

namespace hashgcn::cpu {

// Queries that are scanned together: a tile of items is read from memory once for all of them.
constexpr int64_t kQueryBlock = 8;

// Pairs kept for one query before the best k are selected among them: about twice k, so that a
// selection is paid by at least k new pairs, and the bound falls early.
inline int64_t topk_capacity(const core::HammingTopk& problem) {
  const int64_t wanted = 2 * problem.k + 64;
  return wanted < problem.num_items ? wanted : problem.num_items;
}

// Large k: one query at a time, so that scratch stays near the size of one query's result.
inline int64_t topk_query_block(const core::HammingTopk& problem) {
  return topk_capacity(problem) <= 65536 ? kQueryBlock : 1;
}

inline int64_t longest_exclusion(const core::HammingTopk& problem) {
  int64_t longest = 0;
  for (int64_t q = 0; problem.exclude_ptr != nullptr && q < problem.num_queries; ++q) {
    const int64_t count = problem.exclude_ptr[q + 1] - problem.exclude_ptr[q];
    longest = count > longest ? count : longest;
  }
  return longest;
}

inline int64_t topk_scratch(const core::HammingTopk& problem) {
  const int64_t pairs = topk_capacity(problem) * int64_t(sizeof(int64_t) + sizeof(int32_t)) + 8;
  const int64_t excluded = longest_exclusion(problem) * int64_t(sizeof(int64_t));
  const int64_t counts = (problem.code_length + 2) * int64_t(sizeof(int64_t));
  return topk_query_block(problem) * (pairs + excluded) + counts;
}

}  // namespace hashgcn::cpu

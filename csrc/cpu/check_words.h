// Values of packed codes and of top-N search, checked for both Python faces. `all(count, grain,
// work)` says whether work(begin, end) is true for every part of [0, count), of `grain` or more.
#pragma once

#include "../core/checks.h"
#include "checks.h"

namespace hashgcn::cpu {

// Elements that are worth a thread's start.
constexpr int64_t kElementGrain = 32768;

template <class All>
void check_tails(const char* op, const char* argument, const uint64_t* words, int64_t rows,
                 int64_t code_length, const All& all) {
  if (code_length % 64 == 0) return;
  require(all(rows, kElementGrain,
              [&](int64_t begin, int64_t end) {
                return HASHGCN_RUN(tails_are_zero(words, code_length, begin, end));
              }),
          op, argument, " with zero bits past code_length ", code_length,
          ", got bits of a longer code");
}

template <class All>
void check_topk_values(const char* op, const core::HammingTopk& problem, int64_t num_excluded,
                       const All& all) {
  const int64_t length = problem.code_length;
  check_tails(op, "queries", problem.queries, problem.num_queries, length, all);
  check_tails(op, "items", problem.items, problem.num_items, length, all);
  if (problem.exclude_ptr == nullptr) return;
  require(problem.exclude_ptr[0] == 0 && problem.exclude_ptr[problem.num_queries] == num_excluded &&
              HASHGCN_RUN(non_decreasing(problem.exclude_ptr, 0, problem.num_queries)),
          op, "exclude_ptr to rise from 0 to ", num_excluded,
          " (the number of exclude_ids), got one that does not");
  require(HASHGCN_RUN(all_in_range(problem.exclude_ids, problem.num_items, 0, num_excluded)), op,
          "exclude_ids in [0, ", problem.num_items, "), got one outside");
}

}  // namespace hashgcn::cpu

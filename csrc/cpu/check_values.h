// Values of packed codes and lists of items, checked for both Python faces. `all(count, grain,
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

// Lists of items, one for each of `rows`: <prefix>ptr rises from 0 to num_ids, <prefix>ids exist.
inline void check_lists(const char* op, const char* prefix, const int64_t* ptr, const int64_t* ids,
                        int64_t rows, int64_t num_ids, int64_t num_items) {
  require(ptr[0] == 0 && ptr[rows] == num_ids && HASHGCN_RUN(non_decreasing(ptr, 0, rows)), op,
          prefix, "ptr to rise from 0 to ", num_ids, " (the number of ", prefix,
          "ids), got one that does not");
  require(HASHGCN_RUN(all_in_range(ids, num_items, 0, num_ids)), op, prefix, "ids in [0, ",
          num_items, "), got one outside");
}

template <class All>
void check_topk_values(const char* op, const core::HammingTopk& problem, int64_t num_excluded,
                       const All& all) {
  const int64_t length = problem.code_length;
  check_tails(op, "queries", problem.queries, problem.num_queries, length, all);
  check_tails(op, "items", problem.items, problem.num_items, length, all);
  if (problem.exclude_ptr == nullptr) return;
  check_lists(op, "exclude_", problem.exclude_ptr, problem.exclude_ids, problem.num_queries,
              num_excluded, problem.num_items);
}

}  // namespace hashgcn::cpu

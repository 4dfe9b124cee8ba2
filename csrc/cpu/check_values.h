// Values of packed codes and lists of items, checked for both Python faces. `all(count, grain,
// work)` says whether work(begin, end) is true for every part of [0, count), of `grain` or more.
#pragma once

#include <string>

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
void check_codes(const char* op, const core::Codes& codes, const All& all) {
  check_tails(op, "queries", codes.queries, codes.num_queries * codes.planes, codes.code_length,
              all);
  check_tails(op, "items", codes.items, codes.num_items, codes.code_length, all);
}

inline void check_ids(const char* op, const std::string& argument, const int64_t* ids,
                      int64_t bound, int64_t count) {
  if (HASHGCN_RUN(all_in_range(ids, bound, 0, count))) return;
  int64_t at = 0;
  while (uint64_t(ids[at]) < uint64_t(bound)) ++at;
  require(false, op, argument, " in [0, ", bound, "), got one outside, ", ids[at], " at ", at);
}

// Lists of items, one for each of `rows`, if there are any: <prefix>ptr rises from 0 to num_ids,
// <prefix>ids exist.
inline void check_lists(const char* op, const char* prefix, const core::Lists& lists, int64_t rows,
                        int64_t num_items) {
  if (lists.ptr == nullptr) return;
  require(lists.ptr[0] == 0 && lists.ptr[rows] == lists.num_ids &&
              HASHGCN_RUN(non_decreasing(lists.ptr, 0, rows)),
          op, prefix, "ptr to rise from 0 to ", lists.num_ids, " (the number of ", prefix,
          "ids), got one that does not");
  check_ids(op, std::string(prefix) + "ids", lists.ids, num_items, lists.num_ids);
}

}  // namespace hashgcn::cpu

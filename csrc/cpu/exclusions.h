// The items that a query must not get, met in rising order of rows.
#pragma once

#include <cstdlib>

#include "../core/rows.h"
#include "hamming_topk.h"

namespace hashgcn::cpu::HASHGCN_ISA {

// From the current row on.
struct Exclusions {
  const int64_t* rows;
  int64_t count;
};

static int compare_rows(const void* a, const void* b) {
  const int64_t x = *static_cast<const int64_t*>(a), y = *static_cast<const int64_t*>(b);
  return (x > y) - (x < y);
}

// A query's exclusions among items [item_begin, item_end), in order; `room`, of
// longest_unsorted(problem), for those that do not come sorted.
static inline Exclusions exclusions(const core::HammingTopk& problem, int64_t item_begin,
                                    int64_t item_end, int64_t query, int64_t* room) {
  if (problem.excluded.ptr == nullptr) return {nullptr, 0};
  const core::Span span = core::list_of(problem.excluded, query);
  const int64_t* list = span.begin;
  const int64_t count = span.end - span.begin;
  if (!in_order(list, count)) {
    for (int64_t e = 0; e < count; ++e) room[e] = list[e];
    std::qsort(room, size_t(count), sizeof(int64_t), compare_rows);
    list = room;
  }
  const int64_t* first = core::lower_bound({list, list + count}, item_begin);
  return {first, core::lower_bound({first, list + count}, item_end) - first};
}

// Rows come in rising order, so the list is walked once.
static inline bool is_excluded(Exclusions* left, int64_t row) {
  while (left->count > 0 && *left->rows < row) {
    ++left->rows;
    --left->count;
  }
  return left->count > 0 && *left->rows == row;
}

}  // namespace hashgcn::cpu::HASHGCN_ISA

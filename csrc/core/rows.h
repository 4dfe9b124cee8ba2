// Rows of a batch: the CSR of positives, the optional candidate lists, and searching in them.
#pragma once

#include "macros.h"

namespace hashgcn::core {

struct Span {
  const int64_t* begin;
  const int64_t* end;
};

// Lists of ids, one for each row; none if `ptr` is null.
struct Lists {
  const int64_t* ptr;  // [rows + 1]
  const int64_t* ids;  // [num_ids]
  int64_t num_ids;
};

// A row's list. Never reaches outside of the ids, whatever the values are: a bad row reads as
// empty.
HASHGCN_HD Span list_of(const Lists& lists, int64_t row) {
  const int64_t begin = lists.ptr[row], end = lists.ptr[row + 1];
  if (begin < 0 || end < begin || end > lists.num_ids) return {lists.ids, lists.ids};
  return {lists.ids + begin, lists.ids + end};
}

// Whether a row's list lies where it must: the first of `rows` lists begins at 0, the last ends at
// num_ids.
HASHGCN_HD bool list_fits(const Lists& lists, int64_t row, int64_t rows) {
  const int64_t begin = lists.ptr[row], end = lists.ptr[row + 1];
  return begin >= 0 && begin <= end && end <= lists.num_ids && (row > 0 || begin == 0) &&
         (row < rows - 1 || end == lists.num_ids);
}

// The users of a batch, their positives (CSR over all users, ids strictly increasing in a row) and,
// if `candidate_ptr` is not null, a list of candidate items for each row of the batch.
template <class T>
struct Rows {
  int64_t batch, num_users, num_items, num_pairs;
  const int64_t* users;  // [batch]; -1 is padding: a row without positives and without candidates
  const int64_t* ptr;    // [num_users + 1]
  const int64_t* ids;    // [num_pairs]
  const int64_t* candidate_ptr = nullptr;  // [batch + 1]
  const int64_t* candidate_ids = nullptr;  // ids in any order; a repeated id counts each time
  const T* candidate_weight = nullptr;     // one weight for each candidate id, or null for 1
  int64_t num_candidates = 0;
  const T* item_weight = nullptr;  // [num_items] how much an item counts, or null for 1
};

template <class T>
HASHGCN_HD Span positives(const Rows<T>& rows, int64_t row) {
  const int64_t user = rows.users[row];
  if (user < 0 || user >= rows.num_users) return {rows.ids, rows.ids};
  return list_of({rows.ptr, rows.ids, rows.num_pairs}, user);
}

// Positions of a row's candidates, clamped to the list's end.
template <class T>
HASHGCN_HD int64_t candidate_begin(const Rows<T>& rows, int64_t row) {
  const int64_t at = rows.candidate_ptr[row];
  return at < 0 ? 0 : at < rows.num_candidates ? at : rows.num_candidates;
}
template <class T>
HASHGCN_HD int64_t candidate_end(const Rows<T>& rows, int64_t row) {
  return candidate_begin(rows, row + 1);
}

// How much the candidate at position c, an item of the catalogue, counts.
template <class T>
HASHGCN_HD T weight_of(const Rows<T>& rows, int64_t c) {
  const T weight = rows.candidate_weight ? rows.candidate_weight[c] : T(1);
  return rows.item_weight ? weight * rows.item_weight[rows.candidate_ids[c]] : weight;
}

// First element not below `id` of a sorted span.
HASHGCN_HD const int64_t* lower_bound(Span span, int64_t id) {
  while (span.begin < span.end) {
    const int64_t* middle = span.begin + (span.end - span.begin) / 2;
    if (*middle < id) {
      span.begin = middle + 1;
    } else {
      span.end = middle;
    }
  }
  return span.begin;
}

HASHGCN_HD bool contains(Span span, int64_t id) {
  const int64_t* found = lower_bound(span, id);
  return found < span.end && *found == id;
}

}  // namespace hashgcn::core

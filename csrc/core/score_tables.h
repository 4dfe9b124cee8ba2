// Arguments of the score-table kernels and the rule that turns a level's gradient into a score's.
#pragma once

#include "codes.h"
#include "rows.h"

namespace hashgcn::core {

// Longest code whose tables the kernels count in fixed scratch.
constexpr int64_t kMaxTableLength = 1024;

template <class T>
struct ScoreTables {
  Rows<T> rows;
  int64_t code_length;
  const uint64_t* user_words;  // [batch, words_per_code]
  const uint64_t* item_words;  // [num_items, words_per_code]
};

template <class T>
HASHGCN_HD int64_t distance(const ScoreTables<T>& tables, int64_t row, int64_t item) {
  const int64_t words = words_per_code(tables.code_length);
  return hamming(tables.user_words + row * words, tables.item_words + item * words, words);
}

// Level of a pair: w equal bits out of f have the score -f + 2w.
template <class T>
HASHGCN_HD int64_t level(const ScoreTables<T>& tables, int64_t row, int64_t item) {
  return tables.code_length - distance(tables, row, item);
}

// The share of dL/dv that one of the `count` (weighted) scores at v gets.
template <class T>
HASHGCN_HD T share(T grad_value, T count) {
  return count > 0 ? grad_value / count : T(0);
}

}  // namespace hashgcn::core

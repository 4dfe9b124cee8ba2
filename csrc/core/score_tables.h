// Arguments of the score-table kernels and the rule that turns a column's gradient into a score's.
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
  int planes;                  // of a user's code: bits of its weights, the sign last; 1 if plain
  const uint64_t* user_words;  // [batch, planes, words_per_code]
  const uint64_t* item_words;  // [num_items, words_per_code]
};

// W = (2^planes - 1) f: distances reach from 0 to W, and column w of a table has the score
// -W + 2w, which is that of distance W - w.
template <class T>
HASHGCN_HD int64_t largest_distance(const ScoreTables<T>& tables) {
  return ((int64_t(1) << tables.planes) - 1) * tables.code_length;
}
template <class T>
HASHGCN_HD int64_t num_columns(const ScoreTables<T>& tables) {
  return largest_distance(tables) + 1;
}

// A bit that differs in plane p counts 2^p.
template <class T>
HASHGCN_HD int64_t distance(const ScoreTables<T>& tables, int64_t row, int64_t item) {
  const int64_t words = words_per_code(tables.code_length);
  const uint64_t* user = tables.user_words + row * tables.planes * words;
  int64_t sum = 0;
  for (int p = 0; p < tables.planes; ++p) {
    sum += int64_t(hamming(user + p * words, tables.item_words + item * words, words)) << p;
  }
  return sum;
}

template <class T>
HASHGCN_HD int64_t column(const ScoreTables<T>& tables, int64_t row, int64_t item) {
  return largest_distance(tables) - distance(tables, row, item);
}

// The share of dL/dv that one of the `count` (weighted) scores at v gets.
template <class T>
HASHGCN_HD T share(T grad_value, T count) {
  return count > 0 ? grad_value / count : T(0);
}

}  // namespace hashgcn::core

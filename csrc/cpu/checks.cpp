#include "checks.h"

#include "../core/codes.h"

namespace hashgcn::cpu::HASHGCN_ISA {

template <class T>
bool all_plus_minus_one(const T* x, int64_t begin, int64_t end) {
  int bad = 0;
  for (int64_t i = begin; i < end; ++i) bad |= (x[i] != 1) & (x[i] != -1);
  return !bad;
}

template <class T>
bool all_finite(const T* x, int64_t begin, int64_t end) {
  int bad = 0;
  for (int64_t i = begin; i < end; ++i) bad |= x[i] - x[i] != 0;
  return !bad;
}

bool all_in_range(const int64_t* ids, int64_t bound, int64_t begin, int64_t end) {
  int bad = 0;
  for (int64_t i = begin; i < end; ++i) bad |= uint64_t(ids[i]) >= uint64_t(bound);
  return !bad;
}

bool tails_are_zero(const uint64_t* words, int64_t code_length, int64_t begin, int64_t end) {
  const int64_t row_words = core::words_per_code(code_length);
  const uint64_t outside = ~core::last_word_mask(code_length);
  uint64_t bits = 0;
  for (int64_t row = begin; row < end; ++row)
    bits |= words[row * row_words + row_words - 1] & outside;
  return bits == 0;
}

bool non_decreasing(const int64_t* ptr, int64_t begin, int64_t end) {
  int bad = 0;
  for (int64_t i = begin; i < end; ++i) bad |= ptr[i] > ptr[i + 1];
  return !bad;
}

template <class T>
bool rows_are_valid(const core::Rows<T>& rows, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const int64_t user = rows.users[row];
    if (user == -1) continue;
    if (user < 0 || user >= rows.num_users) return false;
    const int64_t first = rows.ptr[user], last = rows.ptr[user + 1];
    if (first < 0 || last < first || last > rows.num_pairs) return false;
    int64_t previous = -1;
    for (int64_t p = first; p < last; ++p) {
      if (rows.ids[p] <= previous || rows.ids[p] >= rows.num_items) return false;
      previous = rows.ids[p];
    }
  }
  return true;
}

HASHGCN_FOR_FLOATS(all_plus_minus_one)
HASHGCN_FOR_FLOATS(all_finite)
HASHGCN_FOR_FLOATS(rows_are_valid)

}  // namespace hashgcn::cpu::HASHGCN_ISA

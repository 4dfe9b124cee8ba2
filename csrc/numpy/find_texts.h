// Binary search among texts that lie one after another, as a file of ids holds them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace hashgcn {

// Text i is bytes[offsets[i]:offsets[i + 1]] of count texts.
struct Texts {
  const char* bytes;
  int64_t size;
  const int64_t* offsets;
  int64_t count;

  // Clamped: those of a damaged file may be any numbers, and nothing outside the bytes is read.
  std::string_view operator[](int64_t i) const {
    const int64_t begin = std::clamp<int64_t>(offsets[i], 0, size);
    const int64_t end = std::clamp<int64_t>(offsets[i + 1], begin, size);
    return {bytes + begin, size_t(end - begin)};
  }
};

// For each wanted text the number of known ones below it, in the order of UTF-8 and so of code
// points, and its row, -1 if it is unknown. order[n] sorts the known texts. A hit is verified: with
// another order, of any numbers, a text can be missed, but never gets the row of another one.
inline void search_texts(const Texts& known, const int64_t* order, const Texts& wanted,
                         int64_t* places, int64_t* rows) {
  const auto exists = [&](int64_t row) { return row >= 0 && row < known.count; };
  for (int64_t i = 0; i < wanted.count; ++i) {
    const std::string_view text = wanted[i];
    int64_t low = 0, high = known.count;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2, row = order[middle];
      if (exists(row) && known[row] < text) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    const int64_t row = low < known.count ? order[low] : -1;
    places[i] = low;
    rows[i] = exists(row) && known[row] == text ? row : -1;
  }
}

}  // namespace hashgcn

#include "hamming_topk.h"

#include <cstdlib>

namespace hashgcn::cpu::HASHGCN_ISA {

// Items scanned for all queries of a block before the next ones: 32 KiB at 64 bits.
constexpr int64_t kItemTile = 4096;

// The nearest items of one query so far, in row order. Once k are known, `bound` is the distance of
// the k-th: a later item must be strictly nearer, since at equal distance the smaller row comes
// first.
struct Nearest {
  int64_t k, capacity, count;
  int32_t bound;
  int32_t* distances;
  int64_t* rows;
  const int64_t* excluded;  // sorted; the part from the current row on
  int64_t num_excluded;
};

static int compare_ids(const void* a, const void* b) {
  const int64_t x = *static_cast<const int64_t*>(a), y = *static_cast<const int64_t*>(b);
  return (x > y) - (x < y);
}

// Rows come in rising order, so the list of exclusions is walked once.
static bool is_excluded(Nearest* nearest, int64_t row) {
  while (nearest->num_excluded > 0 && *nearest->excluded < row) {
    ++nearest->excluded;
    --nearest->num_excluded;
  }
  return nearest->num_excluded > 0 && *nearest->excluded == row;
}

// Keeps the best k pairs, in row order: all below the k-th distance, and the first ones at it.
static void select(Nearest* nearest, int64_t code_length, int64_t* counts) {
  if (nearest->count <= nearest->k) return;
  for (int64_t d = 0; d <= code_length; ++d) counts[d] = 0;
  for (int64_t i = 0; i < nearest->count; ++i) counts[nearest->distances[i]]++;
  int32_t last = 0;
  int64_t below = 0;
  while (below + counts[last] < nearest->k) below += counts[last++];
  int64_t ties = nearest->k - below, kept = 0;
  for (int64_t i = 0; i < nearest->count; ++i) {
    const int32_t distance = nearest->distances[i];
    if (distance > last || (distance == last && ties-- <= 0)) continue;
    nearest->distances[kept] = distance;
    nearest->rows[kept++] = nearest->rows[i];
  }
  nearest->count = kept;
  nearest->bound = last;
}

static __attribute__((noinline)) void keep(const core::HammingTopk& problem, int64_t row,
                                           int32_t distance, Nearest* nearest, int64_t* counts) {
  if (problem.allow != nullptr && !problem.allow[row]) return;
  if (is_excluded(nearest, row)) return;
  nearest->distances[nearest->count] = distance;
  nearest->rows[nearest->count++] = row;
  if (nearest->count == nearest->capacity) select(nearest, problem.code_length, counts);
}

// Few items are below the bound: a group of eight is passed over with one branch.
template <int kWords>
static void scan(const core::HammingTopk& problem, const uint64_t* query, int64_t begin,
                 int64_t end, Nearest* nearest, int64_t* counts) {
  constexpr int64_t kGroup = 8;
  const int64_t words = kWords > 0 ? kWords : core::words_per_code(problem.code_length);
  const uint64_t* items = problem.items;
  int32_t bound = nearest->bound;
  int64_t row = begin;
  for (; row + kGroup <= end; row += kGroup) {
    int32_t distances[kGroup], least = INT32_MAX;
    for (int64_t j = 0; j < kGroup; ++j) {
      distances[j] = core::hamming(query, items + (row + j) * words, words);
      least = distances[j] < least ? distances[j] : least;
    }
    if (__builtin_expect(least >= bound, 1)) continue;
    for (int64_t j = 0; j < kGroup; ++j) {
      if (distances[j] >= bound) continue;
      keep(problem, row + j, distances[j], nearest, counts);
      bound = nearest->bound;
    }
  }
  for (; row < end; ++row) {
    const int32_t distance = core::hamming(query, items + row * words, words);
    if (distance < nearest->bound) keep(problem, row, distance, nearest, counts);
  }
}

// The kept pairs by distance; within a distance they already stand in row order.
static void write(const Nearest& nearest, int64_t code_length, int64_t* counts, int32_t* distances,
                  int64_t* ids) {
  for (int64_t d = 0; d <= code_length + 1; ++d) counts[d] = 0;
  for (int64_t i = 0; i < nearest.count; ++i) counts[nearest.distances[i] + 1]++;
  for (int64_t d = 0; d <= code_length; ++d) counts[d + 1] += counts[d];
  for (int64_t i = 0; i < nearest.count; ++i) {
    const int64_t rank = counts[nearest.distances[i]]++;
    distances[rank] = nearest.distances[i];
    ids[rank] = nearest.rows[i];
  }
  for (int64_t rank = nearest.count; rank < nearest.k; ++rank) {
    distances[rank] = core::kNoDistance;
    ids[rank] = core::kNoItem;
  }
}

void hamming_topk(const core::HammingTopk& problem, int32_t* distances, int64_t* ids, void* scratch,
                  int64_t begin, int64_t end) {
  const int64_t words = core::words_per_code(problem.code_length);
  const int64_t capacity = topk_capacity(problem), block = topk_query_block(problem);
  const int64_t longest = longest_exclusion(problem);
  int64_t* counts = static_cast<int64_t*>(scratch);
  int64_t* next = counts + problem.code_length + 2;
  Nearest nearest[kQueryBlock];
  int64_t* exclusions[kQueryBlock];
  for (int64_t slot = 0; slot < block; ++slot) {
    nearest[slot].rows = next;
    exclusions[slot] = next + capacity;
    next += capacity + longest;
    nearest[slot].distances = reinterpret_cast<int32_t*>(next);
    next += (capacity + 1) / 2;
  }
  for (int64_t first = begin; first < end; first += block) {
    const int64_t queries = end - first < block ? end - first : block;
    for (int64_t slot = 0; slot < queries; ++slot) {
      Nearest& one = nearest[slot];
      one.k = problem.k;
      one.capacity = capacity;
      one.count = one.num_excluded = 0;
      one.bound = int32_t(problem.code_length) + 1;
      if (problem.exclude_ptr == nullptr) continue;
      const int64_t* list = problem.exclude_ids + problem.exclude_ptr[first + slot];
      one.num_excluded = problem.exclude_ptr[first + slot + 1] - problem.exclude_ptr[first + slot];
      int64_t* sorted = exclusions[slot];
      one.excluded = sorted;
      bool in_order = true;
      for (int64_t e = 0; e < one.num_excluded; ++e) {
        sorted[e] = list[e];
        in_order &= e == 0 || list[e - 1] <= list[e];
      }
      if (!in_order) std::qsort(sorted, size_t(one.num_excluded), sizeof(int64_t), compare_ids);
    }
    for (int64_t item = 0; item < problem.num_items; item += kItemTile) {
      const int64_t item_end =
          problem.num_items - item < kItemTile ? problem.num_items : item + kItemTile;
      for (int64_t slot = 0; slot < queries; ++slot) {
        const uint64_t* query = problem.queries + (first + slot) * words;
        switch (words) {
          case 1:
            scan<1>(problem, query, item, item_end, &nearest[slot], counts);
            break;
          case 2:
            scan<2>(problem, query, item, item_end, &nearest[slot], counts);
            break;
          case 4:
            scan<4>(problem, query, item, item_end, &nearest[slot], counts);
            break;
          default:
            scan<0>(problem, query, item, item_end, &nearest[slot], counts);
            break;
        }
      }
    }
    for (int64_t slot = 0; slot < queries; ++slot) {
      select(&nearest[slot], problem.code_length, counts);
      write(nearest[slot], problem.code_length, counts, distances + (first + slot) * problem.k,
            ids + (first + slot) * problem.k);
    }
  }
}

}  // namespace hashgcn::cpu::HASHGCN_ISA

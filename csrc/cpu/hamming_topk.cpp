#include "hamming_topk.h"

#include <cmath>
#include <cstdlib>

#include "hamming_tile.h"
#include "tiles.h"

namespace hashgcn::cpu::HASHGCN_ISA {

// The nearest items of one query so far, in row order. `bound` is the distance of the k-th of them
// once k are known: a later item must be strictly nearer, since at equal distance the smaller row
// comes first.
struct Nearest {
  int64_t k, capacity, count;
  int64_t closer;  // how many of them are nearer than `bound`; below k
  int32_t bound;
  int32_t* distances;
  int64_t* rows;
  uint32_t* histogram;      // of the distances up to `bound`
  int64_t* exclusions;      // room for the query's, sorted
  const int64_t* excluded;  // the part of them from the current row on
  int64_t num_excluded;
  const uint64_t* query;
  const uint64_t* prepared;  // as test_group wants it
  uint64_t* table;           // where that is written
};

static int compare_ids(const void* a, const void* b) {
  const int64_t x = *static_cast<const int64_t*>(a), y = *static_cast<const int64_t*>(b);
  return (x > y) - (x < y);
}

// Rows come in rising order, so the list of exclusions is walked once.
static inline bool is_excluded(Nearest* nearest, int64_t row) {
  while (nearest->num_excluded > 0 && *nearest->excluded < row) {
    ++nearest->excluded;
    --nearest->num_excluded;
  }
  return nearest->num_excluded > 0 && *nearest->excluded == row;
}

// Drops what has fallen behind: all above the bound, and the last ones at it. Without a branch:
// which ones go cannot be foretold.
static void drop_far(Nearest* nearest) {
  const int32_t bound = nearest->bound;
  int64_t ties = nearest->k - nearest->closer, kept = 0;
  for (int64_t i = 0; i < nearest->count; ++i) {
    const int32_t distance = nearest->distances[i];
    nearest->distances[kept] = distance;
    nearest->rows[kept] = nearest->rows[i];
    const bool tie = distance == bound;
    kept += (distance < bound) | (tie & (ties > 0));
    ties -= tie;
  }
  nearest->count = kept;
}

static inline void keep(Nearest* nearest, int64_t row, int32_t distance) {
  nearest->distances[nearest->count] = distance;
  nearest->rows[nearest->count++] = row;
  ++nearest->histogram[distance];
  ++nearest->closer;
  while (nearest->closer >= nearest->k) nearest->closer -= nearest->histogram[--nearest->bound];
  if (nearest->count == nearest->capacity) drop_far(nearest);
}

// The items of a group, `count` of them from row `first` on, that passed a test.
template <int kWords>
static void examine(const core::HammingTopk& problem, int64_t first, int64_t count,
                    const uint64_t* passed, Nearest* nearest) {
  const int64_t words = kWords > 0 ? kWords : core::words_per_code(problem.code_length);
  const uint64_t* items = problem.items + first * words;
  for (int64_t v = 0; v < kGroup / 64; ++v) {
    const int64_t left = count - 64 * v;
    uint64_t mask = left >= 64 ? passed[v] : left <= 0 ? 0 : passed[v] & ((1ull << left) - 1);
    for (; mask != 0; mask &= mask - 1) {
      const int64_t j = 64 * v + __builtin_ctzll(mask);
      const int32_t distance = core::hamming(nearest->query, items + j * words, words);
      if (distance >= nearest->bound) continue;
      if (problem.allow != nullptr && !problem.allow[first + j]) continue;
      if (is_excluded(nearest, first + j)) continue;
      keep(nearest, first + j, distance);
    }
  }
}

// Items [begin, end) for one query from their planar copy.
template <int kWords>
static void scan_groups(const core::HammingTopk& problem, const uint64_t* groups, int64_t begin,
                        int64_t end, Nearest* nearest) {
  const int64_t words = kWords > 0 ? kWords : core::words_per_code(problem.code_length);
  for (int64_t first = begin; first < end; first += kGroup, groups += kGroupWords * words) {
    uint64_t passed[kGroup / 64];
    if (test_group<kWords>(groups, nearest->prepared, words, nearest->bound, passed)) {
      examine<kWords>(problem, first, end - first, passed, nearest);
    }
  }
}

// The same from the items as they stand.
template <int kWords>
static void scan_items(const core::HammingTopk& problem, int64_t begin, int64_t end,
                       Nearest* nearest) {
  const int64_t words = kWords > 0 ? kWords : core::words_per_code(problem.code_length);
  for (int64_t first = begin; first < end; first += kGroup) {
    const int64_t count = end - first < kGroup ? end - first : kGroup;
    uint64_t passed[kGroup / 64];
    if (test_items<kWords>(problem.items + first * words, nearest->query, words, count,
                           nearest->bound, passed)) {
      examine<kWords>(problem, first, count, passed, nearest);
    }
  }
}

// An empty result for a query, with its exclusions in order.
static void start(const core::HammingTopk& problem, int64_t query, Nearest* nearest) {
  nearest->count = nearest->closer = nearest->num_excluded = 0;
  nearest->bound = int32_t(problem.code_length) + 1;
  fill<uint32_t>(nearest->histogram, problem.code_length + 1, 0);
  const int64_t words = core::words_per_code(problem.code_length);
  nearest->query = problem.queries + query * words;
  if (words <= kMaxPlanarWords) {
    nearest->prepared = prepare_query(nearest->query, words, nearest->table);
  }
  if (problem.exclude_ptr == nullptr) return;
  const int64_t* list = problem.exclude_ids + problem.exclude_ptr[query];
  const int64_t count = problem.exclude_ptr[query + 1] - problem.exclude_ptr[query];
  int64_t* sorted = nearest->exclusions;
  bool in_order = true;
  for (int64_t e = 0; e < count; ++e) {
    sorted[e] = list[e];
    in_order &= e == 0 || list[e - 1] <= list[e];
  }
  if (!in_order) std::qsort(sorted, size_t(count), sizeof(int64_t), compare_ids);
  nearest->excluded = sorted;
  nearest->num_excluded = count;
}

// The kept pairs by distance; within a distance they already stand in row order.
static void write(Nearest* nearest, int32_t* distances, int64_t* ids) {
  drop_far(nearest);
  uint32_t* places = nearest->histogram;
  uint32_t place = 0;
  for (int32_t d = 0; d < nearest->bound; ++d) {
    const uint32_t count = places[d];
    places[d] = place;
    place += count;
  }
  places[nearest->bound] = place;
  for (int64_t i = 0; i < nearest->count; ++i) {
    const uint32_t rank = places[nearest->distances[i]]++;
    distances[rank] = nearest->distances[i];
    ids[rank] = nearest->rows[i];
  }
  for (int64_t rank = nearest->count; rank < nearest->k; ++rank) {
    distances[rank] = core::kNoDistance;
    ids[rank] = core::kNoItem;
  }
}

// A planar copy of the items pays from about four queries on, also where they are planar as they
// stand: loads that straddle cache lines take twice the time.
static bool copies_pay(int64_t queries, int64_t words) {
  return queries >= 4 && words <= kMaxPlanarWords;
}

// How many of a sample's distances are at most `last`: whole groups of them, fewer than 256.
static int64_t count_within(const uint8_t* distances, int64_t groups, uint8_t last) {
  typedef uint8_t Bytes __attribute__((vector_size(kGroup), aligned(1), may_alias));
  Bytes within = {};
  for (int64_t g = 0; g < groups; ++g) {
    within += Bytes(*reinterpret_cast<const Bytes*>(distances + g * kGroup) <= last) & 1;
  }
  int64_t sum = 0;
  for (int64_t j = 0; j < kGroup; ++j) sum += within[j];
  return sum;
}

// Lowers the queries' bounds to a distance that k items lie within, judged by a sample, so that
// fewer items have to be kept. Too low a bound shows in fewer than k items kept.
template <int kWords>
static void lower_bounds(const core::HammingTopk& problem, int64_t item_begin, int64_t item_end,
                         int64_t queries, Nearest* nearest, uint64_t* tile) {
  const int64_t words = kWords > 0 ? kWords : core::words_per_code(problem.code_length);
  const int64_t items = item_end - item_begin, group_words = kGroupWords * words;
  // At most an eighth of the items, and what fits the tile: a group as it stands, the laid out
  // groups, the distances of one query, a byte each.
  const int64_t fitting = (kTopkTileWords - kGroup * words) / (group_words + kGroup / 8);
  const int64_t worth = items / (8 * kGroup);
  const int64_t groups = worth < fitting ? worth : fitting, drawn = groups * kGroup;
  if (groups <= 0 || problem.k > items / 4) return;
  uint64_t* rows = tile;
  uint8_t* distances = reinterpret_cast<uint8_t*>(rows + kGroup * words);
  uint64_t* sample = rows + kGroup * words + drawn / 8;
  int64_t size = 0;
  for (int64_t j = 0; j < drawn; ++j) {
    const int64_t row = item_begin + j * (items / drawn);
    if (problem.allow != nullptr && !problem.allow[row]) continue;
    const int64_t place = size++ % kGroup;
    for (int64_t w = 0; w < words; ++w) rows[place * words + w] = problem.items[row * words + w];
    if (place == kGroup - 1) prepare_group(rows, words, kGroup, sample + size / kGroup * group_words - group_words);
  }
  if (size % kGroup) prepare_group(rows, words, size % kGroup, sample + size / kGroup * group_words);
  for (int64_t slot = 0; slot < queries; ++slot) {
    Nearest& one = nearest[slot];
    for (int64_t g = 0; g < groups; ++g) {
      group_distances<kWords>(sample + g * group_words, one.prepared, words,
                              distances + g * kGroup);
    }
    for (int64_t j = size; j < drawn; ++j) distances[j] = 255;
    // The k nearest and what is excluded hold more of the sample than this once in about 500 times.
    const double mean = double(problem.k + one.num_excluded) * double(drawn) / double(items);
    const int64_t wanted = int64_t(mean + 2.5 * std::sqrt(mean)) + 3;
    uint8_t low = 0, high = problem.code_length < 254 ? uint8_t(problem.code_length) : 254;
    if (count_within(distances, groups, high) < wanted) continue;
    while (low < high) {
      const uint8_t middle = (low + high) / 2;
      if (count_within(distances, groups, middle) < wanted) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    one.bound = low + 1;
  }
}

template <int kWords>
static void scan_block(const core::HammingTopk& problem, int64_t item_begin, int64_t item_end,
                       int64_t queries, Nearest* nearest, uint64_t* tile) {
  const int64_t words = kWords > 0 ? kWords : core::words_per_code(problem.code_length);
  const bool copied = copies_pay(queries, words);
  const bool in_place = !copied && kOneWordIsPlanar && words == 1;
  const int64_t fitting = kTopkTileWords / (kGroupWords * words) * kGroup;
  const int64_t tile_items = fitting < kGroup ? kGroup : fitting;
  for (int64_t first = item_begin; first < item_end; first += tile_items) {
    const int64_t end = item_end - first < tile_items ? item_end : first + tile_items;
    const uint64_t* items = problem.items + first * words;
    if (!copied) {
      const int64_t whole = in_place ? (end - first) / kGroup * kGroup : 0;
      for (int64_t slot = 0; slot < queries; ++slot) {
        scan_groups<kWords>(problem, items, first, first + whole, &nearest[slot]);
        scan_items<kWords>(problem, first + whole, end, &nearest[slot]);
      }
      continue;
    }
    for (int64_t j = 0; j < end - first; j += kGroup) {
      const int64_t count = end - first - j < kGroup ? end - first - j : kGroup;
      prepare_group(items + j * words, words, count, tile + j / kGroup * (kGroupWords * words));
    }
    // The next tile is fetched meanwhile, a share of its lines with each query.
    const int64_t ahead = item_end - end < tile_items ? item_end - end : tile_items;
    const char* next_items = reinterpret_cast<const char*>(problem.items + end * words);
    const int64_t share = (ahead * words * 8 + queries - 1) / queries;
    for (int64_t slot = 0; slot < queries; ++slot) {
      for (int64_t byte = 0; byte < share; byte += 64) {
        __builtin_prefetch(next_items + slot * share + byte);
      }
      scan_groups<kWords>(problem, tile, first, end, &nearest[slot]);
    }
  }
}

template <int kWords>
static void search_block(const core::HammingTopk& problem, int64_t item_begin, int64_t item_end,
                         int64_t first_query, int64_t queries, Nearest* nearest, uint64_t* tile) {
  const int64_t words = kWords > 0 ? kWords : core::words_per_code(problem.code_length);
  for (int64_t slot = 0; slot < queries; ++slot) start(problem, first_query + slot, &nearest[slot]);
  if (copies_pay(queries, words)) {
    lower_bounds<kWords>(problem, item_begin, item_end, queries, nearest, tile);
  }
  scan_block<kWords>(problem, item_begin, item_end, queries, nearest, tile);
  for (int64_t slot = 0; slot < queries; ++slot) {
    if (nearest[slot].count >= problem.k || nearest[slot].bound > problem.code_length) continue;
    start(problem, first_query + slot, &nearest[slot]);
    scan_block<kWords>(problem, item_begin, item_end, 1, &nearest[slot], tile);
  }
}

void hamming_topk(const core::HammingTopk& problem, int64_t item_begin, int64_t item_end,
                  int32_t* distances, int64_t* ids, int64_t* scratch, int64_t begin, int64_t end) {
  const int64_t words = core::words_per_code(problem.code_length);
  const int64_t block = topk_query_block(problem), longest = longest_exclusion(problem);
  Nearest nearest[kQueryBlock];
  uint64_t* tile = reinterpret_cast<uint64_t*>(round_up(reinterpret_cast<intptr_t>(scratch), 64));
  int64_t* next = scratch + topk_tile_words(problem);
  for (int64_t slot = 0; slot < block; ++slot) {
    Nearest& one = nearest[slot];
    one.k = problem.k;
    one.capacity = topk_capacity(problem);
    one.table = reinterpret_cast<uint64_t*>(next);
    next += kTopkTableWords;
    one.rows = next;
    next += one.capacity;
    one.distances = reinterpret_cast<int32_t*>(next);
    next += (one.capacity + 1) / 2;
    one.histogram = reinterpret_cast<uint32_t*>(next);
    next += topk_histogram_words(problem);
    one.exclusions = next;
    next += longest;
  }
  const auto search = words == 1   ? &search_block<1>
                      : words == 2 ? &search_block<2>
                      : words == 4 ? &search_block<4>
                                   : &search_block<0>;
  for (int64_t first = begin; first < end; first += block) {
    const int64_t queries = end - first < block ? end - first : block;
    search(problem, item_begin, item_end, first, queries, nearest, tile);
    for (int64_t slot = 0; slot < queries; ++slot) {
      write(&nearest[slot], distances + (first + slot) * problem.k,
            ids + (first + slot) * problem.k);
    }
  }
}

void merge_topk(const core::HammingTopk& problem, int64_t parts, const int32_t* part_distances,
                const int64_t* part_ids, int32_t* distances, int64_t* ids, int64_t begin,
                int64_t end) {
  const int64_t k = problem.k;
  for (int64_t query = begin; query < end; ++query) {
    int64_t next[kMaxItemParts];
    for (int64_t p = 0; p < parts; ++p) next[p] = (p * problem.num_queries + query) * k;
    for (int64_t rank = 0; rank < k; ++rank) {
      // Among equals the first part: its rows are smaller. No part runs out: each holds k entries.
      int64_t best = 0;
      for (int64_t p = 1; p < parts; ++p) {
        if (part_distances[next[p]] < part_distances[next[best]]) best = p;
      }
      distances[query * k + rank] = part_distances[next[best]];
      ids[query * k + rank] = part_ids[next[best]++];
    }
  }
}

}  // namespace hashgcn::cpu::HASHGCN_ISA

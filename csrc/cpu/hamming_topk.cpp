#include "hamming_topk.h"

#include <cmath>

#include "exclusions.h"
#include "hamming_graded.h"
#include "hamming_items.h"
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
  uint32_t* histogram;  // of the distances up to `bound`
  int64_t* sorted;      // room for exclusions that do not come sorted
  Exclusions excluded;
  const uint64_t* query;
  uint16_t* picks;  // the query's among the planes
  MorePicks more;   // of a graded query
};

// Drops what has fallen behind: all above the bound, and the last ones at it. Without a branch:
// which ones go cannot be foretold.
static void drop_far(Nearest* nearest) {
  int64_t kept = 0, ties = nearest->k - nearest->closer;
  for (int64_t i = 0; i < nearest->count; ++i) {
    const int32_t distance = nearest->distances[i];
    nearest->distances[kept] = distance;
    nearest->rows[kept] = nearest->rows[i];
    const bool tie = distance == nearest->bound;
    kept += (distance < nearest->bound) | (tie & (ties > 0));
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

template <int kWords>
static inline void consider(const core::HammingTopk& problem, int64_t row, Nearest* nearest) {
  const int64_t words = kWords > 0 ? kWords : core::words_per_code(problem.code_length);
  const int32_t distance =
      core::graded_distance(nearest->query, problem.items + row * words, words, problem.planes);
  if (distance >= nearest->bound) return;
  if (problem.allow != nullptr && !problem.allow[row]) return;
  if (is_excluded(&nearest->excluded, row)) return;
  keep(nearest, row, distance);
}

// Items [begin, end) for one query from their planes.
template <int kWords, bool kGraded>
static void scan_groups(const core::HammingTopk& problem, const uint64_t* group, int64_t begin,
                        int64_t end, Nearest* nearest) {
  const int64_t words = kWords > 0 ? kWords : core::words_per_code(problem.code_length);
  const int bits = bits_of_distances<kGraded>(words);
  const int64_t constant = kGraded ? nearest->more.constant : 0;
  if (nearest->bound <= constant) return;
  Numbers start = minus(nearest->bound - constant, bits);
  for (int64_t first = begin; first < end; first += kGroup, group += kWordStep<kGraded> * words) {
    Numbers numbers = start;
    const Plane nearer =
        ~add_distances<kWords, kGraded>(group, nearest->picks, &nearest->more, words, &numbers);
    if (__builtin_expect(!any(nearer), 1)) continue;
    for (uint64_t places = any_lane(nearer); places != 0; places &= places - 1) {
      const int64_t place = __builtin_ctzll(places);
      for (uint64_t lanes = lanes_with(nearer, place); lanes != 0; lanes &= lanes - 1) {
        const int64_t row = first + place * kLanes + __builtin_ctzll(lanes);
        if (row < end) consider<kWords>(problem, row, nearest);
      }
    }
    if (nearest->bound <= constant) return;
    start = minus(nearest->bound - constant, bits);
  }
}

// The same from the items as they stand.
template <int kWords>
static void scan_items(const core::HammingTopk& problem, int64_t begin, int64_t end,
                       Nearest* nearest) {
  const int64_t words = kWords > 0 ? kWords : core::words_per_code(problem.code_length);
  for (int64_t first = begin; first < end; first += 64) {
    const int64_t count = end - first < 64 ? end - first : 64;
    uint64_t nearer = nearer_items<kWords>(problem.items + first * words, nearest->query, words,
                                           problem.planes, count, nearest->bound);
    for (; nearer != 0; nearer &= nearer - 1) {
      consider<kWords>(problem, first + __builtin_ctzll(nearer), nearest);
    }
  }
}

// An empty result for a query, with its exclusions among the items in order.
static void start(const core::HammingTopk& problem, int64_t item_begin, int64_t item_end,
                  int64_t query, Nearest* nearest) {
  nearest->count = nearest->closer = 0;
  nearest->bound = int32_t(core::longest_distance(problem)) + 1;
  fill<uint32_t>(nearest->histogram, core::longest_distance(problem) + 1, 0);
  nearest->query =
      problem.queries + query * problem.planes * core::words_per_code(problem.code_length);
  nearest->excluded = exclusions(problem, item_begin, item_end, query, nearest->sorted);
}

// The kept pairs by distance; within a distance they already stand in row order.
static void write(Nearest* nearest, int64_t* ids, int32_t* distances) {
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
    ids[rank] = nearest->rows[i];
    distances[rank] = nearest->distances[i];
  }
  for (int64_t rank = nearest->count; rank < nearest->k; ++rank) {
    ids[rank] = core::kNoItem;
    distances[rank] = core::kNoDistance;
  }
}

// The wanted-th smallest distance from a query among groups of a sample, bit by bit from the top.
template <int kWords, bool kGraded>
static int32_t select_distance(const uint64_t* sample, int64_t groups, int64_t words,
                               const uint16_t* picks, const MorePicks* more, int64_t wanted) {
  Numbers distances[kTopkSampleGroups];
  Plane alive[kTopkSampleGroups];
  for (int64_t g = 0; g < groups; ++g) {
    distances[g] = Numbers{};
    add_distances<kWords, kGraded>(sample + g * kWordStep<kGraded> * words, picks, more, words,
                                   &distances[g]);
    alive[g] = ~Plane{};
  }
  int32_t distance = 0;
  for (int bit = bits_of_distances<kGraded>(words) - 1; bit >= 0; --bit) {
    const auto plane = [&](int64_t g) { return distances[g].bits[bit]; };
    int64_t below = 0;
    for (int64_t g = 0; g < groups; ++g) below += count(alive[g] & ~plane(g));
    const bool up = below < wanted;
    wanted -= up ? below : 0;
    distance |= int32_t(up) << bit;
    for (int64_t g = 0; g < groups; ++g) alive[g] &= up ? plane(g) : ~plane(g);
  }
  return distance + (kGraded ? int32_t(more->constant) : 0);
}

// Lowers the queries' bounds to a distance that k items lie within, judged by a sample, so that
// fewer items have to be kept. Too low a bound shows in fewer than k items kept.
template <int kWords, bool kGraded>
static void lower_bounds(const core::HammingTopk& problem, int64_t item_begin, int64_t item_end,
                         int64_t queries, Nearest* nearest, uint64_t* tile) {
  const int64_t words = kWords > 0 ? kWords : core::words_per_code(problem.code_length);
  const int64_t items = item_end - item_begin;
  // At most an eighth of the items, and what fits the tile beside a group as it stands.
  const int64_t fitting = (kTopkSampleWords - kGroup * words) / (kWordStep<kGraded> * words);
  const int64_t worth = items / (8 * kGroup);
  int64_t groups = worth < fitting ? worth : fitting;
  groups = groups < kTopkSampleGroups ? groups : kTopkSampleGroups;
  if (groups <= 0 || problem.k > items / 4) return;
  const int64_t step = items / (groups * kGroup);
  uint64_t* rows = tile;
  uint64_t* sample = tile + kGroup * words;
  int64_t size = 0;
  for (int64_t row = item_begin; row < item_end && size < groups * kGroup; row += step) {
    if (problem.allow != nullptr && !problem.allow[row]) continue;
    for (int64_t w = 0; w < words; ++w) {
      rows[size % kGroup * words + w] = problem.items[row * words + w];
    }
    if (++size % kGroup == 0) {
      lay_out<kWords, kGraded>(rows, words, kGroup,
                               sample + (size / kGroup - 1) * kWordStep<kGraded> * words);
    }
  }
  groups = size / kGroup;
  const double share = double(groups * kGroup) / double(items);
  for (int64_t slot = 0; slot < queries; ++slot) {
    Nearest& one = nearest[slot];
    // The k nearest and what is excluded hold more of the sample than this once in about 500 times.
    const double mean = double(problem.k + one.excluded.count) * share;
    const int64_t wanted = int64_t(mean + 2.5 * std::sqrt(mean)) + 3;
    if (wanted <= groups * kGroup) {
      one.bound =
          1 + select_distance<kWords, kGraded>(sample, groups, words, one.picks, &one.more, wanted);
    }
  }
}

template <int kWords, bool kGraded>
static void scan_block(const core::HammingTopk& problem, int64_t item_begin, int64_t item_end,
                       int64_t queries, Nearest* nearest, uint64_t* tile) {
  const int64_t words = kWords > 0 ? kWords : core::words_per_code(problem.code_length);
  const int64_t fitting = kTopkTileWords / (kWordStep<kGraded> * words) * kGroup;
  const int64_t tile_items = fitting < kGroup ? kGroup : fitting;
  for (int64_t first = item_begin; first < item_end; first += tile_items) {
    const int64_t end = item_end - first < tile_items ? item_end : first + tile_items;
    for (int64_t j = 0; j < end - first; j += kGroup) {
      const int64_t count = end - first - j < kGroup ? end - first - j : kGroup;
      lay_out<kWords, kGraded>(problem.items + (first + j) * words, words, count,
                               tile + j / kGroup * (kWordStep<kGraded> * words));
    }
    // The next tile is fetched meanwhile, a share of its lines with each query.
    const int64_t ahead = item_end - end < tile_items ? item_end - end : tile_items;
    const char* next_items = reinterpret_cast<const char*>(problem.items + end * words);
    const int64_t share = (ahead * words * 8 + queries - 1) / queries;
    for (int64_t slot = 0; slot < queries; ++slot) {
      for (int64_t byte = 0; byte < share; byte += 64) {
        __builtin_prefetch(next_items + slot * share + byte);
      }
      scan_groups<kWords, kGraded>(problem, tile, first, end, &nearest[slot]);
    }
  }
}

template <int kWords, bool kGraded>
static void search_block(const core::HammingTopk& problem, int64_t item_begin, int64_t item_end,
                         int64_t first_query, int64_t queries, Nearest* nearest, uint64_t* tile) {
  const int64_t words = kWords > 0 ? kWords : core::words_per_code(problem.code_length);
  const bool planar = queries >= kPlanarQueries<kGraded> && words <= kMaxPlanarWords;
  for (int64_t slot = 0; slot < queries; ++slot) {
    Nearest& one = nearest[slot];
    start(problem, item_begin, item_end, first_query + slot, &one);
    if (planar && kGraded) {
      pick_graded(one.query, problem.code_length, problem.planes, one.picks, &one.more);
    } else if (planar) {
      pick_planes(one.query, words, one.picks);
    }
    if (!planar) scan_items<kWords>(problem, item_begin, item_end, &one);
  }
  if (!planar) return;
  lower_bounds<kWords, kGraded>(problem, item_begin, item_end, queries, nearest, tile);
  scan_block<kWords, kGraded>(problem, item_begin, item_end, queries, nearest, tile);
  for (int64_t slot = 0; slot < queries; ++slot) {
    Nearest& one = nearest[slot];
    if (one.count >= problem.k || one.bound > core::longest_distance(problem)) continue;
    start(problem, item_begin, item_end, first_query + slot, &one);
    scan_items<kWords>(problem, item_begin, item_end, &one);
  }
}

template <bool kGraded>
static auto search_of(int64_t words) {
  return words == 1   ? &search_block<1, kGraded>
         : words == 2 ? &search_block<2, kGraded>
         : words == 4 ? &search_block<4, kGraded>
                      : &search_block<0, kGraded>;
}

void hamming_topk(const core::HammingTopk& problem, int64_t longest, int64_t item_begin,
                  int64_t item_end, int64_t* ids, int32_t* distances, int64_t* scratch,
                  int64_t begin, int64_t end) {
  const int64_t words = core::words_per_code(problem.code_length);
  const int64_t block = topk_query_block(problem, longest);
  Nearest nearest[kQueryBlock];
  uint64_t* tile = reinterpret_cast<uint64_t*>(round_up(reinterpret_cast<intptr_t>(scratch), 64));
  int64_t* next = scratch + topk_tile_words(problem);
  for (int64_t slot = 0; slot < block; ++slot) {
    Nearest& one = nearest[slot];
    one.k = problem.k;
    one.capacity = topk_capacity(problem);
    one.picks = reinterpret_cast<uint16_t*>(next);
    next += topk_pick_words(problem);
    one.more.picks = reinterpret_cast<uint32_t*>(next);
    next += topk_more_words(problem);
    one.rows = next;
    next += one.capacity;
    one.distances = reinterpret_cast<int32_t*>(next);
    next += (one.capacity + 1) / 2;
    one.histogram = reinterpret_cast<uint32_t*>(next);
    next += topk_histogram_words(problem);
    one.sorted = next;
    next += longest;
  }
  const auto search = problem.planes > 1 ? search_of<true>(words) : search_of<false>(words);
  for (int64_t first = begin; first < end; first += block) {
    const int64_t queries = end - first < block ? end - first : block;
    search(problem, item_begin, item_end, first, queries, nearest, tile);
    for (int64_t slot = 0; slot < queries; ++slot) {
      const int64_t at = (first + slot) * problem.k;
      write(&nearest[slot], ids + at, distances + at);
    }
  }
}

void merge_topk(const core::HammingTopk& problem, int64_t parts, const int64_t* part_ids,
                const int32_t* part_distances, int64_t* ids, int32_t* distances, int64_t begin,
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
      ids[query * k + rank] = part_ids[next[best]];
      distances[query * k + rank] = part_distances[next[best]++];
    }
  }
}

}  // namespace hashgcn::cpu::HASHGCN_ISA

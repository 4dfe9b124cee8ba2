#pragma once

#include "../core/hamming_topk.h"
#include "isa.h"

// Top-N of queries [begin, end) among items [item_begin, item_end) into ids and distances
// [num_queries, k]. `longest` is longest_unsorted(problem); `scratch` holds topk_scratch_words for
// each thread.
HASHGCN_KERNEL(void hamming_topk(const core::HammingTopk& problem, int64_t longest,
                                 int64_t item_begin, int64_t item_end, int64_t* ids,
                                 int32_t* distances, int64_t* scratch, int64_t begin, int64_t end))

// Results of queries [begin, end) from those of consecutive parts of the items, [parts,
// num_queries, k] each.
HASHGCN_KERNEL(void merge_topk(const core::HammingTopk& problem, int64_t parts,
                               const int64_t* part_ids, const int32_t* part_distances, int64_t* ids,
                               int32_t* distances, int64_t begin, int64_t end))

namespace hashgcn::cpu {

// Parts that the items are split into, at most.
constexpr int64_t kMaxItemParts = 64;

// Queries that are scanned together: a tile of items is laid out and read once for all of them.
constexpr int64_t kQueryBlock = 256;

// Longer codes are read as they stand.
constexpr int64_t kMaxPlanarWords = 64;
constexpr int64_t kTopkHighBits = 7;  // that count to kMaxPlanarWords
// For each word of a code: words of a query's picks, and of those that a graded one has besides,
// which take a few in all too.
constexpr int64_t kTopkPickWords = 11, kTopkMoreWords = 43, kTopkMoreRest = 6;
// A tile takes an eighth of a second-level cache of 512 KiB, a sample half.
constexpr int64_t kTopkTileWords = 8192, kTopkSampleWords = 32768, kTopkSampleGroups = 16;

// Words of a group of items for each word of a code, at most.
constexpr int64_t topk_group_words(int64_t planes) { return planes > 1 ? 2712 : 1696; }

// Pairs kept for one query before those that have fallen behind are dropped: about twice k, so that
// dropping them is paid by at least k new pairs.
HASHGCN_HD int64_t topk_capacity(const core::HammingTopk& problem) {
  const int64_t wanted = 2 * problem.k + 64;
  return wanted < problem.num_items ? wanted : problem.num_items;
}

// Of a tile or a sample, with room to begin at a multiple of 64 bytes.
HASHGCN_HD int64_t topk_tile_words(const core::HammingTopk& problem) {
  const int64_t words = core::words_per_code(problem.code_length);
  if (words > kMaxPlanarWords) return 0;
  const int64_t group = topk_group_words(problem.planes) * words;
  return (group < kTopkSampleWords ? kTopkSampleWords : group) + 8;
}

HASHGCN_HD int64_t topk_pick_words(const core::HammingTopk& problem) {
  const int64_t words = core::words_per_code(problem.code_length);
  return words > kMaxPlanarWords ? 0 : kTopkPickWords * words;
}

HASHGCN_HD int64_t topk_more_words(const core::HammingTopk& problem) {
  const int64_t words = core::words_per_code(problem.code_length);
  return words > kMaxPlanarWords || problem.planes == 1 ? 0
                                                        : kTopkMoreWords * words + kTopkMoreRest;
}

HASHGCN_HD bool in_order(const int64_t* ids, int64_t count) {
  for (int64_t e = 1; e < count; ++e) {
    if (ids[e - 1] > ids[e]) return false;
  }
  return true;
}

// The most exclusions of a query whose exclusions have to be sorted.
HASHGCN_HD int64_t longest_unsorted(const core::HammingTopk& problem) {
  int64_t longest = 0;
  for (int64_t q = 0; problem.excluded.ptr != nullptr && q < problem.num_queries; ++q) {
    const core::Span list = core::list_of(problem.excluded, q);
    const int64_t count = list.end - list.begin;
    if (count > longest && !in_order(list.begin, count)) longest = count;
  }
  return longest;
}

// Counts of the distances from 0 to the longest, and one more place.
HASHGCN_HD int64_t topk_histogram_words(const core::HammingTopk& problem) {
  return (core::longest_distance(problem) + 3) / 2;
}

// Words of one query's state: picks, rows, distances, histogram, sorted exclusions, whose longest
// list is given.
HASHGCN_HD int64_t topk_state_words(const core::HammingTopk& problem, int64_t longest) {
  const int64_t capacity = topk_capacity(problem);
  return topk_pick_words(problem) + topk_more_words(problem) + capacity + (capacity + 1) / 2 +
         topk_histogram_words(problem) + longest;
}

// As many as keep their states within a second-level cache of 1 MiB; at least one.
HASHGCN_HD int64_t topk_query_block(const core::HammingTopk& problem, int64_t longest) {
  const int64_t fitting = 131072 / topk_state_words(problem, longest);
  return fitting < 1 ? 1 : fitting < kQueryBlock ? fitting : kQueryBlock;
}

HASHGCN_HD int64_t topk_scratch_words(const core::HammingTopk& problem, int64_t longest) {
  return topk_tile_words(problem) +
         topk_query_block(problem, longest) * topk_state_words(problem, longest);
}

}  // namespace hashgcn::cpu

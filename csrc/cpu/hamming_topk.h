#pragma once

#include "../core/hamming_topk.h"
#include "isa.h"

// Top-N of queries [begin, end) among items [item_begin, item_end) into distances and ids
// [num_queries, k]. `scratch` holds topk_scratch_words(problem) words for each thread.
HASHGCN_KERNEL(void hamming_topk(const core::HammingTopk& problem, int64_t item_begin,
                                 int64_t item_end, int32_t* distances, int64_t* ids,
                                 int64_t* scratch, int64_t begin, int64_t end))

// Results of queries [begin, end) from those of consecutive parts of the items, [parts,
// num_queries, k] each.
HASHGCN_KERNEL(void merge_topk(const core::HammingTopk& problem, int64_t parts,
                               const int32_t* part_distances, const int64_t* part_ids,
                               int32_t* distances, int64_t* ids, int64_t begin, int64_t end))

namespace hashgcn::cpu {

// Parts that the items are split into where there are fewer queries than threads. One core reads 8
// MiB of codes in about 0.15 ms; less is not worth a thread's start.
constexpr int64_t kMaxItemParts = 64;
inline int64_t topk_item_parts(const core::HammingTopk& problem, int64_t threads) {
  if (problem.num_queries >= threads) return 1;
  const int64_t worth = problem.num_items * core::words_per_code(problem.code_length) / (1 << 20);
  const int64_t parts = threads < worth ? threads : worth;
  return parts < 1 ? 1 : parts < kMaxItemParts ? parts : kMaxItemParts;
}

// Queries that are scanned together: a tile of items is laid out and read once for all of them.
constexpr int64_t kQueryBlock = 128;

// A tile takes most of a first-level cache of 32 KiB, a prepared query of up to 256 bits 1 KiB.
constexpr int64_t kTopkTileWords = 3072;
constexpr int64_t kTopkTableWords = 128;

// Pairs kept for one query before those that have fallen behind are dropped: about twice k, so that
// dropping them is paid by at least k new pairs.
inline int64_t topk_capacity(const core::HammingTopk& problem) {
  const int64_t wanted = 2 * problem.k + 64;
  return wanted < problem.num_items ? wanted : problem.num_items;
}

// With room to begin at a multiple of 64 bytes.
inline int64_t topk_tile_words(const core::HammingTopk& problem) {
  const int64_t group = 64 * core::words_per_code(problem.code_length);
  return (group < kTopkTileWords ? kTopkTileWords : group) + 8;
}

inline int64_t longest_exclusion(const core::HammingTopk& problem) {
  int64_t longest = 0;
  for (int64_t q = 0; problem.exclude_ptr != nullptr && q < problem.num_queries; ++q) {
    const int64_t count = problem.exclude_ptr[q + 1] - problem.exclude_ptr[q];
    longest = count > longest ? count : longest;
  }
  return longest;
}

// Counts of the distances 0 to code_length, and one more place.
inline int64_t topk_histogram_words(const core::HammingTopk& problem) {
  return (problem.code_length + 3) / 2;
}

// Words of one query's state: table, rows, distances, histogram, exclusions.
inline int64_t topk_state_words(const core::HammingTopk& problem) {
  const int64_t capacity = topk_capacity(problem);
  return kTopkTableWords + capacity + (capacity + 1) / 2 + topk_histogram_words(problem) +
         longest_exclusion(problem);
}

// As many as keep their states within a second-level cache of 1 MiB; at least one.
inline int64_t topk_query_block(const core::HammingTopk& problem) {
  const int64_t fitting = 131072 / topk_state_words(problem);
  return fitting < 1 ? 1 : fitting < kQueryBlock ? fitting : kQueryBlock;
}

inline int64_t topk_scratch_words(const core::HammingTopk& problem) {
  return topk_tile_words(problem) + topk_query_block(problem) * topk_state_words(problem);
}

}  // namespace hashgcn::cpu

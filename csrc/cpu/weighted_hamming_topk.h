#pragma once

#include "../core/weighted_hamming_topk.h"
#include "hamming_topk.h"
#include "isa.h"

// Top-N by weighted score of queries [begin, end) among items [item_begin, item_end) into scores
// and ids [num_queries, k]. `longest` is longest_unsorted(problem); `scratch` holds
// weighted_scratch_words for each thread.
HASHGCN_KERNEL(void weighted_hamming_topk(const core::WeightedHammingTopk& problem, int64_t longest,
                                          int64_t item_begin, int64_t item_end, float* scores,
                                          int64_t* ids, int64_t* scratch, int64_t begin,
                                          int64_t end))

// Results of queries [begin, end) from those of consecutive parts of the items, [parts,
// num_queries, k] each.
HASHGCN_KERNEL(void merge_weighted_topk(const core::WeightedHammingTopk& problem, int64_t parts,
                                        const float* part_scores, const int64_t* part_ids,
                                        float* scores, int64_t* ids, int64_t begin, int64_t end))

namespace hashgcn::cpu {

// Queries that are scanned together: a tile of items is laid out once for all of them.
constexpr int64_t kWeightedQueryBlock = 64;

// Items of a group, at most: they are scored together.
constexpr int64_t kWeightedGroup = 64;
// Half of a first-level cache of 32 KiB.
constexpr int64_t kWeightedTileWords = 2048;

// Halves of the words of a segment that hold bits of its code.
HASHGCN_HD int64_t segment_halves(const core::WeightedHammingTopk& problem) {
  return (problem.code_length + 31) / 32;
}

// Numbers of 32 bits that a row is laid out in: for each segment the halves and the scale.
HASHGCN_HD int64_t row_numbers(const core::WeightedHammingTopk& problem) {
  return problem.num_segments * (segment_halves(problem) + 1);
}

// Items of a tile: whole groups, at least one.
HASHGCN_HD int64_t weighted_tile_items(const core::WeightedHammingTopk& problem) {
  const int64_t group_words = kWeightedGroup / 2 * row_numbers(problem);
  const int64_t groups = kWeightedTileWords / group_words;
  return kWeightedGroup * (groups < 1 ? 1 : groups);
}

// With room to begin at a multiple of 64 bytes.
HASHGCN_HD int64_t weighted_tile_words(const core::WeightedHammingTopk& problem) {
  return weighted_tile_items(problem) / 2 * row_numbers(problem) + 8;
}

// Pairs kept for one query before all but the best k are dropped: dropping is paid by at least k
// new pairs, and half of the room serves to sort the k.
HASHGCN_HD int64_t weighted_capacity(const core::WeightedHammingTopk& problem) {
  return 2 * (problem.k < problem.num_items ? problem.k : problem.num_items) + 64;
}

// Words of one query's state: its row, rows and keys of pairs, sorted exclusions, whose longest
// list is given.
HASHGCN_HD int64_t weighted_state_words(const core::WeightedHammingTopk& problem, int64_t longest) {
  const int64_t capacity = weighted_capacity(problem);
  return (row_numbers(problem) + 1) / 2 + capacity + capacity / 2 + longest;
}

// As many as keep their states within half of a second-level cache of 1 MiB; at least one.
HASHGCN_HD int64_t weighted_query_block(const core::WeightedHammingTopk& problem, int64_t longest) {
  const int64_t fitting = 65536 / weighted_state_words(problem, longest);
  return fitting < 1 ? 1 : fitting < kWeightedQueryBlock ? fitting : kWeightedQueryBlock;
}

HASHGCN_HD int64_t weighted_scratch_words(const core::WeightedHammingTopk& problem,
                                          int64_t longest) {
  return weighted_tile_words(problem) +
         weighted_query_block(problem, longest) * weighted_state_words(problem, longest);
}

}  // namespace hashgcn::cpu

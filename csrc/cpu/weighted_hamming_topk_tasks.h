// Weighted top-N search on several threads.
#pragma once

#include "topk_tasks.h"
#include "weighted_hamming_topk.h"

namespace hashgcn::cpu {

// Top-N of all queries; run_all: see run_topk.
template <class RunAll>
void weighted_hamming_topk(const core::WeightedHammingTopk& problem, int64_t threads, float* scores,
                           int64_t* ids, const RunAll& run_all) {
  const int64_t words = problem.num_segments * core::words_per_code(problem.code_length);
  const int64_t longest = longest_unsorted(problem);
  run_topk(
      problem, topk_tasks(problem, words, kWeightedQueryBlock, threads),
      weighted_scratch_words(problem, longest), scores, ids, run_all,
      [&](auto... arguments) {
        HASHGCN_RUN(weighted_hamming_topk(problem, longest, arguments...));
      },
      [&](auto... arguments) { HASHGCN_RUN(merge_weighted_topk(problem, arguments...)); });
}

}  // namespace hashgcn::cpu

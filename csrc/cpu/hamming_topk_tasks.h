// Top-N search by Hamming distance on several threads.
#pragma once

#include "topk_tasks.h"

namespace hashgcn::cpu {

// Top-N of all queries; run_all: see run_topk.
template <class RunAll>
void hamming_topk(const core::HammingTopk& problem, int64_t threads, int32_t* distances,
                  int64_t* ids, const RunAll& run_all) {
  const int64_t words = core::words_per_code(problem.code_length);
  const int64_t longest = longest_unsorted(problem);
  run_topk(
      problem, topk_tasks(problem, words, kQueryBlock, threads),
      topk_scratch_words(problem, longest), distances, ids, run_all,
      [&](auto... arguments) { HASHGCN_RUN(hamming_topk(problem, longest, arguments...)); },
      [&](auto... arguments) { HASHGCN_RUN(merge_topk(problem, arguments...)); });
}

}  // namespace hashgcn::cpu

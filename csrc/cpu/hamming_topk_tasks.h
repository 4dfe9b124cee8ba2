// How top-N search is split among threads: by queries, and by items where the queries are few. Not
// for kernels' files: inline code of the standard library must not be compiled for an instruction
// set.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "hamming_topk.h"

namespace hashgcn::cpu {

struct TopkTasks {
  int64_t parts, groups;  // of items and of queries
};

inline TopkTasks topk_tasks(const core::HammingTopk& problem, int64_t threads) {
  const double queries = double(problem.num_queries), items = double(problem.num_items);
  const double words = double(core::words_per_code(problem.code_length) * problem.planes);
  // Less than 2^20 words for one query, 8 MiB or 0.15 ms of a core, is not worth a thread's start.
  double worth = queries * items * words / (1 << 20);
  // Each part has k results of its own: in a small one they are many.
  if (problem.num_queries >= threads) worth = std::min(worth, items / (1024 * double(problem.k)));
  const int64_t blocks = std::max<int64_t>(1, problem.num_queries / kQueryBlock);
  const int64_t wanted = std::min(threads / std::min(threads, blocks), kMaxItemParts);
  const int64_t parts = std::max<int64_t>(1, worth < double(wanted) ? int64_t(worth) : wanted);
  return {parts, std::max<int64_t>(1, std::min(threads / parts, problem.num_queries))};
}

// Top-N of all queries. `run_all(count, task)` calls task(0), ..., task(count - 1), on any threads.
template <class RunAll>
void hamming_topk(const core::HammingTopk& problem, int64_t threads, int64_t* ids,
                  int32_t* distances, const RunAll& run_all) {
  const TopkTasks tasks = topk_tasks(problem, threads);
  const int64_t count = tasks.parts * tasks.groups, size = problem.num_queries * problem.k;
  const int64_t longest = longest_unsorted(problem);
  // Allocated before the threads start: a failure becomes an error of the caller's.
  std::vector<std::unique_ptr<int64_t[]>> scratch(static_cast<size_t>(count));
  for (auto& one : scratch) one.reset(new int64_t[size_t(topk_scratch_words(problem, longest))]);
  const bool whole = tasks.parts == 1;
  std::vector<int64_t> part_ids(size_t(whole ? 0 : tasks.parts * size));
  std::vector<int32_t> part_distances(size_t(whole ? 0 : tasks.parts * size));
  const auto share = [](int64_t all, int64_t parts, int64_t part) {
    return all / parts * part + std::min(part, all % parts);  // all * part could overflow
  };
  run_all(count, [&](int64_t task) {
    const int64_t part = task % tasks.parts, group = task / tasks.parts;
    HASHGCN_RUN(hamming_topk(problem, longest, share(problem.num_items, tasks.parts, part),
                             share(problem.num_items, tasks.parts, part + 1),
                             whole ? ids : part_ids.data() + part * size,
                             whole ? distances : part_distances.data() + part * size,
                             scratch[size_t(task)].get(),
                             share(problem.num_queries, tasks.groups, group),
                             share(problem.num_queries, tasks.groups, group + 1)));
  });
  if (whole) return;
  run_all(tasks.groups, [&](int64_t group) {
    HASHGCN_RUN(merge_topk(problem, tasks.parts, part_ids.data(), part_distances.data(), ids,
                           distances, share(problem.num_queries, tasks.groups, group),
                           share(problem.num_queries, tasks.groups, group + 1)));
  });
}

}  // namespace hashgcn::cpu

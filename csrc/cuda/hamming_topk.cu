#include "hamming_many_queries.cuh"
#include "hamming_split_items.cuh"
#include "hamming_topk.h"

namespace hashgcn::cuda {

// Whether a lane takes a query: where the queries, 32 to a block, reach three quarters of the
// multiprocessors, and a code fits a lane's registers. Else a query's items are split among blocks.
static bool is_many_queries(const core::HammingTopk& problem) {
  return problem.planes == 1 && core::words_per_code(problem.code_length) <= kMaxManyWords &&
         problem.num_queries >= 24 * multiprocessors();
}

int64_t hamming_topk_scratch(const core::HammingTopk& problem) {
  if (problem.num_queries == 0) return 0;
  const int64_t sorted = 2 * problem.excluded.num_ids * int64_t(sizeof(int64_t));
  return sorted + (is_many_queries(problem) ? 0 : Split(problem).scratch_bytes());
}

void hamming_topk(core::HammingTopk problem, void* scratch, int64_t* ids, int32_t* distances,
                  unsigned int* errors, cudaStream_t stream) {
  if (problem.num_queries == 0) return;
  int64_t* sorted = static_cast<int64_t*>(scratch);
  int64_t* spare = sorted + problem.excluded.num_ids;
  if (problem.excluded.ptr != nullptr) {
    sort_exclusions<<<row_grid(problem.num_queries), kSortThreads, 0, stream>>>(problem, sorted,
                                                                                spare, errors);
    check_launch();
    problem.excluded.ids = sorted;
  }
  if (is_many_queries(problem)) {
    many_queries(problem, ids, distances, stream);
  } else {
    split_items(problem, spare + problem.excluded.num_ids, ids, distances, stream);
  }
}

}  // namespace hashgcn::cuda

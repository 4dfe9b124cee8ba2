#include <torch/csrc/stable/library.h>

#include <memory>
#include <tuple>

#include "../cpu/hamming_topk.h"
#include "cpu.h"

namespace hashgcn {

static std::tuple<Tensor, Tensor> hamming_topk(const Tensor& queries_in, const Tensor& items_in,
                                               int64_t k, int64_t code_length,
                                               const std::optional<Tensor>& exclude_ptr,
                                               const std::optional<Tensor>& exclude_ids,
                                               const std::optional<Tensor>& allow) {
  const char* op = "hamming_topk";
  const TopkInput input =
      check_topk(op, queries_in, items_in, k, code_length, exclude_ptr, exclude_ids, allow);
  const core::HammingTopk& problem = input.problem;
  check_tails(op, "queries", problem.queries, problem.num_queries, code_length);
  check_tails(op, "items", problem.items, problem.num_items, code_length);
  if (problem.exclude_ptr != nullptr) {
    const int64_t total = input.exclude_ids->size(0);
    require(problem.exclude_ptr[0] == 0 && problem.exclude_ptr[problem.num_queries] == total &&
                HASHGCN_RUN(non_decreasing(problem.exclude_ptr, 0, problem.num_queries)),
            op, "exclude_ptr to rise from 0 to ", total,
            " (the number of exclude_ids), got one that does not");
    require(HASHGCN_RUN(all_in_range(problem.exclude_ids, problem.num_items, 0, total)), op,
            "exclude_ids in [0, ", problem.num_items, "), got one outside");
  }
  Tensor distances =
      torch::stable::new_empty(input.queries, {problem.num_queries, k}, ScalarType::Int);
  Tensor ids = torch::stable::new_empty(input.queries, {problem.num_queries, k}, ScalarType::Long);
  int32_t* distance_out = mutable_data<int32_t>(distances);
  int64_t* id_out = mutable_data<int64_t>(ids);
  const int64_t scratch_words = cpu::topk_scratch_words(problem);
  const auto search = [&](int64_t item_begin, int64_t item_end, int32_t* part_distances,
                          int64_t* part_ids, int64_t begin, int64_t end) {
    const std::unique_ptr<int64_t[]> scratch(new int64_t[size_t(scratch_words)]);
    HASHGCN_RUN(hamming_topk(problem, item_begin, item_end, part_distances, part_ids, scratch.get(),
                             begin, end));
  };
  const int64_t num_queries = problem.num_queries, num_items = problem.num_items;
  const int64_t parts = cpu::topk_item_parts(problem, torch::stable::get_num_threads());
  if (parts == 1) {
    parallel(num_queries, 1, [&](int64_t begin, int64_t end) {
      search(0, num_items, distance_out, id_out, begin, end);
    });
    return {distances, ids};
  }
  const int64_t size = num_queries * k;
  std::vector<int32_t> part_distances(size_t(parts * size));
  std::vector<int64_t> part_ids(size_t(parts * size));
  parallel(parts, 1, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      search(num_items * p / parts, num_items * (p + 1) / parts, part_distances.data() + p * size,
             part_ids.data() + p * size, 0, num_queries);
    }
  });
  HASHGCN_RUN(merge_topk(problem, parts, part_distances.data(), part_ids.data(), distance_out,
                         id_out, 0, num_queries));
  return {distances, ids};
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("hamming_topk", TORCH_BOX(&hashgcn::hamming_topk));
}

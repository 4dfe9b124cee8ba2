#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../cpu/weighted_hamming_topk_tasks.h"
#include "cpu.h"

namespace hashgcn {

static void check_scale(const char* op, const char* argument, const float* scale, int64_t count) {
  require(parallel_all(count, kElementGrain,
                       [&](int64_t begin, int64_t end) {
                         return HASHGCN_RUN(all_within(scale, core::kMaxScale, begin, end));
                       }),
          op, argument, " finite and at most 2^48 in magnitude, got another value");
}

static std::tuple<Tensor, Tensor> weighted_hamming_topk(
    const Tensor& queries, const Tensor& items, const Tensor& query_scale, const Tensor& item_scale,
    int64_t k, int64_t code_length, const std::optional<Tensor>& exclude_ptr,
    const std::optional<Tensor>& exclude_ids, const std::optional<Tensor>& allow) {
  const char* op = "weighted_hamming_topk";
  const WeightedTopkInput input = check_weighted_topk(
      op, queries, items, query_scale, item_scale, k, code_length, exclude_ptr, exclude_ids, allow);
  const core::WeightedHammingTopk& problem = input.problem;
  const int64_t query_codes = problem.num_queries * problem.num_segments;
  const int64_t item_codes = problem.num_items * problem.num_segments;
  check_tails(op, "queries", problem.queries, query_codes, code_length);
  check_tails(op, "items", problem.items, item_codes, code_length);
  check_scale(op, "query_scale", problem.query_scale, query_codes);
  check_scale(op, "item_scale", problem.item_scale, item_codes);
  check_exclusions(op, input.rows);
  Tensor scores =
      torch::stable::new_empty(input.query_scale, {problem.num_queries, k}, ScalarType::Float);
  Tensor ids =
      torch::stable::new_empty(input.query_scale, {problem.num_queries, k}, ScalarType::Long);
  cpu::weighted_hamming_topk(problem, torch::stable::get_num_threads(), mutable_data<float>(scores),
                             mutable_data<int64_t>(ids), RunTasks());
  return {scores, ids};
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("weighted_hamming_topk", TORCH_BOX(&hashgcn::weighted_hamming_topk));
}

#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../cpu/hamming_topk_tasks.h"
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
  check_exclusions(op, input);
  Tensor distances =
      torch::stable::new_empty(input.queries, {problem.num_queries, k}, ScalarType::Int);
  Tensor ids = torch::stable::new_empty(input.queries, {problem.num_queries, k}, ScalarType::Long);
  cpu::hamming_topk(problem, torch::stable::get_num_threads(), mutable_data<int32_t>(distances),
                    mutable_data<int64_t>(ids), RunTasks());
  return {distances, ids};
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("hamming_topk", TORCH_BOX(&hashgcn::hamming_topk));
}

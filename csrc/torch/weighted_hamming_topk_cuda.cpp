#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../cuda/weighted_hamming_topk.h"
#include "cuda.h"

namespace hashgcn {

static std::tuple<Tensor, Tensor> weighted_hamming_topk(
    const Tensor& queries, const Tensor& items, const Tensor& query_scale, const Tensor& item_scale,
    int64_t k, int64_t code_length, const std::optional<Tensor>& exclude_ptr,
    const std::optional<Tensor>& exclude_ids, const std::optional<Tensor>& allow) {
  const char* op = "weighted_hamming_topk";
  const Device device(op, queries);
  const WeightedTopkInput input = check_weighted_topk(
      op, queries, items, query_scale, item_scale, k, code_length, exclude_ptr, exclude_ids, allow);
  const core::WeightedHammingTopk& problem = input.problem;
  require(problem.num_items <= cuda::kMaxTopkItems, op, "up to ", cuda::kMaxTopkItems,
          " items on CUDA, got ", problem.num_items);
  const int64_t query_codes = problem.num_queries * problem.num_segments;
  const int64_t item_codes = problem.num_items * problem.num_segments;
  cuda::check_tails(problem.queries, query_codes, code_length, device.errors, device.stream);
  cuda::check_tails(problem.items, item_codes, code_length, device.errors, device.stream);
  cuda::check_scale(problem.query_scale, query_codes, device.errors, device.stream);
  cuda::check_scale(problem.item_scale, item_codes, device.errors, device.stream);
  Tensor scores =
      torch::stable::new_empty(input.query_scale, {problem.num_queries, k}, ScalarType::Float);
  Tensor ids =
      torch::stable::new_empty(input.query_scale, {problem.num_queries, k}, ScalarType::Long);
  cuda::weighted_hamming_topk(problem, input.rows.exclude_ids ? input.rows.exclude_ids->size(0) : 0,
                              mutable_data<float>(scores), mutable_data<int64_t>(ids),
                              device.errors, device.stream);
  device.finish();
  return {scores, ids};
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("weighted_hamming_topk", TORCH_BOX(&hashgcn::weighted_hamming_topk));
}

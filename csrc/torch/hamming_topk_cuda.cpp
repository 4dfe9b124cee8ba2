#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../cuda/hamming_topk.h"
#include "cuda.h"

namespace hashgcn {

static std::tuple<Tensor, Tensor> hamming_topk(const Tensor& queries, const Tensor& items,
                                               int64_t k, int64_t code_length,
                                               const std::optional<Tensor>& exclude_ptr,
                                               const std::optional<Tensor>& exclude_ids,
                                               const std::optional<Tensor>& allow) {
  const char* op = "hamming_topk";
  const Device device(op, queries);
  const TopkInput input =
      check_topk(op, queries, items, k, code_length, exclude_ptr, exclude_ids, allow);
  const core::HammingTopk& problem = input.problem;
  require(code_length <= cuda::kMaxTopkLength, op, "code_length up to ", cuda::kMaxTopkLength,
          " on CUDA, got ", code_length);
  require(problem.num_items <= cuda::kMaxTopkItems, op, "up to ", cuda::kMaxTopkItems,
          " items on CUDA, got ", problem.num_items);
  cuda::check_tails(problem.queries, problem.num_queries, code_length, device.errors,
                    device.stream);
  cuda::check_tails(problem.items, problem.num_items, code_length, device.errors, device.stream);
  Tensor distances =
      torch::stable::new_empty(input.queries, {problem.num_queries, k}, ScalarType::Int);
  Tensor ids = torch::stable::new_empty(input.queries, {problem.num_queries, k}, ScalarType::Long);
  const int64_t num_excluded = input.exclude_ids ? input.exclude_ids->size(0) : 0;
  Tensor scratch = torch::stable::new_empty(
      input.queries, {cuda::hamming_topk_scratch(problem, num_excluded)}, ScalarType::Byte);
  cuda::hamming_topk(problem, num_excluded, scratch.mutable_data_ptr(),
                     mutable_data<int32_t>(distances), mutable_data<int64_t>(ids), device.errors,
                     device.stream);
  device.finish();
  return {distances, ids};
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("hamming_topk", TORCH_BOX(&hashgcn::hamming_topk));
}

#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../cuda/hamming_topk.h"
#include "checks/topk.h"
#include "cuda.h"

namespace hashgcn {

static std::tuple<Tensor, Tensor> hamming_topk(const Tensor& queries, const Tensor& items,
                                               int64_t k, int64_t code_length,
                                               const MaybeTensor& exclude_ptr,
                                               const MaybeTensor& exclude_ids,
                                               const MaybeTensor& allow) {
  const char* op = "hamming_topk";
  const Device device(op, queries);
  const TopkInput input(op, queries, items, k, code_length, exclude_ptr, exclude_ids, allow);
  const core::HammingTopk& problem = input.problem;
  require(code_length <= cuda::kMaxTopkLength, op, "code_length up to ", cuda::kMaxTopkLength,
          " on CUDA, got ", code_length);
  require(problem.num_items <= cuda::kMaxTopkItems, op, "up to ", cuda::kMaxTopkItems,
          " items on CUDA, got ", problem.num_items);
  cuda::check_tails(problem.queries, problem.num_queries, code_length, device.errors,
                    device.stream);
  cuda::check_tails(problem.items, problem.num_items, code_length, device.errors, device.stream);
  Tensor ids = input.new_results(ScalarType::Long), distances = input.new_results(ScalarType::Int);
  const Tensor scratch =
      device.scratch(cuda::hamming_topk_scratch(problem, input.excluded.num_ids));
  cuda::hamming_topk(problem, input.excluded.num_ids, scratch.mutable_data_ptr(),
                     mutable_data<int64_t>(ids), mutable_data<int32_t>(distances), device.errors,
                     device.stream);
  device.finish();
  return {ids, distances};
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("hamming_topk", TORCH_BOX(&hashgcn::hamming_topk));
}

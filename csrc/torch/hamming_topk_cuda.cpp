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
  const Checker check{"hamming_topk", queries};
  const Device device(check.op, queries);
  const TopkInput input(check, queries, items, k, code_length, exclude_ptr, exclude_ids, allow);
  const core::HammingTopk& problem = input.problem;
  check_codes(device, check.op, problem);
  Tensor ids = input.new_results(ScalarType::Long), distances = input.new_results(ScalarType::Int);
  const Tensor scratch = device.scratch(cuda::hamming_topk_scratch(problem));
  cuda::hamming_topk(problem, scratch.mutable_data_ptr(), mutable_data<int64_t>(ids),
                     mutable_data<int32_t>(distances), device.errors, device.stream);
  device.finish();
  return {ids, distances};
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("hamming_topk", TORCH_BOX(&hashgcn::hamming_topk));
}

#include <tuple>

#include "../cpu/hamming_topk_tasks.h"
#include "../cpu/processors.h"
#include "checks/topk.h"
#include "cpu.h"

namespace hashgcn {

static std::tuple<Tensor, Tensor> hamming_topk(const Tensor& queries, const Tensor& items,
                                               int64_t k, int64_t code_length,
                                               const MaybeTensor& exclude_ptr,
                                               const MaybeTensor& exclude_ids,
                                               const MaybeTensor& allow) {
  const Checker check{"hamming_topk", queries};
  const TopkInput input(check, queries, items, k, code_length, exclude_ptr, exclude_ids, allow);
  const core::HammingTopk& problem = input.problem;
  cpu::check_codes(check.op, problem, parallel_all);
  cpu::check_lists(check.op, "exclude_", problem.excluded, problem.num_queries, problem.num_items);
  Tensor ids = input.new_results(ScalarType::Long), distances = input.new_results(ScalarType::Int);
  cpu::hamming_topk(problem, cpu::num_threads(torch::stable::get_num_threads()),
                    mutable_data<int64_t>(ids), mutable_data<int32_t>(distances), RunTasks());
  return {ids, distances};
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("hamming_topk", TORCH_BOX(&hashgcn::hamming_topk));
}

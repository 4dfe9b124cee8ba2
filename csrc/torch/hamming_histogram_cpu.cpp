#include "../cpu/hamming_histogram.h"
#include "checks/topk.h"
#include "cpu.h"

namespace hashgcn {

static Tensor hamming_histogram(const Tensor& queries, const Tensor& items, int64_t code_length,
                                const MaybeTensor& ptr, const MaybeTensor& ids) {
  const Checker check{"hamming_histogram", queries};
  const CodesInput input(check, queries, items, code_length);
  const core::Codes& codes = input.codes;
  const ListTensors tensors(check, "", ptr, ids, codes.num_queries);
  const core::Lists lists = tensors.lists();
  cpu::check_codes(check.op, codes, parallel_all);
  cpu::check_lists(check.op, "", lists, codes.num_queries, codes.num_items);
  Tensor counts = torch::stable::new_empty(input.queries,
                                           {codes.num_queries, core::longest_distance(codes) + 1});
  const int64_t grain = 1 + cpu::kElementGrain / (codes.num_items + 1);
  parallel(codes.num_queries, grain, [&](int64_t begin, int64_t end) {
    HASHGCN_RUN(hamming_histogram(codes, lists, mutable_data<int64_t>(counts), begin, end));
  });
  return counts;
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("hamming_histogram", TORCH_BOX(&hashgcn::hamming_histogram));
}

#include "../cuda/hamming_histogram.h"
#include "checks/topk.h"
#include "cuda.h"

namespace hashgcn {

static Tensor hamming_histogram(const Tensor& queries, const Tensor& items, int64_t code_length,
                                const MaybeTensor& ptr, const MaybeTensor& ids) {
  const Checker check{"hamming_histogram", queries};
  const Device device(check.op, queries);
  const CodesInput input(check, queries, items, code_length);
  const ListTensors lists(check, "", ptr, ids, input.codes.num_queries);
  check_codes(device, check.op, input.codes);
  Tensor counts = torch::stable::new_zeros(
      input.queries, {input.codes.num_queries, core::longest_distance(input.codes) + 1});
  cuda::hamming_histogram(input.codes, lists.lists(), mutable_data<int64_t>(counts), device.errors,
                          device.stream);
  device.finish();
  return counts;
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("hamming_histogram", TORCH_BOX(&hashgcn::hamming_histogram));
}

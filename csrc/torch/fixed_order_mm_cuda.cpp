#include <torch/csrc/stable/library.h>

#include "../cuda/fixed_order_mm.h"
#include "cuda.h"

namespace hashgcn {

template <class T>
static Tensor run(const Device& device, const Tensor& x, const Tensor& matrix) {
  const int64_t rows = x.size(0), inner = x.size(1), width = matrix.size(1);
  Tensor out = torch::stable::new_empty(x, {rows, width});
  cuda::fixed_order_mm(data<T>(x), data<T>(matrix), mutable_data<T>(out), rows, inner, width,
                       device.stream);
  device.finish();
  return out;
}

static Tensor fixed_order_mm(const Tensor& x_in, const Tensor& matrix_in) {
  const Device device("fixed_order_mm", x_in);
  const auto [x, matrix] = check_mm("fixed_order_mm", x_in, matrix_in);
  return x.scalar_type() == ScalarType::Double ? run<double>(device, x, matrix)
                                               : run<float>(device, x, matrix);
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("fixed_order_mm", TORCH_BOX(&hashgcn::fixed_order_mm));
}

#include "../cuda/fixed_order_mm.h"
#include "cuda.h"

namespace hashgcn {

static Tensor fixed_order_mm(const Tensor& x_in, const Tensor& matrix_in) {
  const char* op = "fixed_order_mm";
  const Device device(op, x_in);
  const Checker check{op, x_in};
  const Tensor x = check.matrix(x_in, "x", x_in.scalar_type(), -1, -1);
  const Tensor matrix = check.matrix(matrix_in, "matrix", x.scalar_type(), x.size(1), -1);
  const int64_t rows = x.size(0), inner = x.size(1), width = matrix.size(1);
  Tensor out = torch::stable::new_empty(x, {rows, width});
  with_float_type(x.scalar_type(), op, "x", [&](auto zero) {
    using T = decltype(zero);
    cuda::fixed_order_mm(data<T>(x), data<T>(matrix), mutable_data<T>(out), rows, inner, width,
                         device.stream);
  });
  device.finish();
  return out;
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("fixed_order_mm", TORCH_BOX(&hashgcn::fixed_order_mm));
}

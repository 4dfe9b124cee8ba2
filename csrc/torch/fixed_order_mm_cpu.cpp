#include "../cpu/fixed_order_mm.h"
#include "cpu.h"

namespace hashgcn {

static Tensor fixed_order_mm(const Tensor& x_in, const Tensor& matrix_in) {
  const char* op = "fixed_order_mm";
  const Checker check{op, x_in};
  const Tensor x = check.matrix(x_in, "x", x_in.scalar_type(), -1, -1);
  const Tensor matrix = check.matrix(matrix_in, "matrix", x.scalar_type(), x.size(1), -1);
  const int64_t rows = x.size(0), inner = x.size(1), width = matrix.size(1);
  Tensor out = torch::stable::new_empty(x, {rows, width});
  with_float_type(x.scalar_type(), op, "x", [&](auto zero) {
    using T = decltype(zero);
    parallel(rows, 1 + cpu::kElementGrain / (inner * width + 1), [&](int64_t begin, int64_t end) {
      HASHGCN_RUN(fixed_order_mm(data<T>(x), data<T>(matrix), mutable_data<T>(out), inner, width,
                                 begin, end));
    });
  });
  return out;
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("fixed_order_mm", TORCH_BOX(&hashgcn::fixed_order_mm));
}

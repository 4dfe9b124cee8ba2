#include <torch/csrc/stable/library.h>

#include "../cpu/fixed_order_mm.h"
#include "cpu.h"

namespace hashgcn {

template <class T>
static Tensor run(const Tensor& x, const Tensor& matrix) {
  const int64_t rows = x.size(0), inner = x.size(1), width = matrix.size(1);
  Tensor out = torch::stable::new_empty(x, {rows, width});
  parallel(rows, 1 + kElementGrain / (inner * width + 1), [&](int64_t begin, int64_t end) {
    HASHGCN_RUN(fixed_order_mm(data<T>(x), data<T>(matrix), mutable_data<T>(out), inner, width,
                               begin, end));
  });
  return out;
}

static Tensor fixed_order_mm(const Tensor& x_in, const Tensor& matrix_in) {
  const auto [x, matrix] = check_mm("fixed_order_mm", x_in, matrix_in);
  return x.scalar_type() == ScalarType::Double ? run<double>(x, matrix) : run<float>(x, matrix);
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("fixed_order_mm", TORCH_BOX(&hashgcn::fixed_order_mm));
}

#include <torch/csrc/stable/library.h>

#include "../cpu/sign_guided.h"
#include "elementwise_cpu.h"

namespace hashgcn {

static Tensor sign_guided(const Tensor& x_in, const Tensor& take_sign_in, const Tensor& scale) {
  const char* op = "sign_guided";
  const double factor = check_positive({op, x_in}, scale, "scale");
  const Tensor take_sign = check_guidance({op, x_in}, take_sign_in);
  const Tensor x = torch::stable::contiguous(x_in);
  const int64_t rows = x.size(0), width = x.size(1);
  Tensor out = torch::stable::new_empty(x, x.sizes());
  advise_huge_pages(out);
  with_element_type(x.scalar_type(), op, "x", [&](auto* null) {
    using T = std::remove_pointer_t<decltype(null)>;
    const T* in = data<T>(x);
    const bool* guided = data<bool>(take_sign);
    T* result = mutable_data<T>(out);
    require(parallel_all(rows, 1 + kElementGrain / (width + 1),
                         [&](int64_t begin, int64_t end) {
                           return HASHGCN_RUN(
                               sign_guided(in, guided, factor, width, result, begin, end));
                         }),
            op, "x without NaN, got NaN");
  });
  return out;
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("sign_guided", TORCH_BOX(&hashgcn::sign_guided));
}

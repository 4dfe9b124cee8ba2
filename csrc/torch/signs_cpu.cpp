#include "../cpu/signs.h"
#include "cpu.h"
#include "memory.h"
#include "signs.h"

namespace hashgcn {
namespace {

class Signs {
 public:
  Signs(const char* op, const Tensor& x) : check_{op, x} {}

  // The codes do not depend on the factor, but a bad one shows where it was given.
  Tensor signs(const Tensor& factor, const char* name) const {
    check_positive(factor, name);
    return map([](const auto* in, auto* out, int64_t begin, int64_t end) {
      return HASHGCN_RUN(signs(in, out, begin, end));
    });
  }

  Tensor tanh_continuation(const Tensor& factor, const char* name) const {
    const double number = check_positive(factor, name);
    return map([&](const auto* in, auto* out, int64_t begin, int64_t end) {
      return HASHGCN_RUN(tanh_continuation(in, number, out, begin, end));
    });
  }

  Tensor sign_guided(const Tensor& take_sign, const Tensor& factor, const char* name) const {
    const double number = check_positive(factor, name);
    const int64_t width = check_.anchor.size(1);
    return map([&](const auto* in, auto* out, int64_t begin, int64_t end) {
      return HASHGCN_RUN(sign_guided(in, data<bool>(take_sign), number, width, out, begin, end));
    });
  }

  template <class Kind>
  Tensor scale_gradient(const Tensor& grad_in, Kind kind, const Tensor& factor,
                        const char* name) const {
    const double number = check_positive(factor, name);
    const Tensor grad = check_gradient(check_, grad_in);
    return map([&](const auto* in, auto* out, int64_t begin, int64_t end) {
      using T = std::remove_pointer_t<decltype(out)>;
      HASHGCN_RUN(scale_gradient(data<T>(grad), in, kind, number, out, begin, end));
      return true;
    });
  }

 private:
  double check_positive(const Tensor& factor, const char* name) const {
    const ScalarType type = compute_type(check_.anchor.scalar_type());
    check_.scalar(factor, name, type);
    const double number = type == ScalarType::Double ? *data<double>(factor) : *data<float>(factor);
    require(number > 0 && number - number == 0, check_.op, name, " finite and positive, got ",
            number);
    return number;
  }

  // kernel(x, out, begin, end) returns false if an x is NaN.
  template <class Kernel>
  Tensor map(const Kernel& kernel) const {
    const Tensor x = torch::stable::contiguous(check_.anchor);
    Tensor out = torch::stable::new_empty(x, x.sizes());
    advise_huge_pages(out);
    with_element_type(x.scalar_type(), check_.op, "x", [&](auto zero) {
      using T = decltype(zero);
      const T* in = data<T>(x);
      T* result = mutable_data<T>(out);
      require(
          parallel_all(x.numel(), cpu::kElementGrain,
                       [&](int64_t begin, int64_t end) { return kernel(in, result, begin, end); }),
          check_.op, "x without NaN, got NaN");
    });
    return out;
  }

  const Checker check_;
};

}  // namespace
}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) { hashgcn::register_signs<hashgcn::Signs>(m); }

#include "../cuda/signs.h"
#include "cuda.h"
#include "signs.h"

namespace hashgcn {
namespace {

class Signs {
 public:
  Signs(const char* op, const Tensor& x) : device_(op, x), check_{op, x} {}

  Tensor signs(const Tensor& factor, const char* name) const {
    check_positive(factor, name);
    return map([&](const auto* in, auto* out, int64_t count) {
      cuda::signs(in, out, count, device_.errors, device_.stream);
    });
  }

  Tensor tanh_continuation(const Tensor& factor, const char* name) const {
    check_positive(factor, name);
    return map([&](const auto* in, auto* out, int64_t count) {
      cuda::tanh_continuation(in, number<decltype(out)>(factor), out, count, device_.errors,
                              device_.stream);
    });
  }

  Tensor sign_guided(const Tensor& take_sign, const Tensor& factor, const char* name) const {
    check_positive(factor, name);
    return map([&](const auto* in, auto* out, int64_t count) {
      cuda::sign_guided(in, data<bool>(take_sign), number<decltype(out)>(factor),
                        check_.anchor.size(1), out, count, device_.errors, device_.stream);
    });
  }

  // The factor's value was checked in the forward pass.
  template <class Kind>
  Tensor scale_gradient(const Tensor& grad_in, Kind kind, const Tensor& factor,
                        const char* name) const {
    check_.scalar(factor, name, compute_type(check_.anchor.scalar_type()));
    const Tensor grad = check_gradient(check_, grad_in);
    return map([&](const auto* in, auto* out, int64_t count) {
      using T = std::remove_pointer_t<decltype(out)>;
      cuda::scale_gradient(data<T>(grad), in, kind, number<T*>(factor), out, count, device_.stream);
    });
  }

 private:
  // Where the factor of elements of a type lies.
  template <class Pointer>
  static auto number(const Tensor& factor) {
    return data<core::compute_t<std::remove_pointer_t<Pointer>>>(factor);
  }

  // Its value is checked on the device.
  void check_positive(const Tensor& factor, const char* name) const {
    check_.scalar(factor, name, compute_type(check_.anchor.scalar_type()));
    with_float_type(factor.scalar_type(), check_.op, name, [&](auto zero) {
      cuda::check_positive(data<decltype(zero)>(factor), device_.errors, device_.stream);
    });
  }

  // launch(x, out, count).
  template <class Launch>
  Tensor map(const Launch& launch) const {
    const Tensor x = torch::stable::contiguous(check_.anchor);
    Tensor out = torch::stable::new_empty(x, x.sizes());
    with_element_type(x.scalar_type(), check_.op, "x", [&](auto zero) {
      using T = decltype(zero);
      launch(data<T>(x), mutable_data<T>(out), x.numel());
    });
    device_.finish();
    return out;
  }

  const Device device_;
  const Checker check_;
};

}  // namespace
}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) { hashgcn::register_signs<hashgcn::Signs>(m); }

#include "sign_guided.h"

#include "../core/scalar.h"
#include "sign_swish.h"

namespace hashgcn::cpu::HASHGCN_ISA {

// out = scale x over [begin, end). Returns false if an x is NaN.
template <class T>
static inline bool scaled(const T* x, core::compute_t<T> scale, T* out, int64_t begin,
                          int64_t end) {
  int nan = 0;
  for (int64_t i = begin; i < end; ++i) {
    const auto value = core::load(x[i]);
    nan |= value != value;
    out[i] = core::store<T>(scale * value);
  }
  return !nan;
}

template <class T>
bool sign_guided(const T* x, const bool* take_sign, double scale, int64_t width, T* out,
                 int64_t begin, int64_t end) {
  const core::compute_t<T> factor(scale);
  bool good = true;
  for (int64_t i = begin; i < end;) {
    const int64_t row = i / width, next = (row + 1) * width, last = next < end ? next : end;
    good &= take_sign[row] ? signs(x, out, i, last) : scaled(x, factor, out, i, last);
    i = last;
  }
  return good;
}

#define HASHGCN_INSTANTIATE(T) \
  template bool sign_guided<T>(const T*, const bool*, double, int64_t, T*, int64_t, int64_t);
HASHGCN_INSTANTIATE(float)
HASHGCN_INSTANTIATE(double)
HASHGCN_INSTANTIATE(core::float16)
HASHGCN_INSTANTIATE(core::bfloat16)

}  // namespace hashgcn::cpu::HASHGCN_ISA

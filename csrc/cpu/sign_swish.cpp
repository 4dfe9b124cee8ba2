#include "sign_swish.h"

#include "../core/sign_swish.h"
#include "elementwise.h"
#include "pack_codes.h"

namespace hashgcn::cpu::HASHGCN_ISA {

template <class T>
bool signs(const T* x, T* out, int64_t begin, int64_t end) {
  const T plus = core::store<T>(1), minus = core::store<T>(-1);
  int nan = 0;
  for (int64_t i = begin; i < end; ++i) {
    const auto value = core::load(x[i]);
    nan |= value != value;
    out[i] = core::is_plus(x[i]) ? plus : minus;
  }
  return !nan;
}

template <class T>
bool sign_swish_pack(const T* x, T* out, uint64_t* words, int64_t code_length, int64_t begin,
                     int64_t end) {
  // Rows that the second reading finds in the first-level cache.
  const int64_t block = 1 + 16384 / (code_length * int64_t(sizeof(T)));
  bool good = true;
  for (int64_t row = begin; row < end; row += block) {
    const int64_t last = end - row < block ? end : row + block;
    good &= pack_codes(x, words, code_length, row, last);
    signs(x, out, row * code_length, last * code_length);
  }
  return good;
}

template <class T>
void sign_swish_backward(const T* grad, const T* x, double beta, T* out, int64_t begin,
                         int64_t end) {
  using C = core::compute_t<T>;
  scale_gradient(grad, x, out, begin, end, [slope = C(beta)](C value) {
    return slope * core::sign_swish_slope(value, slope);
  });
}

#define HASHGCN_INSTANTIATE(T)                                                          \
  template bool signs<T>(const T*, T*, int64_t, int64_t);                               \
  template bool sign_swish_pack<T>(const T*, T*, uint64_t*, int64_t, int64_t, int64_t); \
  template void sign_swish_backward<T>(const T*, const T*, double, T*, int64_t, int64_t);
HASHGCN_INSTANTIATE(float)
HASHGCN_INSTANTIATE(double)
HASHGCN_INSTANTIATE(core::float16)
HASHGCN_INSTANTIATE(core::bfloat16)

}  // namespace hashgcn::cpu::HASHGCN_ISA

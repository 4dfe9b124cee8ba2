// Element types of the kernels and their conversion to the type that arithmetic is done in.
#pragma once

#include <cstring>

#if defined(USE_CUDA)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#include "macros.h"

namespace hashgcn::core {

#if defined(USE_CUDA)
// Not __CUDACC__: the glue, which the host compiler sees, must name the same types as the kernels.
using float16 = __half;
using bfloat16 = __nv_bfloat16;
#else
#if defined(__aarch64__)
using float16 = __fp16;  // GCC 12 has no _Float16 in C++ there.
#else
using float16 = _Float16;
#endif

struct bfloat16 {
  uint16_t bits;

  bfloat16() = default;
  __attribute__((always_inline)) explicit operator float() const {
    const uint32_t wide = uint32_t(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return value;
  }

  // Rounds to nearest even. A NaN stays one: its low mantissa bits must not carry into infinity.
  __attribute__((always_inline)) explicit bfloat16(float x) {
    uint32_t wide;
    std::memcpy(&wide, &x, sizeof wide);
    bits = uint16_t(x != x ? (wide >> 16) | 0x40 : (wide + 0x7fff + ((wide >> 16) & 1)) >> 16);
  }
};
#endif

// The type sums and transcendental functions are evaluated in.
template <class T>
struct compute {
  using type = float;
};
template <>
struct compute<double> {
  using type = double;
};
template <class T>
using compute_t = typename compute<T>::type;

template <class T>
HASHGCN_HD compute_t<T> load(T x) {
  return static_cast<compute_t<T>>(x);
}

template <class T>
HASHGCN_HD T store(compute_t<T> x) {
  return static_cast<T>(x);
}

}  // namespace hashgcn::core

// exp of numbers that are not large, and the sigmoid with its slope, without overflow.
#pragma once

#include <cmath>

#include "scalar.h"

namespace hashgcn::core {

// e^-z for z >= -87, infinite z included.
//
// The host float form is written out so that loops over it vectorise: 2^n times the best polynomial
// of degree 5 in the remainder, 1 at 0, relative error below 2e-7; results under float32's normal
// range (z > 87.3) are 0.
HASHGCN_HD float exp_minus(float z) {
#if defined(__CUDA_ARCH__)
  return expf(-z);
#else
  const float shifted = z * -1.44269504f + 12582912.f;  // 1.5 * 2^23: rounds to an integer
  const float n = shifted - 12582912.f;
  const float r = (-z - n * 0.693145752f) - n * 1.42860677e-6f;
  float p = 0.008309269f;
  p = p * r + 0.041888185f;
  p = p * r + 0.16667162f;
  p = p * r + 0.49999264f;
  p = p * r + 1.f;
  p = p * r + 1.f;
  uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127) << 23;
  float scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return z < 87.3f ? p * scale : 0.f;
#endif
}

HASHGCN_HD double exp_minus(double z) {
#if defined(__CUDA_ARCH__)
  return exp(-z);
#else
  return std::exp(-z);
#endif
}

// sigma(x); x may be infinite.
template <class T>
HASHGCN_HD T sigmoid(T x) {
  const T t = exp_minus(std::fabs(x));
  return (x >= 0 ? T(1) : t) / (1 + t);
}

// sigma'(x) = sigma(x) (1 - sigma(x)), even in x; 0 at both infinities.
template <class T>
HASHGCN_HD T sigmoid_slope(T x) {
  const T t = exp_minus(std::fabs(x));
  return t / ((1 + t) * (1 + t));
}

}  // namespace hashgcn::core

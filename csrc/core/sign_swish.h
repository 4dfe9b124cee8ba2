// The sign rule of every code in the library, and the derivative of SignSwish.
#pragma once

#include "sigmoid.h"

namespace hashgcn::core {

// True where a code has +1: 0 and -0 count as +1. NaN is refused before it gets here.
template <class T>
HASHGCN_HD bool is_plus(T x) {
  return load(x) >= 0;
}

// SS'_beta(x) / beta = 2t [2(1+t) + z(t-1)] / (1+t)^3 with z = |beta x|, t = e^-z. It is 1 at 0,
// negative beyond z of about 2.4, and 0 where t is below the range of T: an infinite beta x does
// not become inf * 0.
template <class T>
HASHGCN_HD T sign_swish_slope(T x, T beta) {
  const T limit = sizeof(T) == 8 ? T(746) : T(87.3f);
  const T z = std::fabs(beta * x);
  const T t = exp_minus(z);
  const T u = 1 + t;
  return z < limit ? (t + t) * (u + u + z * (t - 1)) / (u * u * u) : T(0);
}

}  // namespace hashgcn::core

// tanh and its derivative, in loops that vectorise.
#pragma once

#include <cmath>

#include "sigmoid.h"

namespace hashgcn::core {

// tanh z, infinite z included.
//
// Host float: (1 - t) / (1 + t) with t = e^(-2 |z|), and up to |z| = 5/8, where 1 - t loses digits,
// the fifth convergent of tanh's continued fraction, whose relative error there is below 1e-9.
HASHGCN_HD float hyperbolic_tangent(float z) {
#if defined(__CUDA_ARCH__)
  return tanhf(z);
#else
  const float u = z * z, t = exp_minus(2 * std::fabs(z));
  const bool small = u < 0.390625f;
  const float above = small ? z * (945 + u * (105 + u)) : std::copysign(1 - t, z);
  const float below = small ? 945 + u * (420 + u * 15) : 1 + t;
  return above / below;
#endif
}

HASHGCN_HD double hyperbolic_tangent(double z) { return std::tanh(z); }

// d/dx tanh(beta x) = 4 beta sigma'(2 beta x), which keeps its digits where tanh is 1 to rounding;
// bracketed so that no finite beta overflows.
template <class T>
HASHGCN_HD T tanh_slope(T x, T beta) {
  return beta * (4 * sigmoid_slope(2 * (beta * x)));
}

}  // namespace hashgcn::core

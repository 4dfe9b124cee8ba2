// The derivative of the straight-through estimator.
#pragma once

#include <cmath>

#include "macros.h"

namespace hashgcn::core {

// d/dx of scale x held in [-clip, clip]: the scale inside, both ends included, and 0 outside.
template <class T>
HASHGCN_HD T sign_ste_slope(T x, T scale, T clip) {
  return std::fabs(scale * x) <= clip ? scale : T(0);
}

}  // namespace hashgcn::core

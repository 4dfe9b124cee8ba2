// The loop that backward passes of elementwise ops share. For kernels alone: internal linkage keeps
// the instruction sets apart.
#pragma once

#include "../core/scalar.h"

namespace hashgcn::cpu::HASHGCN_ISA {

// out = grad * slope(x) over [begin, end).
template <class T, class Slope>
static inline void scale_gradient(const T* grad, const T* x, T* out, int64_t begin, int64_t end,
                                  const Slope& slope) {
  for (int64_t i = begin; i < end; ++i) {
    out[i] = core::store<T>(core::load(grad[i]) * slope(core::load(x[i])));
  }
}

}  // namespace hashgcn::cpu::HASHGCN_ISA

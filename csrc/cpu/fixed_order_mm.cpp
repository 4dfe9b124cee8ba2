#include "fixed_order_mm.h"

#include "tiles.h"

namespace hashgcn::cpu::HASHGCN_ISA {

template <class T>
void fixed_order_mm(const T* x, const T* matrix, T* out, int64_t inner, int64_t width,
                    int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    fill<T>(out + row * width, width, 0);
    for (int64_t k = 0; k < inner; ++k) {
      add_scaled(width, x[row * inner + k], matrix + k * width, out + row * width);
    }
  }
}

HASHGCN_FOR_FLOATS(fixed_order_mm)

}  // namespace hashgcn::cpu::HASHGCN_ISA

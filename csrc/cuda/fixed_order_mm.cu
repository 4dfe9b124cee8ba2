#include "fixed_order_mm.h"
#include "launch.h"

namespace hashgcn::cuda {

// A thread has an element: the threads of a warp read x's number together, and neighbours in a row
// of the matrix.
template <class T>
static __global__ void fixed_order_mm_kernel(const T* x, const T* matrix, T* out, int64_t rows,
                                             int64_t inner, int64_t width) {
  const int64_t i = element_index();
  if (i >= rows * width) return;
  const T* x_row = x + i / width * inner;
  const T* column = matrix + i % width;
  T sum = 0;
#pragma unroll 8
  for (int64_t k = 0; k < inner; ++k) sum += x_row[k] * column[k * width];
  out[i] = sum;
}

template <class T>
void fixed_order_mm(const T* x, const T* matrix, T* out, int64_t rows, int64_t inner, int64_t width,
                    cudaStream_t stream) {
  if (rows * width == 0) return;
  fixed_order_mm_kernel<<<element_grid(rows * width), kThreads, 0, stream>>>(x, matrix, out, rows,
                                                                             inner, width);
  check_launch();
}

HASHGCN_FOR_FLOATS(fixed_order_mm)

}  // namespace hashgcn::cuda

#include "../core/codes.h"
#include "../core/errors.h"
#include "../core/sign_swish.h"
#include "launch.h"
#include "sign_swish.h"

namespace hashgcn::cuda {

template <class T>
static __global__ void sign_swish_kernel(const T* x, T* out, int64_t count, unsigned int* errors) {
  const int64_t i = element_index();
  if (i >= count) return;
  const auto value = core::load(x[i]);
  if (value != value) atomicOr(errors, core::kNan);
  out[i] = core::store<T>(core::is_plus(x[i]) ? 1 : -1);
}

template <class T>
void sign_swish(const T* x, T* out, int64_t count, unsigned int* errors, cudaStream_t stream) {
  if (count == 0) return;
  sign_swish_kernel<<<element_grid(count), kThreads, 0, stream>>>(x, out, count, errors);
  check_launch();
}

// A thread packs one byte, as in pack_codes.
template <class T>
static __global__ void sign_swish_pack_kernel(const T* x, T* out, uint8_t* bytes, int64_t rows,
                                              int64_t code_length, unsigned int* errors) {
  const int64_t row_bytes = core::words_per_code(code_length) * 8;
  const int64_t i = element_index();
  if (i >= rows * row_bytes) return;
  const int64_t row = i / row_bytes, first = i % row_bytes * 8;
  unsigned byte = 0;
  bool nan = false;
  for (int64_t k = first; k < first + 8 && k < code_length; ++k) {
    const T x_k = x[row * code_length + k];
    const auto value = core::load(x_k);
    const bool plus = core::is_plus(x_k);
    nan |= value != value;
    byte |= unsigned(plus) << (k - first);
    out[row * code_length + k] = core::store<T>(plus ? 1 : -1);
  }
  bytes[i] = uint8_t(byte);
  if (nan) atomicOr(errors, core::kNan);
}

template <class T>
void sign_swish_pack(const T* x, T* out, uint64_t* words, int64_t rows, int64_t code_length,
                     unsigned int* errors, cudaStream_t stream) {
  const int64_t count = rows * core::words_per_code(code_length) * 8;
  if (count == 0) return;
  sign_swish_pack_kernel<<<element_grid(count), kThreads, 0, stream>>>(
      x, out, reinterpret_cast<uint8_t*>(words), rows, code_length, errors);
  check_launch();
}

template <class T>
static __global__ void sign_swish_backward_kernel(const T* grad, const T* x,
                                                  const core::compute_t<T>* beta, T* out,
                                                  int64_t count) {
  const int64_t i = element_index();
  if (i >= count) return;
  const auto slope = core::sign_swish_slope(core::load(x[i]), *beta);
  out[i] = core::store<T>(core::load(grad[i]) * (*beta * slope));
}

template <class T>
void sign_swish_backward(const T* grad, const T* x, const core::compute_t<T>* beta, T* out,
                         int64_t count, cudaStream_t stream) {
  if (count == 0) return;
  sign_swish_backward_kernel<<<element_grid(count), kThreads, 0, stream>>>(grad, x, beta, out,
                                                                           count);
  check_launch();
}

#define HASHGCN_INSTANTIATE(T)                                                                     \
  template void sign_swish<T>(const T*, T*, int64_t, unsigned int*, cudaStream_t);                 \
  template void sign_swish_pack<T>(const T*, T*, uint64_t*, int64_t, int64_t, unsigned int*,       \
                                   cudaStream_t);                                                  \
  template void sign_swish_backward<T>(const T*, const T*, const core::compute_t<T>*, T*, int64_t, \
                                       cudaStream_t);
HASHGCN_INSTANTIATE(float)
HASHGCN_INSTANTIATE(double)
HASHGCN_INSTANTIATE(core::float16)
HASHGCN_INSTANTIATE(core::bfloat16)

}  // namespace hashgcn::cuda

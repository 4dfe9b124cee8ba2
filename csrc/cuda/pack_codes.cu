#include "../core/codes.h"
#include "../core/errors.h"
#include "../core/sign_swish.h"
#include "elementwise.cuh"
#include "pack_codes.h"

namespace hashgcn::cuda {

// A thread packs one byte: the values it reads are neighbours in memory, and so are the bytes that
// the threads of a warp write (devices are little-endian).
template <class T>
static __global__ void pack_codes_kernel(const T* x, uint8_t* bytes, T* codes, int64_t rows,
                                         int64_t code_length, bool signs, unsigned int* errors) {
  const int64_t row_bytes = core::words_per_code(code_length) * 8;
  const int64_t i = element_index();
  if (i >= rows * row_bytes) return;
  const int64_t row = i / row_bytes, first = i % row_bytes * 8;
  unsigned byte = 0;
  bool bad = false;
  for (int64_t k = first; k < first + 8 && k < code_length; ++k) {
    const T x_k = x[row * code_length + k];
    const auto value = core::load(x_k);
    bad |= signs ? value != 1 && value != -1 : value != value;
    const bool plus = core::is_plus(x_k);
    byte |= unsigned(plus) << (k - first);
    if (codes != nullptr) codes[row * code_length + k] = core::store<T>(plus ? 1 : -1);
  }
  bytes[i] = uint8_t(byte);
  if (bad) atomicOr(errors, signs ? core::kNotSigns : core::kNan);
}

// Rows of whole words: bit i of the words is the sign of element i. A thread has 16 bytes of x; the
// threads of 32 elements join their bits.
template <class T>
static __global__ void pack_whole_words_kernel(const T* x, uint32_t* halves, T* codes,
                                               int64_t count, bool signs, unsigned int* errors) {
  constexpr int kCount = kWide<T>;
  const int64_t first = element_index() * kCount;
  Pack<T, kCount> pack = load_pack<kCount>(x + first, count - first);
  uint32_t bits = 0;
  bool bad = false;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const auto value = core::load(pack.values[i]);
    bad |= first < count && (signs ? value != 1 && value != -1 : value != value);
    const bool plus = core::is_plus(pack.values[i]);
    bits |= uint32_t(plus) << ((first + i) % 32);
    pack.values[i] = core::store<T>(plus ? 1 : -1);
  }
  for (int step = 1; step < 32 / kCount; step *= 2) bits |= __shfl_xor_sync(~0u, bits, step);
  if (bad) atomicOr(errors, signs ? core::kNotSigns : core::kNan);
  if (first < count && first % 32 == 0) halves[first / 32] = bits;
  if (codes != nullptr) store_pack(pack, codes + first, count - first);
}

template <class T>
void pack_codes(const T* x, uint64_t* words, T* codes, int64_t rows, int64_t code_length,
                bool signs, unsigned int* errors, cudaStream_t stream) {
  const int64_t count = rows * core::words_per_code(code_length) * 8;
  if (count == 0) return;
  if (code_length % 64 == 0 && begin_at_16_bytes(x, codes)) {
    pack_whole_words_kernel<<<pack_grid(rows * code_length, kWide<T>), kThreads, 0, stream>>>(
        x, reinterpret_cast<uint32_t*>(words), codes, rows * code_length, signs, errors);
    check_launch();
    return;
  }
  pack_codes_kernel<<<element_grid(count), kThreads, 0, stream>>>(
      x, reinterpret_cast<uint8_t*>(words), codes, rows, code_length, signs, errors);
  check_launch();
}

template <class T>
static __global__ void unpack_codes_kernel(const uint64_t* words, T* x, int64_t rows,
                                           int64_t code_length) {
  const int64_t i = element_index();
  if (i >= rows * code_length) return;
  const int64_t row = i / code_length, k = i % code_length;
  const uint64_t word = words[row * core::words_per_code(code_length) + k / 64];
  x[i] = core::store<T>((word >> (k % 64)) & 1 ? 1 : -1);
}

template <class T>
void unpack_codes(const uint64_t* words, T* x, int64_t rows, int64_t code_length,
                  cudaStream_t stream) {
  const int64_t count = rows * code_length;
  if (count == 0) return;
  unpack_codes_kernel<<<element_grid(count), kThreads, 0, stream>>>(words, x, rows, code_length);
  check_launch();
}

#define HASHGCN_INSTANTIATE(T)                                                                \
  template void pack_codes<T>(const T*, uint64_t*, T*, int64_t, int64_t, bool, unsigned int*, \
                              cudaStream_t);                                                  \
  template void unpack_codes<T>(const uint64_t*, T*, int64_t, int64_t, cudaStream_t);
HASHGCN_INSTANTIATE(float)
HASHGCN_INSTANTIATE(double)
HASHGCN_INSTANTIATE(core::float16)
HASHGCN_INSTANTIATE(core::bfloat16)

}  // namespace hashgcn::cuda

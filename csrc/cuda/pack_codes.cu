#include "../core/codes.h"
#include "../core/errors.h"
#include "../core/slopes.h"
#include "pack_codes.h"
#include "packs.cuh"

namespace hashgcn::cuda {

// A thread packs one byte: the values it reads are neighbours in memory, and so are the bytes that
// the threads of a warp write (devices are little-endian).
template <class T>
static __global__ void pack_codes_kernel(const T* x, uint8_t* bytes, int64_t rows,
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
    byte |= unsigned(core::is_plus(x_k)) << (k - first);
  }
  bytes[i] = uint8_t(byte);
  if (bad) atomicOr(errors, signs ? core::kNotSigns : core::kNan);
}

// Rows of whole words: bit i of the words is the sign of element i. A thread has 16 bytes of x; the
// threads of 32 elements join their bits.
template <class T>
static __global__ void pack_whole_words_kernel(const T* x, uint32_t* halves, int64_t count,
                                               bool signs, unsigned int* errors) {
  constexpr int kCount = kWide<T>;
  const int64_t first = element_index() * kCount;
  const Pack<T, kCount> pack = load_pack<kCount>(x + first, count - first);
  uint32_t bits = 0;
  bool bad = false;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const auto value = core::load(pack.values[i]);
    bad |= first < count && (signs ? value != 1 && value != -1 : value != value);
    bits |= uint32_t(core::is_plus(pack.values[i])) << ((first + i) % 32);
  }
  for (int step = 1; step < 32 / kCount; step *= 2) bits |= __shfl_xor_sync(~0u, bits, step);
  if (bad) atomicOr(errors, signs ? core::kNotSigns : core::kNan);
  if (first < count && first % 32 == 0) halves[first / 32] = bits;
}

template <class T>
void pack_codes(const T* x, uint64_t* words, int64_t rows, int64_t code_length, bool signs,
                unsigned int* errors, cudaStream_t stream) {
  const int64_t count = rows * core::words_per_code(code_length) * 8;
  if (count == 0) return;
  if (code_length % 64 == 0 && begin_at_16_bytes(x)) {
    pack_whole_words_kernel<<<pack_grid(rows * code_length, kWide<T>), kThreads, 0, stream>>>(
        x, reinterpret_cast<uint32_t*>(words), rows * code_length, signs, errors);
    check_launch();
    return;
  }
  pack_codes_kernel<<<element_grid(count), kThreads, 0, stream>>>(
      x, reinterpret_cast<uint8_t*>(words), rows, code_length, signs, errors);
  check_launch();
}

// A thread packs one word of every plane.
template <class T>
static __global__ void pack_weights_kernel(const T* x, uint64_t* words, int64_t rows,
                                           int64_t code_length, int planes, unsigned int* errors) {
  const int64_t row_words = core::words_per_code(code_length), i = element_index();
  if (i >= rows * row_words) return;
  const int64_t row = i / row_words, word = i % row_words;
  const int bound = (1 << planes) - 1;
  bool bad = false;
  for (int p = 0; p < planes; ++p) {
    uint64_t bits = 0;
    for (int64_t k = 64 * word; k < 64 * (word + 1) && k < code_length; ++k) {
      const T weight = x[row * code_length + k];
      const bool inside = weight >= -bound && weight <= bound;  // not if it is NaN
      const int index = inside ? (int(weight) + bound) / 2 : 0;
      bad |= T(2 * index - bound) != weight;
      bits |= uint64_t(index >> p & 1) << (k % 64);
    }
    words[(row * planes + p) * row_words + word] = bits;
  }
  if (bad) atomicOr(errors, core::kNotWeights);
}

template <class T>
void pack_weights(const T* x, uint64_t* words, int64_t rows, int64_t code_length, int planes,
                  unsigned int* errors, cudaStream_t stream) {
  const int64_t count = rows * core::words_per_code(code_length);
  if (count == 0) return;
  pack_weights_kernel<<<element_grid(count), kThreads, 0, stream>>>(x, words, rows, code_length,
                                                                    planes, errors);
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

HASHGCN_FOR_ELEMENTS(pack_codes)
HASHGCN_FOR_ELEMENTS(unpack_codes)
HASHGCN_FOR_FLOATS(pack_weights)

}  // namespace hashgcn::cuda

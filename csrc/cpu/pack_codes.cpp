#include "pack_codes.h"

#include "../core/codes.h"
#include "../core/sign_swish.h"

namespace hashgcn::cpu::HASHGCN_ISA {

template <class T>
bool pack_codes(const T* x, uint64_t* words, int64_t code_length, int64_t begin, int64_t end) {
  const int64_t row_words = core::words_per_code(code_length);
  int nan = 0;
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t w = 0; w < row_words; ++w) {
      const T* values = x + row * code_length + w * 64;
      const int64_t left = code_length - w * 64;
      const int64_t count = left < 64 ? left : 64;
      // Bits are gathered a byte at a time: the inner loop of eight unrolls without dependences.
      uint64_t word = 0;
      int64_t bit = 0;
      for (; bit + 8 <= count; bit += 8) {
        unsigned byte = 0;
        for (int j = 0; j < 8; ++j) {
          const auto value = core::load(values[bit + j]);
          nan |= value != value;
          byte |= unsigned(core::is_plus(values[bit + j])) << j;
        }
        word |= uint64_t(byte) << bit;
      }
      for (; bit < count; ++bit) {
        const auto value = core::load(values[bit]);
        nan |= value != value;
        word |= uint64_t(core::is_plus(values[bit])) << bit;
      }
      words[row * row_words + w] = word;
    }
  }
  return !nan;
}

template <class T>
void unpack_codes(const uint64_t* words, T* x, int64_t code_length, int64_t begin, int64_t end) {
  const int64_t row_words = core::words_per_code(code_length);
  const T plus = core::store<T>(1), minus = core::store<T>(-1);
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t k = 0; k < code_length; ++k) {
      const uint64_t word = words[row * row_words + k / 64];
      x[row * code_length + k] = (word >> (k % 64)) & 1 ? plus : minus;
    }
  }
}

#define HASHGCN_INSTANTIATE(T)                                                 \
  template bool pack_codes<T>(const T*, uint64_t*, int64_t, int64_t, int64_t); \
  template void unpack_codes<T>(const uint64_t*, T*, int64_t, int64_t, int64_t);
HASHGCN_INSTANTIATE(float)
HASHGCN_INSTANTIATE(double)
HASHGCN_INSTANTIATE(core::float16)
HASHGCN_INSTANTIATE(core::bfloat16)

}  // namespace hashgcn::cpu::HASHGCN_ISA

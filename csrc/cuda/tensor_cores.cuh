// Products of small matrices on tensor cores, kept as exact as float32 sums.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace hashgcn::cuda {

// sum += a b by a warp: a [16, 16], b [16, 8] of bfloat16, two in a register, sum [16, 8]. Of lane
// 4 g + t, rows of a and sum are g, g + 8; inner indices 2t, 2t + 1, 2t + 8, 2t + 9; the column of
// b is g, those of sum 2t, 2t + 1. Registers of a: (g, first two), (g + 8, first two), (g, last
// two), (g + 8, last two); of b: first two, last two; of sum: row g, then row g + 8.
static __device__ __forceinline__ void multiply_add(float (&sum)[4], const uint32_t (&a)[4],
                                                    const uint32_t (&b)[2]) {
#if defined(HASHGCN_EMULATED_MMA)
  emulated_mma(sum, a, b);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

static __device__ __forceinline__ uint32_t float_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

// Two numbers as three bfloat16 each, whose sum they are: 24 bits of mantissa in parts of 8.
static __device__ __forceinline__ void split(float x, float y, uint32_t (&parts)[3]) {
#pragma unroll
  for (int p = 0; p < 3; ++p) {
    const uint32_t x_part = float_bits(x) & 0xffff0000, y_part = float_bits(y) & 0xffff0000;
    parts[p] = x_part >> 16 | y_part;
    float high;
    memcpy(&high, &x_part, sizeof high);
    x -= high;
    memcpy(&high, &y_part, sizeof high);
    y -= high;
  }
}

// Signs of two numbers as bfloat16, +1 where bit `at` is set; `at` is known when compiling.
static __device__ __forceinline__ uint32_t signs_of(uint64_t x, uint64_t y, int at) {
  const uint32_t minus = uint32_t(~x >> at & 1) << 15 | uint32_t(~y >> at & 1) << 31;
  return 0x3f803f80 | minus;
}

}  // namespace hashgcn::cuda

// Neighbouring elements that a thread loads and stores at once.
#pragma once

#include "launch.h"

namespace hashgcn::cuda {

template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T values[kCount];
};

// As many as a load of 16 bytes has.
template <class T>
constexpr int kWide = 16 / sizeof(T);

// Blocks for `count` elements, `pack` of them a thread.
inline unsigned pack_grid(int64_t count, int pack) {
  return element_grid((count + pack - 1) / pack);
}

template <class... T>
bool begin_at_16_bytes(const T*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

// The first `left` of a pack at least; zeros behind them.
template <int kCount, class T>
static __device__ __forceinline__ Pack<T, kCount> load_pack(const T* from, int64_t left) {
  if (left >= kCount) return *reinterpret_cast<const Pack<T, kCount>*>(from);
  Pack<T, kCount> pack{};
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    if (i < left) pack.values[i] = from[i];
  }
  return pack;
}

template <int kCount, class T>
static __device__ __forceinline__ void store_pack(const Pack<T, kCount>& pack, T* to,
                                                  int64_t left) {
  if (left >= kCount) {
    *reinterpret_cast<Pack<T, kCount>*>(to) = pack;
    return;
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    if (i < left) to[i] = pack.values[i];
  }
}

}  // namespace hashgcn::cuda

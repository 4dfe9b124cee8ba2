// What the CUDA compiler and runtime provide, as far as csrc/cuda and csrc/torch use it, on top of
// emulator.h. Test only. A stream runs its work at once; device memory is host memory.
#pragma once

#include <math.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "emulator.h"
#include "memory.h"

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))

// Types.
#define HASHGCN_VECTORS(T, name, bytes)                                \
  struct alignas(bytes / 2 < 16 ? bytes / 2 : 16) name##2 { T x, y; }; \
  struct alignas(16) name##4 { T x, y, z, w; };                        \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }           \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
HASHGCN_VECTORS(int, int, 16)
HASHGCN_VECTORS(unsigned, uint, 16)
HASHGCN_VECTORS(float, float, 16)
HASHGCN_VECTORS(double, double, 32)
HASHGCN_VECTORS(long long, longlong, 32)
HASHGCN_VECTORS(unsigned long long, ulonglong, 32)
#undef HASHGCN_VECTORS

// Indices.
#define threadIdx (emulated::position().thread)
#define blockIdx (emulated::position().block)
#define blockDim (emulated::current().block)
#define gridDim (emulated::current().grid)
constexpr int warpSize = emulated::kWarp;

namespace emulated {

// Not instrumented: what the check says of it has been said.
template <class T>
__attribute__((no_sanitize("thread"))) T plain_load(const T* from) {
  return *from;
}
template <class T>
__attribute__((no_sanitize("thread"))) void plain_store(T* to, T value) {
  *to = value;
}

template <class T, class Change>
__attribute__((noinline)) T atomic(T* at, const Change& change) {
  check_access(at, sizeof(T), Access::kAtomic, __builtin_return_address(0));
  const T before = plain_load(at);
  plain_store(at, change(before));
  return before;
}

template <class T>
uint64_t to_word(T value) {
  static_assert(sizeof(T) <= 8);
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof value);
  return word;
}
template <class T>
T from_word(uint64_t word) {
  T value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

template <class T>
using same_t = std::common_type_t<T>;  // not deduced

// A lane's value; asking for one that is not of the mask is an error.
template <class T>
T shuffle(unsigned mask, T value, unsigned source, const char* function, const Place& place) {
  const uint64_t* values = exchange(mask, to_word(value), function, place);
  if (!((mask >> source) & 1)) {
    fail(std::string(function) + " reads a lane that is not of the mask", place);
  }
  return from_word<T>(plain_load(values + source));
}

template <class T, class Join>
T join(unsigned mask, T value, const char* function, const Place& place, const Join& join_two) {
  const uint64_t* values = exchange(mask, to_word(value), function, place);
  bool first = true;
  T result{};
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (!((mask >> lane) & 1)) continue;
    const T other = from_word<T>(plain_load(values + lane));
    result = first ? other : join_two(result, other);
    first = false;
  }
  return result;
}

inline unsigned lane() { return position().linear % kWarp; }

}  // namespace emulated

// The caller's line, as the last argument.
#define HASHGCN_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

// Barriers.
inline void __syncthreads(HASHGCN_PLACE) {
  emulated::barrier(emulated::Vote::kNone, 0, {file, line});
}
inline int __syncthreads_count(int value, HASHGCN_PLACE) {
  return emulated::barrier(emulated::Vote::kCount, value, {file, line});
}
inline int __syncthreads_and(int value, HASHGCN_PLACE) {
  return emulated::barrier(emulated::Vote::kAnd, value, {file, line});
}
inline int __syncthreads_or(int value, HASHGCN_PLACE) {
  return emulated::barrier(emulated::Vote::kOr, value, {file, line});
}
inline void __syncwarp(unsigned mask = ~0u, HASHGCN_PLACE) {
  emulated::exchange(mask, 0, __func__, {file, line});
}

// Warps.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, HASHGCN_PLACE) {
  const unsigned first = emulated::lane() & ~unsigned(width - 1);
  return emulated::shuffle(mask, value, first + (unsigned(source) & unsigned(width - 1)), __func__,
                           {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, HASHGCN_PLACE) {
  const unsigned lane = emulated::lane(), first = lane & ~unsigned(width - 1);
  return emulated::shuffle(mask, value, lane - first >= delta ? lane - delta : lane, __func__,
                           {file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, HASHGCN_PLACE) {
  const unsigned lane = emulated::lane(), end = (lane & ~unsigned(width - 1)) + unsigned(width);
  return emulated::shuffle(mask, value, lane + delta < end ? lane + delta : lane, __func__,
                           {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = warpSize, HASHGCN_PLACE) {
  const unsigned lane = emulated::lane(), end = (lane & ~unsigned(width - 1)) + unsigned(width);
  const unsigned source = lane ^ unsigned(bits);
  return emulated::shuffle(mask, value, source < end ? source : lane, __func__, {file, line});
}
inline unsigned __ballot_sync(unsigned mask, int value, HASHGCN_PLACE) {
  return emulated::join(mask, unsigned(value != 0) << emulated::lane(), __func__, {file, line},
                        [](unsigned a, unsigned b) { return a | b; });
}
inline int __any_sync(unsigned mask, int value, HASHGCN_PLACE) {
  return __ballot_sync(mask, value, file, line) != 0;
}
inline int __all_sync(unsigned mask, int value, HASHGCN_PLACE) {
  return __ballot_sync(mask, value, file, line) == mask;
}
#define HASHGCN_REDUCE(name, T, expression)                          \
  inline T name(unsigned mask, T value, HASHGCN_PLACE) {             \
    return emulated::join(mask, value, __func__, {file, line},       \
                          [](T a, T b) -> T { return expression; }); \
  }
HASHGCN_REDUCE(__reduce_add_sync, unsigned, a + b)
HASHGCN_REDUCE(__reduce_min_sync, unsigned, a < b ? a : b)
HASHGCN_REDUCE(__reduce_max_sync, unsigned, a < b ? b : a)
HASHGCN_REDUCE(__reduce_or_sync, unsigned, a | b)
#undef HASHGCN_REDUCE

// What csrc/cuda/tensor_cores.cuh does in PTX, in its layout; sums are float32, in order.
#define HASHGCN_EMULATED_MMA
inline void emulated_mma(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                         HASHGCN_PLACE) {
  uint64_t words[3][emulated::kWarp];  // of every lane: a's rows g and g + 8 twice, then b
  const uint64_t own[3] = {uint64_t(a[1]) << 32 | a[0], uint64_t(a[3]) << 32 | a[2],
                           uint64_t(b[1]) << 32 | b[0]};
  for (int i = 0; i < 3; ++i) {
    const uint64_t* values = emulated::exchange(~0u, own[i], __func__, {file, line});
    for (unsigned l = 0; l < emulated::kWarp; ++l) words[i][l] = emulated::plain_load(values + l);
  }
  // Element `at` of the four bfloat16 in a word.
  const auto number = [](uint64_t word, unsigned at) {
    return emulated::from_word<float>(uint64_t(uint16_t(word >> 16 * at)) << 16);
  };
  const unsigned g = emulated::lane() / 4, t = emulated::lane() % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned column = 2 * t + i % 2, high_row = i / 2;
    for (unsigned k = 0; k < 16; ++k) {
      const unsigned lane = k % 8 / 2;  // of the four that hold the inner index
      const float x = number(words[k / 8][4 * g + lane], 2 * high_row + k % 2);
      sum[i] += x * number(words[2][4 * column + lane], k / 8 * 2 + k % 2);
    }
  }
}

// Atomic operations.
#define HASHGCN_ATOMIC(name, expression)                                 \
  template <class T>                                                     \
  __forceinline__ T name(T* at, emulated::same_t<T> value) {             \
    return emulated::atomic(at, [&](T old) -> T { return expression; }); \
  }
HASHGCN_ATOMIC(atomicAdd, old + value)
HASHGCN_ATOMIC(atomicSub, old - value)
HASHGCN_ATOMIC(atomicExch, (void(old), value))
HASHGCN_ATOMIC(atomicMin, old < value ? old : value)
HASHGCN_ATOMIC(atomicMax, old < value ? value : old)
HASHGCN_ATOMIC(atomicAnd, old& value)
HASHGCN_ATOMIC(atomicOr, old | value)
HASHGCN_ATOMIC(atomicXor, old ^ value)
#undef HASHGCN_ATOMIC
template <class T>
__forceinline__ T atomicCAS(T* at, emulated::same_t<T> compare, emulated::same_t<T> value) {
  return emulated::atomic(at, [&](T old) { return old == compare ? value : old; });
}

// Arithmetic. Kernels are compiled without contraction into fused multiply-adds.
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll((unsigned long long)(x)); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __int2float_rn(int x) { return float(x); }
template <class T>
__forceinline__ T __ldg(const T* from) {
  return *from;
}

// The runtime.
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidConfiguration = 9 };
using cudaStream_t = struct EmulatedStream*;
enum cudaMemcpyKind { cudaMemcpyDeviceToHost };
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone };
enum cudaStreamCaptureMode { cudaStreamCaptureModeRelaxed };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount };

cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
// A small device, so that small samples have more queries, rows and items than it holds at once.
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 3;
  return cudaSuccess;
}
template <class Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel, int, size_t) {
  *blocks = 2;
  return cudaSuccess;
}
inline cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) {
  return cudaSuccess;
}
template <class T>
cudaError_t cudaGetSymbolAddress(void** address, T& symbol) {
  *address = &symbol;
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind,
                                   cudaStream_t) {
  std::memcpy(to, from, size);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t size, cudaStream_t) {
  std::memset(to, value, size);
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

// kernel<<<grid, block, dynamic_shared, stream>>>(arguments), which translate.py rewrites to this.
void emulate_launch(const char* kernel, const std::function<void()>& thread, dim3 grid, dim3 block,
                    size_t dynamic_shared = 0, cudaStream_t stream = nullptr);

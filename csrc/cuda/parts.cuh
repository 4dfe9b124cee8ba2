// A sum that is split among blocks: how many parts fill the device, a block's part, and the sum of
// the parts in their order.
#pragma once

#include "launch.h"

namespace hashgcn::cuda {

// Tiles that hold `count`, the last one perhaps in part.
inline int64_t tiles_of(int64_t count, int64_t tile) { return (count + tile - 1) / tile; }

// Parts of a sum over `num_tiles` tiles whose results take `blocks` blocks for each part, of which
// the device holds `at_once`: as many as fill it once, at least one. Floats depend on the number of
// parts in their last bits, so that only devices of one kind give the same bits.
inline int64_t num_parts(int64_t blocks, int64_t num_tiles, int64_t at_once) {
  const int64_t wanted = blocks > 0 ? at_once / blocks : 1;
  return wanted < 1 || num_tiles < 1 ? 1 : wanted < num_tiles ? wanted : num_tiles;
}

// Numbers of scratch for `parts` sums of `count` numbers: none for one, which needs no adding up.
inline int64_t parts_scratch(int64_t parts, int64_t count) { return parts > 1 ? parts * count : 0; }

struct Part {
  int64_t begin, end;
};

// One of `parts` parts of [0, count), whole tiles but for the last one; the last parts may be
// empty.
static __device__ __forceinline__ Part part_of(int64_t part, int64_t parts, int64_t count,
                                               int tile) {
  const int64_t size = ((count + parts - 1) / parts + tile - 1) / tile * tile;
  const int64_t begin = part * size < count ? part * size : count;
  return {begin, count - begin < size ? count : begin + size};
}

template <class T>
static __global__ void sum_parts_kernel(const T* sums, int64_t parts, T* out, int64_t count) {
  const int64_t i = element_index();
  if (i >= count) return;
  T sum = 0;
#pragma unroll 8
  for (int64_t part = 0; part < parts; ++part) sum += sums[part * count + i];
  out[i] = sum;
}

// out [count] = sum over parts of sums [parts, count].
template <class T>
void sum_parts(const T* sums, int64_t parts, T* out, int64_t count, cudaStream_t stream) {
  sum_parts_kernel<<<element_grid(count), kThreads, 0, stream>>>(sums, parts, out, count);
  check_launch();
}

}  // namespace hashgcn::cuda

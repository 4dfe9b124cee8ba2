// A warp looks at codes 32 at a time: one a lane from memory, then all of them by every lane.
#pragma once

#include "../core/codes.h"
#include "launch.h"

namespace hashgcn::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = ~0u;

// A code of the lane's own, in registers; zeros if there is none.
template <int kWords>
struct Code {
  uint64_t words[kWords];

  __device__ Code(const uint64_t* codes, int64_t row, bool exists) {
#pragma unroll
    for (int w = 0; w < kWords; ++w) words[w] = exists ? codes[row * kWords + w] : 0;
  }
  __device__ int distance(const uint64_t* other) const {
    int sum = 0;
#pragma unroll
    for (int w = 0; w < kWords; ++w) sum += core::popcount(words[w] ^ other[w]);
    return sum;
  }
};

// Calls visit(first, tile) for each 32 of the rows [begin, end); tile[j] is the code of first + j,
// zeros from `end` on. Every lane of the warp has to come; `tile` is the warp's shared memory.
template <int kWords, class Visit>
static __device__ __forceinline__ void for_each_tile(const uint64_t* codes, int64_t begin,
                                                     int64_t end, uint64_t (*tile)[kWords],
                                                     const Visit& visit) {
  const int lane = threadIdx.x % kWarp;
  for (int64_t first = begin; first < end; first += kWarp) {
    const Code<kWords> mine(codes, first + lane, first + lane < end);
    __syncwarp();
#pragma unroll
    for (int w = 0; w < kWords; ++w) tile[lane][w] = mine.words[w];
    __syncwarp();
    visit(first, tile);
  }
}

// Calls visit(j, distance) for the 32 codes of a tile, in order.
template <int kWords, class Visit>
static __device__ __forceinline__ void for_each_distance(const Code<kWords>& code,
                                                         const uint64_t (*tile)[kWords],
                                                         const Visit& visit) {
  constexpr int kAhead = 4;  // codes that are read before the next visits write
#pragma unroll 2
  for (int j = 0; j < kWarp; j += kAhead) {
    int distance[kAhead];
#pragma unroll
    for (int a = 0; a < kAhead; ++a) distance[a] = code.distance(tile[j + a]);
#pragma unroll
    for (int a = 0; a < kAhead; ++a) visit(j + a, distance[a]);
  }
}

}  // namespace hashgcn::cuda

// Kernels that show what the emulator finds: right ones, and the same with a fault each.
#include <stdexcept>
#include <string>

#include "../cuda/launch.h"

namespace {

constexpr int kBlock = 96;

// out[t] = value of the neighbour t + 1, by way of shared memory.
__global__ void rotate(const int* x, int* out, bool synchronise) {
  __shared__ int tile[kBlock];
  tile[threadIdx.x] = x[threadIdx.x];
  if (synchronise) __syncthreads();
  out[threadIdx.x] = tile[(threadIdx.x + 1) % kBlock];
}

// The same in global memory, whose old values every thread has to read before one writes.
__global__ void rotate_in_place(int* out, bool synchronise) {
  const int next = out[(threadIdx.x + 1) % kBlock];
  if (synchronise) __syncthreads();
  out[threadIdx.x] = next;
}

// A tree of sums whose last steps are one warp's own.
__global__ void sum_of_64(const int* x, int* out, bool synchronise) {
  __shared__ int sums[32];
  if (threadIdx.x >= 32) return;
  sums[threadIdx.x] = x[threadIdx.x] + x[threadIdx.x + 32];
  for (int step = 16; step > 0; step /= 2) {
    if (synchronise) __syncwarp();
    const int other = sums[(threadIdx.x + step) % 32];
    if (synchronise) __syncwarp();
    if (int(threadIdx.x) < step) sums[threadIdx.x] += other;
  }
  if (threadIdx.x == 0) *out = sums[0];
}

__global__ void diverge(int* out) {
  if (threadIdx.x == 5) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void two_barriers(int* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 1;
}

__global__ void shuffle(int* out, unsigned mask, int lanes, int source) {
  const int lane = threadIdx.x % 32;
  if (lane < lanes) out[threadIdx.x] = __shfl_sync(mask, int(threadIdx.x), source);
}

__global__ void warp_functions(const int* x, int* out) {
  const int value = x[threadIdx.x], lane = threadIdx.x % 32;
  int sum = value;
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  const int before = __shfl_up_sync(~0u, value, 1), after = __shfl_down_sync(~0u, value, 1);
  const unsigned odd = __ballot_sync(~0u, value & 1);
  bool right = unsigned(sum) == __reduce_add_sync(~0u, unsigned(value));
  right &= before == x[threadIdx.x - (lane > 0)] && after == x[threadIdx.x + (lane < 31)];
  right &= ((odd >> lane) & 1) == unsigned(value & 1) && __any_sync(~0u, value & 1) == (odd != 0);
  right &= !__all_sync(~0u, value & 1);
  right &= __shfl_sync(~0u, value, 3, 8) == x[threadIdx.x / 8 * 8 + 3];
  right &= __syncthreads_count(lane == 0) == kBlock / 32 && __syncthreads_and(right);
  out[threadIdx.x] = right && !__syncthreads_or(!right);
}

__global__ void read_shared(int* out, int size, int at) {
  extern __shared__ int tile[];
  __shared__ int after[kBlock];
  if (threadIdx.x == 0) {
    for (int i = 0; i < size; ++i) tile[i] = after[i] = i;
  }
  __syncthreads();
  out[threadIdx.x] = tile[at];
}

__global__ void read_global(const int* x, int* out, int at) { out[threadIdx.x] = x[at]; }

__global__ void count(int* counter, bool atomically) {
  if (atomically) {
    atomicAdd(counter, 1);
  } else {
    *counter += 1;
  }
}

// Each block writes what the next one reads.
__global__ void pass_on(int* x, int* out) {
  out[blockIdx.x] = x[blockIdx.x];
  x[blockIdx.x + 1] = 7;
}

// Whether the start of a float array of four happens to suit a vector.
__global__ void align(int* out) {
  __shared__ float tile[4];
  alignas(16) __shared__ float aligned[4];
  const auto remainder = [](const float* at) { return int(reinterpret_cast<uintptr_t>(at) % 16); };
  out[threadIdx.x] = remainder(tile) != 0 && remainder(aligned) == 0;
}

void run(const std::string& name, int* x, int* out) {
  const size_t bytes = 16 * sizeof(int);
  if (name == "rotate") rotate<<<1, kBlock>>>(x, out, true);
  if (name == "rotate without a barrier") rotate<<<1, kBlock>>>(x, out, false);
  if (name == "rotate in place") rotate_in_place<<<1, kBlock>>>(out, true);
  if (name == "rotate in place without a barrier") rotate_in_place<<<1, kBlock>>>(out, false);
  if (name == "sum") sum_of_64<<<1, 64>>>(x, out, true);
  if (name == "sum without warp barriers") sum_of_64<<<1, 64>>>(x, out, false);
  if (name == "a thread ends before a barrier") diverge<<<1, kBlock>>>(out);
  if (name == "two barriers") two_barriers<<<1, kBlock>>>(out);
  if (name == "warp functions") warp_functions<<<1, kBlock>>>(x, out);
  if (name == "a lane is missing") shuffle<<<1, kBlock>>>(out, ~0u, 31, 0);
  if (name == "a lane outside the mask is read") shuffle<<<1, kBlock>>>(out, 0xffffu, 16, 20);
  if (name == "a lane outside the mask calls") shuffle<<<1, kBlock>>>(out, 0xffffu, 17, 0);
  if (name == "half a warp") shuffle<<<1, kBlock>>>(out, 0xffffu, 16, 3);
  if (name == "shared memory") read_shared<<<1, kBlock, bytes>>>(out, 16, 15);
  if (name == "behind shared memory") read_shared<<<1, kBlock, bytes>>>(out, 16, 16);
  if (name == "before shared memory") read_shared<<<1, kBlock, bytes>>>(out, 16, -1);
  if (name == "shared memory that is not written") read_shared<<<1, kBlock, bytes>>>(out, 15, 15);
  if (name == "behind global memory") read_global<<<1, kBlock>>>(x, out, kBlock);
  if (name == "before global memory") read_global<<<1, kBlock>>>(x, out, -1);
  if (name == "alignment") align<<<1, kBlock>>>(out);
  if (name == "atomic count") count<<<3, kBlock>>>(out, true);
  if (name == "count") count<<<3, kBlock>>>(out, false);
  if (name == "blocks that race") pass_on<<<3, 1>>>(x, out);
  if (name == "too many threads") rotate<<<1, 1025>>>(x, out, true);
  if (name == "too much shared memory") read_shared<<<1, kBlock, 48 * 1024 + 4>>>(out, 16, 15);
  if (name == "shared memory of both kinds") {
    read_shared<<<1, kBlock, 48 * 1024 - 4>>>(out, 16, 15);
  }
  hashgcn::cuda::check_launch();
}

}  // namespace

// Runs a case on 96 numbers each; returns what it threw, or null.
extern "C" __attribute__((visibility("default"))) const char* hashgcn_emulated_case(
    const char* name, int* x, int* out) {
  static std::string error;
  try {
    run(name, x, out);
    return nullptr;
  } catch (const std::exception& raised) {
    error = raised.what();
    return error.c_str();
  }
}

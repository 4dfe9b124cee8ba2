// What a GPU does in a second: loops that do one thing each, timed by CUDA events, for
// facts.py.
//
// One block has each multiprocessor to itself, so that cycles, which its first thread counts, are
// those in which the multiprocessor did operations / multiprocessors of the loop's operations. Sums
// leave each kernel; those of the products and atomics have to be what they should be.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace {

constexpr int kWrong = -1, kOtherArchitecture = -2;  // beside the codes of cudaError_t
constexpr int kRepeats = 5;
constexpr int kChains = 8;  // independent operations of a thread, which hide latency

struct Out {
  long long* cycles;  // of each block
  uint32_t* sums;     // of each thread
};

__device__ long long begin() {
  __syncthreads();
  return clock64();
}

__device__ void finish(Out out, long long started, uint32_t sum) {
  __syncthreads();
  if (threadIdx.x == 0) out.cycles[blockIdx.x] = clock64() - started;
  out.sums[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

__global__ void __launch_bounds__(1024) popcounts(int rounds, uint32_t seed, Out out) {
  uint32_t x[kChains];
  for (int i = 0; i < kChains; ++i) x[i] = seed * (threadIdx.x * kChains + i);
  const long long started = begin();
  for (int r = 0; r < rounds; ++r) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) x[i] = __popc(x[i]) + seed;
  }
  uint32_t sum = 0;
  for (int i = 0; i < kChains; ++i) sum += x[i];
  finish(out, started, sum);
}

__global__ void __launch_bounds__(1024) multiply_adds(int rounds, float factor, Out out) {
  float x[kChains];
  for (int i = 0; i < kChains; ++i) x[i] = float(threadIdx.x * kChains + i);
  const long long started = begin();
  for (int r = 0; r < rounds; ++r) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) x[i] = fmaf(x[i], factor, factor);
  }
  float sum = 0;
  for (int i = 0; i < kChains; ++i) sum += x[i];
  finish(out, started, __float_as_uint(sum));
}

__global__ void __launch_bounds__(1024) special_functions(int rounds, Out out) {
  float x[kChains];
  for (int i = 0; i < kChains; ++i) x[i] = -float(threadIdx.x * kChains + i);
  const long long started = begin();
  for (int r = 0; r < rounds; ++r) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) asm volatile("ex2.approx.ftz.f32 %0, %0;" : "+f"(x[i]));
  }
  float sum = 0;
  for (int i = 0; i < kChains; ++i) sum += x[i];
  finish(out, started, __float_as_uint(sum));
}

// Reads `count` vectors, a power of two, again and again, past the first cache.
__global__ void __launch_bounds__(1024)
    l2_reads(int rounds, const uint4* vectors, uint32_t count, Out out) {
  const uint32_t threads = gridDim.x * blockDim.x;
  uint32_t at = blockIdx.x * blockDim.x + threadIdx.x, sum = 0;
  const long long started = begin();
#pragma unroll 1
  for (int r = 0; r < rounds; ++r) {
    uint4 v[kChains];
#pragma unroll
    for (int i = 0; i < kChains; ++i, at += threads) v[i] = __ldcg(&vectors[at & (count - 1)]);
#pragma unroll
    for (int i = 0; i < kChains; ++i) sum += v[i].x ^ v[i].y ^ v[i].z ^ v[i].w;
  }
  finish(out, started, sum);
}

// Products of bits, a and b uniform: each of a thread's kChains x 4 sums grows by 128 a round.
__global__ void __launch_bounds__(512)
    bit_products_mma(int rounds, uint32_t a, uint32_t b, Out out) {
  int d[kChains][4] = {};
  const long long started = begin();
  for (int r = 0; r < rounds; ++r) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) {
      asm volatile(
          "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0, %1, %2, %3}, "
          "{%4, %4, %4, %4}, {%5, %5}, {%0, %1, %2, %3};"
          : "+r"(d[i][0]), "+r"(d[i][1]), "+r"(d[i][2]), "+r"(d[i][3])
          : "r"(a), "r"(b));
    }
  }
  uint32_t sum = 0;
  for (int i = 0; i < kChains; ++i) sum += d[i][0] + d[i][1] + d[i][2] + d[i][3];
  finish(out, started, sum);
}

constexpr int kWarpgroups = 2;
constexpr int kProducts = 8;  // of a warpgroup and round

#define EIGHT(i)                                                                              \
  "+r"(d[i]), "+r"(d[i + 1]), "+r"(d[i + 2]), "+r"(d[i + 3]), "+r"(d[i + 4]), "+r"(d[i + 5]), \
      "+r"(d[i + 6]), "+r"(d[i + 7])

// The same by wgmma, both matrices in shared memory: each of a thread's 128 sums grows by 128 for
// each product. Matrices are in blocks of 8 rows of 16 bytes, the second block of columns 128 bytes
// and the next rows 256 bytes away.
__global__ void __launch_bounds__(128 * kWarpgroups)
    bit_products_wgmma(int rounds, uint32_t a, uint32_t b, Out out) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int kWordsA = 64 * 256 / 32, kWordsB = 256 * 256 / 32;
  __shared__ alignas(128) uint32_t matrix_a[kWordsA];
  __shared__ alignas(128) uint32_t matrix_b[kWordsB];
  for (int i = threadIdx.x; i < kWordsA; i += blockDim.x) matrix_a[i] = a;
  for (int i = threadIdx.x; i < kWordsB; i += blockDim.x) matrix_b[i] = b;
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  const auto descriptor = [](const uint32_t* matrix) {
    const uint64_t address = __cvta_generic_to_shared(matrix);
    return (address & 0x3ffff) >> 4 | uint64_t(128 >> 4) << 16 | uint64_t(256 >> 4) << 32;
  };
  const uint64_t at_a = descriptor(matrix_a), at_b = descriptor(matrix_b);
  uint32_t d[128];
#pragma unroll
  for (int i = 0; i < 128; ++i) d[i] = 0;
  const long long started = begin();
  for (int r = 0; r < rounds; ++r) {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int p = 0; p < kProducts; ++p) {
      asm volatile(
          "{.reg .pred keep; setp.eq.u32 keep, 0, 0;"
          "wgmma.mma_async.sync.aligned.m64n256k256.s32.b1.b1.and.popc "
          "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
          "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
          "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
          "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
          "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
          "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
          "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, "
          "%110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, "
          "%124, %125, %126, %127}, %128, %129, keep;}"
          : EIGHT(0), EIGHT(8), EIGHT(16), EIGHT(24), EIGHT(32), EIGHT(40), EIGHT(48), EIGHT(56),
            EIGHT(64), EIGHT(72), EIGHT(80), EIGHT(88), EIGHT(96), EIGHT(104), EIGHT(112),
            EIGHT(120)
          : "l"(at_a), "l"(at_b));
    }
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  }
  uint32_t sum = 0;
#pragma unroll
  for (int i = 0; i < 128; ++i) sum += d[i];
  finish(out, started, sum);
#endif
}

// Counts in shared memory. Step 1: the lanes of a warp add to words of 32 banks; 0: all to one
// word.
template <int kStep>
__global__ void __launch_bounds__(1024) shared_atomics(int rounds, Out out) {
  __shared__ uint32_t counts[1024];
  counts[threadIdx.x] = 0;
  const uint32_t first = (threadIdx.x & ~31u) + (threadIdx.x & 31u) * kStep;
  const long long started = begin();
  for (int r = 0; r < rounds; ++r) atomicAdd(&counts[(first + 32 * r) & 1023], 1u);
  __syncthreads();
  finish(out, started, counts[threadIdx.x]);
}

int multiprocessors() {
  int device = 0, count = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  return count;
}

// Milliseconds and cycles of the fastest of kRepeats launches, after one to warm up. `expected`:
// what the sums of all threads add up to for each block, modulo 2^32; -1 where anything goes.
template <class Launch>
int time_launches(int threads, long long expected, const Launch& launch, double* milliseconds,
                  double* cycles) {
  const int blocks = multiprocessors();
  std::vector<long long> block_cycles(blocks);
  std::vector<uint32_t> sums(size_t(blocks) * threads);
  Out out{};
  cudaEvent_t from, to;
  cudaMalloc(&out.cycles, blocks * sizeof(long long));
  cudaMalloc(&out.sums, sums.size() * sizeof(uint32_t));
  cudaEventCreate(&from);
  cudaEventCreate(&to);
  cudaError_t error = cudaGetLastError();
  bool right = true;
  *milliseconds = 1e30;
  for (int repeat = 0; repeat <= kRepeats && error == cudaSuccess; ++repeat) {
    cudaEventRecord(from);
    launch(blocks, out);
    error = cudaGetLastError();
    cudaEventRecord(to);
    if (error == cudaSuccess) error = cudaEventSynchronize(to);
    if (error != cudaSuccess || repeat == 0) continue;
    float elapsed = 0;
    cudaEventElapsedTime(&elapsed, from, to);
    if (elapsed >= *milliseconds) continue;
    *milliseconds = elapsed;
    cudaMemcpy(block_cycles.data(), out.cycles, blocks * sizeof(long long), cudaMemcpyDefault);
    error = cudaMemcpy(sums.data(), out.sums, sums.size() * sizeof(uint32_t), cudaMemcpyDefault);
    *cycles = double(*std::max_element(block_cycles.begin(), block_cycles.end()));
    for (int b = 0; expected >= 0 && b < blocks; ++b) {
      uint32_t sum = 0;
      for (int t = 0; t < threads; ++t) sum += sums[size_t(b) * threads + t];
      right = right && sum == uint32_t(expected);
    }
  }
  cudaFree(out.cycles);
  cudaFree(out.sums);
  cudaEventDestroy(from);
  cudaEventDestroy(to);
  return error != cudaSuccess ? int(error) : right ? 0 : kWrong;
}

}  // namespace

// Each returns 0 or a code for describe(), and writes what the fastest launch took and how many
// operations that were, on all multiprocessors.
#define FACT(name) extern "C" int name(double* milliseconds, double* cycles, double* operations)

extern "C" const char* describe(int code) {
  if (code == kWrong) return "the loop's sums are not what they should be";
  if (code == kOtherArchitecture) return "needs compute capability 9.0 (sm_90a)";
  return cudaGetErrorString(cudaError_t(code));
}

FACT(measure_popcounts) {
  constexpr int kRounds = 4000, kThreads = 1024;
  *operations = double(multiprocessors()) * kThreads * kChains * kRounds;
  const auto launch = [](int blocks, Out out) {
    popcounts<<<blocks, kThreads>>>(kRounds, 0x9e3779b9u, out);
  };
  return time_launches(kThreads, -1, launch, milliseconds, cycles);
}

FACT(measure_multiply_adds) {
  constexpr int kRounds = 30000, kThreads = 1024;
  *operations = double(multiprocessors()) * kThreads * kChains * kRounds;
  const auto launch = [](int blocks, Out out) {
    multiply_adds<<<blocks, kThreads>>>(kRounds, 0.999f, out);
  };
  return time_launches(kThreads, -1, launch, milliseconds, cycles);
}

FACT(measure_special_functions) {
  constexpr int kRounds = 4000, kThreads = 1024;
  *operations = double(multiprocessors()) * kThreads * kChains * kRounds;
  const auto launch = [](int blocks, Out out) {
    special_functions<<<blocks, kThreads>>>(kRounds, out);
  };
  return time_launches(kThreads, -1, launch, milliseconds, cycles);
}

// Operations are bytes, of 16 MiB: less than half of what the second cache holds.
FACT(measure_l2_bytes) {
  constexpr int kRounds = 500, kThreads = 1024, kVectors = 1 << 20;
  uint4* vectors = nullptr;
  const cudaError_t error = cudaMalloc(&vectors, kVectors * sizeof(uint4));
  if (error != cudaSuccess) return int(error);
  cudaMemset(vectors, 1, kVectors * sizeof(uint4));
  *operations = double(multiprocessors()) * kThreads * kChains * kRounds * sizeof(uint4);
  const auto launch = [vectors](int blocks, Out out) {
    l2_reads<<<blocks, kThreads>>>(kRounds, vectors, kVectors, out);
  };
  const int code = time_launches(kThreads, -1, launch, milliseconds, cycles);
  cudaFree(vectors);
  return code;
}

// Operations are pairs of bits.
FACT(measure_bit_products_mma) {
  constexpr int kRounds = 5000, kThreads = 512;
  *operations = double(multiprocessors()) * (kThreads / 32) * kChains * kRounds * (16 * 8 * 256);
  const auto launch = [](int blocks, Out out) {
    bit_products_mma<<<blocks, kThreads>>>(kRounds, 0x55555555u, 0xffffffffu, out);
  };
  const long long sum = 1ll * kThreads * kChains * 4 * 128 * kRounds;
  return time_launches(kThreads, sum & 0xffffffff, launch, milliseconds, cycles);
}

FACT(measure_bit_products_wgmma) {
  constexpr int kRounds = 1000, kThreads = 128 * kWarpgroups;
  int device = 0, major = 0, minor = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  if (major != 9 || minor != 0) return kOtherArchitecture;
  const double products = double(kWarpgroups) * kProducts * kRounds;
  *operations = double(multiprocessors()) * products * (64 * 256 * 256);
  const auto launch = [](int blocks, Out out) {
    bit_products_wgmma<<<blocks, kThreads>>>(kRounds, 0x55555555u, 0xffffffffu, out);
  };
  const long long sum = 1ll * kThreads * 128 * 128 * kProducts * kRounds;
  return time_launches(kThreads, sum & 0xffffffff, launch, milliseconds, cycles);
}

FACT(measure_shared_atomics) {
  constexpr int kRounds = 20000, kThreads = 1024;
  *operations = double(multiprocessors()) * kThreads * kRounds;
  const auto launch = [](int blocks, Out out) {
    shared_atomics<1><<<blocks, kThreads>>>(kRounds, out);
  };
  return time_launches(kThreads, 1ll * kThreads * kRounds, launch, milliseconds, cycles);
}

FACT(measure_shared_atomics_on_one_word) {
  constexpr int kRounds = 20000, kThreads = 1024;
  *operations = double(multiprocessors()) * kThreads * kRounds;
  const auto launch = [](int blocks, Out out) {
    shared_atomics<0><<<blocks, kThreads>>>(kRounds, out);
  };
  return time_launches(kThreads, 1ll * kThreads * kRounds, launch, milliseconds, cycles);
}

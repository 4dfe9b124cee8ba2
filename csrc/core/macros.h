// Qualifiers for inline maths that host and device share, and instances of kernel templates.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define HASHGCN_HD static __host__ __device__ __forceinline__
#else
// `static` and always inlined: the same header is compiled for several instruction sets, and a
// function with external linkage could be merged into the wrong one by the linker.
#define HASHGCN_HD static inline __attribute__((always_inline))
#endif

// Instances of a kernel template for the types that sums are taken in, and for all that numbers are
// stored in; further template arguments are the same for all.
#define HASHGCN_INSTANCE(...) template decltype(__VA_ARGS__) __VA_ARGS__;
#define HASHGCN_FOR_FLOATS(kernel, ...)                      \
  HASHGCN_INSTANCE(kernel<float __VA_OPT__(, ) __VA_ARGS__>) \
  HASHGCN_INSTANCE(kernel<double __VA_OPT__(, ) __VA_ARGS__>)
#define HASHGCN_FOR_ELEMENTS(kernel, ...)                            \
  HASHGCN_FOR_FLOATS(kernel __VA_OPT__(, ) __VA_ARGS__)              \
  HASHGCN_INSTANCE(kernel<core::float16 __VA_OPT__(, ) __VA_ARGS__>) \
  HASHGCN_INSTANCE(kernel<core::bfloat16 __VA_OPT__(, ) __VA_ARGS__>)

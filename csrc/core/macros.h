// Qualifiers for inline maths that host and device share.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define HASHGCN_HD static __host__ __device__ __forceinline__
#else
// `static` and always inlined: the same header is compiled for several instruction sets, and a
// function with external linkage could be merged into the wrong one by the linker.
#define HASHGCN_HD static inline __attribute__((always_inline))
#endif

// Instruction sets: every file of this folder is compiled once for each, in a namespace of its
// name.
//
// HASHGCN_KERNEL declares a kernel in all of them, HASHGCN_RUN calls the one that fits the
// processor (or the one that the environment variable HASHGCN_CPU names: "baseline" or "avx2").
// Kernels get raw pointers, sizes and a range of the work; they neither allocate nor start threads
// nor use templates of the standard library, whose instances the linker could share across
// instruction sets.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#define HASHGCN_KERNEL(...)          \
  namespace hashgcn::cpu::baseline { \
  __VA_ARGS__;                       \
  }                                  \
  namespace hashgcn::cpu::avx2 {     \
  __VA_ARGS__;                       \
  }
#define HASHGCN_RUN(...)                                          \
  (::hashgcn::cpu::has_avx2() ? ::hashgcn::cpu::avx2::__VA_ARGS__ \
                              : ::hashgcn::cpu::baseline::__VA_ARGS__)
#else
#define HASHGCN_KERNEL(...)          \
  namespace hashgcn::cpu::baseline { \
  __VA_ARGS__;                       \
  }
#define HASHGCN_RUN(...) ::hashgcn::cpu::baseline::__VA_ARGS__
#endif

namespace hashgcn::cpu {

// Decided once, at the first call. Throws std::invalid_argument if HASHGCN_CPU names another set,
// or one that the processor lacks.
bool has_avx2();

}  // namespace hashgcn::cpu

// Instruction sets: every file of this folder is compiled once for each, in a namespace of its
// name.
//
// HASHGCN_KERNEL declares a kernel in all of them, HASHGCN_RUN calls the one that fits the
// processor (or the one that the environment variable HASHGCN_CPU names). Kernels get raw pointers,
// sizes and a range of the work; they neither allocate nor start threads nor use templates of the
// standard library, whose instances the linker could share across instruction sets.
#pragma once

#include <cstdint>

#include "../core/macros.h"

#if defined(__x86_64__)
#define HASHGCN_KERNEL(...)          \
  namespace hashgcn::cpu::baseline { \
  __VA_ARGS__;                       \
  }                                  \
  namespace hashgcn::cpu::avx2 {     \
  __VA_ARGS__;                       \
  }                                  \
  namespace hashgcn::cpu::avx512 {   \
  __VA_ARGS__;                       \
  }
#define HASHGCN_RUN(...)                                                       \
  (::hashgcn::cpu::instruction_set() == ::hashgcn::cpu::InstructionSet::avx512 \
       ? ::hashgcn::cpu::avx512::__VA_ARGS__                                   \
   : ::hashgcn::cpu::instruction_set() == ::hashgcn::cpu::InstructionSet::avx2 \
       ? ::hashgcn::cpu::avx2::__VA_ARGS__                                     \
       : ::hashgcn::cpu::baseline::__VA_ARGS__)
#else
#define HASHGCN_KERNEL(...)          \
  namespace hashgcn::cpu::baseline { \
  __VA_ARGS__;                       \
  }
#define HASHGCN_RUN(...) ::hashgcn::cpu::baseline::__VA_ARGS__
#endif

namespace hashgcn::cpu {

// baseline: what every processor of the architecture has: SSE2 on x86-64, and NEON, which is then
// its name, on 64-bit Arm. avx2: with FMA, F16C, BMI and BMI2. avx512: also F, BW, DQ, VL and
// VPOPCNTDQ.
enum class InstructionSet { baseline, avx2, avx512 };
constexpr InstructionSet kInstructionSets[] = {InstructionSet::avx512, InstructionSet::avx2,
                                               InstructionSet::baseline};

// Whether the processor has it and the kernels were built for it.
bool supported(InstructionSet set);

// The best the processor has, or the one that HASHGCN_CPU names; decided once, at the first call.
// Throws std::invalid_argument if HASHGCN_CPU names another, or one that the processor lacks.
InstructionSet instruction_set();

// As HASHGCN_CPU spells it.
const char* name(InstructionSet set);

}  // namespace hashgcn::cpu

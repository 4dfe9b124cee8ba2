#include "isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace hashgcn::cpu {

const char* name(InstructionSet set) {
  switch (set) {
    case InstructionSet::avx512:
      return "avx512";
    case InstructionSet::avx2:
      return "avx2";
    default:
#if defined(__aarch64__)
      return "neon";
#else
      return "baseline";
#endif
  }
}

bool supported(InstructionSet set) {
  switch (set) {
#if defined(__x86_64__)
    case InstructionSet::avx512:
      return supported(InstructionSet::avx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vpopcntdq");
    case InstructionSet::avx2:
      __builtin_cpu_init();
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi") &&
             __builtin_cpu_supports("bmi2");
#endif
    default:
      return set == InstructionSet::baseline;
  }
}

static InstructionSet choose() {
  const char* variable = std::getenv("HASHGCN_CPU");
  const std::string wanted = variable == nullptr ? "" : variable;
  std::string known;
  for (const auto set : kInstructionSets) {
    if (!supported(set)) continue;
    if (wanted.empty() || wanted == name(set)) return set;
    known += known.empty() ? name(set) : std::string(", ") + name(set);
  }
  throw std::invalid_argument("HASHGCN_CPU: expected one of " + known + " on this processor, got " +
                              wanted);
}

InstructionSet instruction_set() {
  static const InstructionSet chosen = choose();
  return chosen;
}

}  // namespace hashgcn::cpu

#include "isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace hashgcn::cpu {

static bool choose_avx2() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool supported = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  const bool supported = false;
#endif
  const char* forced = std::getenv("HASHGCN_CPU");
  if (forced == nullptr || *forced == '\0') return supported;
  const std::string name(forced);
  if (name == "baseline") return false;
  if (name == "avx2" && supported) return true;
  throw std::invalid_argument(
      "HASHGCN_CPU: expected baseline or, where the processor has it, avx2; got " + name);
}

bool has_avx2() {
  static const bool chosen = choose_avx2();
  return chosen;
}

}  // namespace hashgcn::cpu

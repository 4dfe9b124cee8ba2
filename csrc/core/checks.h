// Errors of the user's making, and checks that both Python faces of the kernels share: Python sees
// a ValueError. Not for kernels' files: see cpu/isa.h.
#pragma once

#include <sstream>
#include <stdexcept>

#include "hamming_topk.h"

namespace hashgcn {

// Throws "hashgcn::<op>: expected <parts>", which name the argument, what was expected and what
// came.
template <class... Parts>
void require(bool condition, const char* op, const Parts&... parts) {
  if (condition) return;
  std::ostringstream message;
  message << "hashgcn::" << op << ": expected ";
  (message << ... << parts);
  throw std::invalid_argument(message.str());
}

inline void check_code_length(const char* op, int64_t code_length) {
  require(code_length >= 1 && code_length <= core::kMaxCodeLength, op, "code_length in [1, ",
          core::kMaxCodeLength, "], got ", code_length);
}

// Distances of graded queries are whole numbers of 32 bits too.
inline void check_planes(const char* op, int64_t planes, int64_t code_length) {
  const int64_t longest = core::kMaxCodeLength / core::largest_weight(planes);
  require(code_length <= longest, op, "code_length up to ", longest, " for queries of ", planes,
          " planes, got ", code_length);
}

inline void check_k(const char* op, int64_t k) {
  require(k >= 1 && k <= core::kMaxTopk, op, "k in [1, ", core::kMaxTopk, "], got ", k);
}

}  // namespace hashgcn

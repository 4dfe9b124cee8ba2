// Errors of the user's making, for both Python faces of the kernels: Python sees a ValueError.
#pragma once

#include <sstream>
#include <stdexcept>

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

}  // namespace hashgcn

// How many threads a call takes. Not for kernels' files.
#pragma once

#include <cstdint>
#include <string>

namespace hashgcn::cpu {

// Processors that this process may use: those that it may run on, and no more than the time that
// its control groups grant it, rounded up; at least one. `root` is where /proc and /sys lie. The
// groups of "" are read once.
int64_t processors(const std::string& root = "");

// The threads of a call that asks for `wanted`, never more than processors(). 0 stands for as many
// as the environment's OMP_NUM_THREADS, or else for all of them.
int64_t num_threads(int64_t wanted);

}  // namespace hashgcn::cpu

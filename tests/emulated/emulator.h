// Runs kernels on the host: blocks one by one, the threads of a block as fibers that take turns at
// barriers and warp functions. What a GPU would leave undefined is an error: a launch that throws
// names the kernel, the thread and the line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace emulated {

constexpr unsigned kWarp = 32;

// Where the kernel's source calls what may fail.
struct Place {
  const char* file;
  int line;
};

struct Launch {
  const char* kernel;
  dim3 grid, block;
  size_t dynamic_shared;
};

// The order in which blocks, and between two barriers the threads of a block, take turns: 0
// forward, 1 backward, anything else the seed of a random order that changes at every barrier.
void set_order(uint64_t order);

// Runs `thread` once for each thread. Throws std::runtime_error.
void run(const Launch& launch, const std::function<void()>& thread);

// Of the running thread; `linear` counts x first.
struct Position {
  uint3 thread, block;
  unsigned linear;
};
const Position& position();
const Launch& current();

// Whether a kernel is running.
bool in_kernel();

// Ends the launch with an error, which says where: at a place, or at the call that returns to `pc`.
[[noreturn]] void fail(const std::string& what, const Place& place);
[[noreturn]] void fail(const std::string& what, const void* pc = nullptr);

enum class Vote { kNone, kCount, kAnd, kOr };

// __syncthreads: every thread of the block has to call it from the same line.
int barrier(Vote vote, int value, const Place& place);

// What each lane of the mask gave; every lane of it has to make the same call.
const uint64_t* exchange(unsigned mask, uint64_t value, const char* function, const Place& place);

// Barriers of the running thread's block and warp so far, over all launches: accesses of two
// threads are ordered if one was counted between them.
struct Progress {
  uint32_t launch_begin, block_begin, barriers, warp_barriers;
};
Progress progress();

}  // namespace emulated

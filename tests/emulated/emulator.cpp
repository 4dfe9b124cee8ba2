#include "emulator.h"

#include <sanitizer/common_interface_defs.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "memory.h"

namespace emulated {
namespace {

constexpr unsigned kMaxThreads = 1024;
constexpr size_t kStack = 256 << 10, kGuard = 4 << 10;

enum class State { kReady, kAtBarrier, kInWarp, kDone };

using Jump = void* [5];  // of __builtin_setjmp

struct Fiber {
  State state;
  bool started;
  Jump jump;
  Place place;  // where it waits
  int vote;
  const char* function;  // of the warp, with its mask and this lane's value
  unsigned mask;
  uint64_t value;
};

struct Warp {
  uint64_t values[kWarp];
  uint32_t barriers;
};

// One launch at a time, on the thread that makes it.
std::mutex one_launch;
uint64_t order;
Launch launch;
const std::function<void()>* body;
bool running;
Position here;
std::vector<Fiber> fibers;
std::vector<Warp> warps;
char* stacks;
Jump host;
ucontext_t entry;
uint32_t launch_begin, block_begin, barriers = 1;
int votes;
std::string error;     // of the running thread
const void* error_pc;  // the instruction behind it, where `error` names no line

void allocate_stacks() {
  if (stacks != nullptr) return;
  const size_t bytes = kMaxThreads * kStack;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no memory for the stacks of a block");
  stacks = static_cast<char*>(memory);
  for (unsigned t = 0; t < kMaxThreads; ++t) mprotect(stacks + t * kStack, kGuard, PROT_NONE);
  set_stacks(stacks, stacks + bytes);
}

// The built-in jumps save the stack pointer and where to go on, and the compiler keeps nothing else
// in registers across them. The sanitizers do not see them: no instrumented frame lies between.
// Both must not be in one function. noipa: callers must not conclude that registers survive.
[[noreturn]] __attribute__((noipa)) void jump(Jump& to) { __builtin_longjmp(to, 1); }

__attribute__((noipa)) void to_host() {
  if (__builtin_setjmp(fibers[here.linear].jump) == 0) jump(host);
}

void thread_main() {
  (*body)();
  fibers[here.linear].state = State::kDone;
  to_host();
}

__attribute__((noipa)) void to_fiber() {
  if (__builtin_setjmp(host) != 0) return;
  Fiber& fiber = fibers[here.linear];
  if (fiber.started) jump(fiber.jump);
  fiber.started = true;
  getcontext(&entry);
  entry.uc_stack.ss_sp = stacks + here.linear * kStack + kGuard;
  entry.uc_stack.ss_size = kStack - kGuard;
  makecontext(&entry, thread_main, 0);
  setcontext(&entry);
}

void move_to(unsigned thread) {
  const dim3& block = launch.block;
  here.linear = thread;
  here.thread = {thread % block.x, thread / block.x % block.y, thread / block.x / block.y};
}

std::string text(const uint3& at) {
  return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) +
         ")";
}

std::string text(const Place& place) {
  return std::string(place.file) + ":" + std::to_string(place.line);
}

bool same(const Place& a, const Place& b) {
  return a.line == b.line && std::strcmp(a.file, b.file) == 0;
}

[[noreturn]] void raise(const std::string& what) {
  running = false;
  throw std::runtime_error("emulated kernel " + std::string(launch.kernel) + ": " + what +
                           ", thread " + text(here.thread) + " of block " + text(here.block));
}

void raise_error() {
  if (error.empty()) return;
  std::string what;
  what.swap(error);
  if (error_pc != nullptr) {
    char place[512] = "";
    // An address inside of the call: the next one may be of another line.
    void* call = static_cast<char*>(const_cast<void*>(error_pc)) - 1;
    __sanitizer_symbolize_pc(call, " at %S", place, sizeof place);
    what += place;
  }
  raise(what);
}

// Whether all lanes of a lane's mask have made the same call as it.
bool is_complete(unsigned first, const Fiber& caller) {
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (!((caller.mask >> lane) & 1)) continue;
    if (first + lane >= fibers.size()) return false;
    const Fiber& fiber = fibers[first + lane];
    if (fiber.state != State::kInWarp || fiber.mask != caller.mask) return false;
    if (!same(fiber.place, caller.place)) return false;
  }
  return true;
}

// Lets lanes go on that wait for nobody; says whether there were any. Lanes that are not of the
// mask count as synchronised too.
bool release_warps() {
  bool released = false;
  for (unsigned t = 0; t < fibers.size(); ++t) {
    const unsigned first = t / kWarp * kWarp, mask = fibers[t].mask;
    if (fibers[t].state != State::kInWarp || !is_complete(first, fibers[t])) continue;
    Warp& warp = warps[t / kWarp];
    ++warp.barriers;
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      if (!((mask >> lane) & 1)) continue;
      warp.values[lane] = fibers[first + lane].value;
      fibers[first + lane].state = State::kReady;
    }
    released = true;
  }
  return released;
}

// No thread can go on but by the barrier of the block.
void release_block() {
  const Fiber* waiting = nullptr;
  for (unsigned t = 0; t < fibers.size(); ++t) {
    const Fiber& fiber = fibers[t];
    if (fiber.state == State::kInWarp) {
      move_to(t);
      raise("a lane of the mask does not come to " + std::string(fiber.function) + " at " +
            text(fiber.place));
    }
    if (fiber.state == State::kAtBarrier) waiting = &fiber;
  }
  votes = 0;
  for (unsigned t = 0; t < fibers.size(); ++t) {
    Fiber& fiber = fibers[t];
    if (fiber.state == State::kDone || !same(fiber.place, waiting->place)) {
      move_to(t);
      raise("the barrier at " + text(waiting->place) + " is not reached by a thread that " +
            (fiber.state == State::kDone ? "ended" : "waits at " + text(fiber.place)));
    }
    votes += fiber.vote != 0;
    fiber.state = State::kReady;
  }
  ++barriers;
}

template <class Random>
void arrange(std::vector<unsigned>& turns, Random& random) {
  std::iota(turns.begin(), turns.end(), 0u);
  if (order == 1) std::reverse(turns.begin(), turns.end());
  if (order > 1) std::shuffle(turns.begin(), turns.end(), random);
}

template <class Random>
void run_block(Random& random) {
  begin_block(launch.dynamic_shared);
  block_begin = ++barriers;
  const unsigned count = launch.block.x * launch.block.y * launch.block.z;
  fibers.assign(count, Fiber{});
  warps.assign((count + kWarp - 1) / kWarp, Warp{});
  std::vector<unsigned> turns(count);
  const auto done = [](const Fiber& fiber) { return fiber.state == State::kDone; };
  while (true) {
    arrange(turns, random);
    for (const unsigned thread : turns) {
      if (fibers[thread].state != State::kReady) continue;
      move_to(thread);
      to_fiber();
      raise_error();
    }
    if (std::all_of(fibers.begin(), fibers.end(), done)) return;
    if (!release_warps()) release_block();
  }
}

void wait(State state, const Place& place) {
  Fiber& fiber = fibers[here.linear];
  fiber.state = state;
  fiber.place = place;
  to_host();
}

}  // namespace

void set_order(uint64_t wanted) { order = wanted; }

void run(const Launch& wanted, const std::function<void()>& thread) {
  const std::lock_guard<std::mutex> lock(one_launch);
  allocate_stacks();
  forget_accesses();
  launch = wanted;
  body = &thread;
  launch_begin = ++barriers;
  std::minstd_rand random(static_cast<unsigned>(order));
  const dim3& grid = launch.grid;
  std::vector<unsigned> turns(size_t(grid.x) * grid.y * grid.z);
  arrange(turns, random);
  running = true;
  for (const unsigned at : turns) {
    here.block = {at % grid.x, at / grid.x % grid.y, at / grid.x / grid.y};
    run_block(random);
  }
  running = false;
}

const Position& position() { return here; }
const Launch& current() { return launch; }
bool in_kernel() { return running; }

// The host does not come back to the thread.
void fail(const std::string& what, const void* pc) {
  error = what;
  error_pc = pc;
  to_host();
  __builtin_unreachable();
}

void fail(const std::string& what, const Place& place) { fail(what + " at " + text(place)); }

int barrier(Vote vote, int value, const Place& place) {
  fibers[here.linear].vote = value;
  wait(State::kAtBarrier, place);
  switch (vote) {
    case Vote::kAnd:
      return votes == int(fibers.size());
    case Vote::kOr:
      return votes > 0;
    default:
      return votes;
  }
}

const uint64_t* exchange(unsigned mask, uint64_t value, const char* function, const Place& place) {
  Fiber& fiber = fibers[here.linear];
  if (!((mask >> (here.linear % kWarp)) & 1)) {
    fail(std::string(function) + " is called by a lane that is not of its mask", place);
  }
  fiber.function = function;
  fiber.mask = mask;
  fiber.value = value;
  wait(State::kInWarp, place);
  return warps[here.linear / kWarp].values;
}

Progress progress() {
  return {launch_begin, block_begin, barriers, warps[here.linear / kWarp].barriers};
}

}  // namespace emulated

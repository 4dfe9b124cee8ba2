#include "memory.h"

#include <sanitizer/asan_interface.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <unordered_map>
#include <vector>

#include "emulator.h"

namespace emulated {
namespace {

// Between variables, so that an index past one's end does not fall into the next.
constexpr size_t kRedZone = 256;
constexpr size_t kArena = 1 << 20;

// Threads that made the accesses a byte remembers: one, or these.
constexpr int32_t kSeveralBlocks = -1, kSeveralWarps = -2, kOneWarp = -3;

struct Last {
  uint32_t barriers = 0, warp_barriers = 0;
  int32_t thread = 0;
  uint32_t warp = 0;
};

struct Byte {
  Last read, write, atomic;
};

constexpr uintptr_t kPage = 4096;
using Page = std::array<Byte, kPage>;

struct Variable {
  const void* key;
  char* memory;
};

std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
const char *stacks_begin, *stacks_end;
char* arena;
size_t arena_used, shared_bytes;
std::vector<Variable> variables;
char* dynamic;

Byte& byte_at(uintptr_t address) {
  std::unique_ptr<Page>& page = pages[address / kPage];
  if (page == nullptr) page = std::make_unique<Page>();
  return (*page)[address % kPage];
}

// What the running thread's access is compared with: `begin` is the launch's, of shared memory the
// block's, before which nothing counts.
struct Self {
  Progress progress;
  uint32_t begin;
  int32_t thread;
  uint32_t warp;
};

bool is_unordered(const Last& last, const Self& self) {
  const Progress& now = self.progress;
  if (last.barriers < self.begin) return false;
  if (last.thread == kSeveralBlocks || last.barriers < now.block_begin) return true;
  if (last.barriers < now.barriers || last.thread == self.thread) return false;
  const bool one_warp = last.thread != kSeveralWarps && last.warp == self.warp;
  return !one_warp || last.warp_barriers == now.warp_barriers;
}

void remember(Last& last, const Self& self) {
  const Progress& now = self.progress;
  int32_t thread = self.thread;
  if (last.barriers >= self.begin) {
    if (last.thread == kSeveralBlocks || last.barriers < now.block_begin) {
      thread = kSeveralBlocks;
    } else if (last.barriers == now.barriers && last.thread != self.thread) {
      const bool one_warp = last.thread != kSeveralWarps && last.warp == self.warp;
      if (!one_warp) {
        thread = kSeveralWarps;
      } else if (last.warp_barriers == now.warp_barriers) {
        thread = kOneWarp;
      }
    }
  }
  last = {now.barriers, now.warp_barriers, thread, self.warp};
}

char* allocate_shared(size_t size, size_t alignment) {
  shared_bytes += size;
  // An odd multiple: memory that is aligned by chance only is not aligned here.
  const size_t begin = (arena_used + kRedZone) / (2 * alignment) * (2 * alignment) + alignment;
  if (shared_bytes > kMaxShared || begin + size + kRedZone > kArena) return nullptr;
  arena_used = begin + size;
  // The sanitizer remembers how much of the first bytes of each eight is valid, never their end.
  __asan_unpoison_memory_region(arena + begin / 8 * 8, size + begin % 8);
  return arena + begin;
}

}  // namespace

void set_stacks(const void* begin, const void* end) {
  stacks_begin = static_cast<const char*>(begin);
  stacks_end = static_cast<const char*>(end);
}

void forget_accesses() { pages.clear(); }

void begin_block(size_t dynamic_bytes) {
  if (arena == nullptr) arena = static_cast<char*>(std::aligned_alloc(4096, kArena));
  __asan_poison_memory_region(arena, kArena);
  arena_used = shared_bytes = 0;
  variables.clear();
  dynamic = allocate_shared(dynamic_bytes, 16);
}

void* shared_variable(const void* key, size_t size, size_t alignment) {
  for (const Variable& variable : variables) {
    if (variable.key == key) return variable.memory;
  }
  char* memory = allocate_shared(size, alignment);
  if (memory == nullptr) {
    fail("more than 48 KiB of shared memory in a block");
  }
  variables.push_back({key, memory});
  return memory;
}

void* dynamic_shared() { return dynamic; }

void check_access(const void* address, size_t size, Access access, const void* pc) {
  const char* at = static_cast<const char*>(address);
  if (!in_kernel() || (at >= stacks_begin && at < stacks_end)) return;
  const bool is_shared = at >= arena && at < arena + kArena;
  if (__asan_region_is_poisoned(const_cast<char*>(at), size) != nullptr) {
    fail(is_shared ? "outside of a shared variable" : "outside of memory", pc);
  }
  const Progress now = progress();
  const unsigned thread = position().linear;
  const Self self{now, is_shared ? now.block_begin : now.launch_begin, int32_t(thread),
                  thread / kWarp};
  for (size_t i = 0; i < size; ++i) {
    Byte& byte = byte_at(reinterpret_cast<uintptr_t>(at) + i);
    if (is_shared && access != Access::kWrite && byte.write.barriers < self.begin) {
      fail("shared memory that nobody wrote is read", pc);
    }
    if (access != Access::kRead && is_unordered(byte.read, self)) {
      fail("a write races with another thread's read", pc);
    }
    if (is_unordered(byte.write, self)) fail("a race with another thread's write", pc);
    if (access != Access::kAtomic && is_unordered(byte.atomic, self)) {
      fail("a race with another thread's atomic operation", pc);
    }
    remember(access == Access::kRead    ? byte.read
             : access == Access::kWrite ? byte.write
                                        : byte.atomic,
             self);
  }
}

}  // namespace emulated

// What the instrumentation calls, see memory.h.
#define HASHGCN_ACCESS(name, size, access)                                                        \
  extern "C" void __tsan_##name(const void* address) {                                            \
    emulated::check_access(address, size, emulated::Access::access, __builtin_return_address(0)); \
  }
#define HASHGCN_ACCESSES(size)                        \
  HASHGCN_ACCESS(read##size, size, kRead)             \
  HASHGCN_ACCESS(write##size, size, kWrite)           \
  HASHGCN_ACCESS(unaligned_read##size, size, kRead)   \
  HASHGCN_ACCESS(unaligned_write##size, size, kWrite) \
  HASHGCN_ACCESS(volatile_read##size, size, kRead)    \
  HASHGCN_ACCESS(volatile_write##size, size, kWrite)
HASHGCN_ACCESSES(1)
HASHGCN_ACCESSES(2)
HASHGCN_ACCESSES(4)
HASHGCN_ACCESSES(8)
HASHGCN_ACCESSES(16)

extern "C" {
void __tsan_read_range(const void* address, size_t size) {
  emulated::check_access(address, size, emulated::Access::kRead, __builtin_return_address(0));
}
void __tsan_write_range(const void* address, size_t size) {
  emulated::check_access(address, size, emulated::Access::kWrite, __builtin_return_address(0));
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
// Of host code: guards of static variables, and std::atomic.
uint8_t __tsan_atomic8_load(const volatile uint8_t* from, int) {
  return __atomic_load_n(from, __ATOMIC_SEQ_CST);
}
uint32_t __tsan_atomic32_load(const volatile uint32_t* from, int) {
  return __atomic_load_n(from, __ATOMIC_SEQ_CST);
}
uint64_t __tsan_atomic64_load(const volatile uint64_t* from, int) {
  return __atomic_load_n(from, __ATOMIC_SEQ_CST);
}
void __tsan_atomic64_store(volatile uint64_t* to, uint64_t value, int) {
  __atomic_store_n(to, value, __ATOMIC_SEQ_CST);
}
}

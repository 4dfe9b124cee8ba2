// Shared memory, and checks of every access that a kernel makes. Kernels are compiled with the
// compiler's instrumentation for threads, whose calls end here instead of in its run-time library.
//
// An access is an error if it is outside of what was allocated (the address sanitizer's allocator
// knows), if it reads shared memory that nobody wrote, or if another thread accessed the same byte,
// one of the two wrote, not both are atomic, and no barrier lies between.
#pragma once

#include <cstddef>

namespace emulated {

// What a block of compute capability 8.0 may have without asking for more.
constexpr size_t kMaxShared = 48 << 10;

enum class Access { kRead, kWrite, kAtomic };

void check_access(const void* address, size_t size, Access access, const void* pc);

// Memory of a block's shared variable, the same for all of its threads. It is aligned as much as
// asked for and no more.
void* shared_variable(const void* key, size_t size, size_t alignment);
void* dynamic_shared();

// A block begins or ends: shared memory is fresh.
void begin_block(size_t dynamic_bytes);

// Addresses that only their own thread uses.
void set_stacks(const void* begin, const void* end);

// What a launch did is forgotten.
void forget_accesses();

template <class T, size_t kAlignment = alignof(T)>
__attribute__((always_inline)) inline T& shared(const void* key) {
  return *static_cast<T*>(shared_variable(key, sizeof(T), kAlignment));
}

}  // namespace emulated

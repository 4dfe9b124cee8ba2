// Pages of large buffers.
#pragma once

#include <sys/mman.h>

#include "checks/tensors.h"

namespace hashgcn {

// Asks for huge pages under a fresh buffer of megabytes: its first touch then faults once for 2 MB
// instead of 4 KB, and random rows of it do not miss the TLB. A hint: without it, or where the
// system declines, only time is lost.
inline void advise_huge_pages(const Tensor& buffer) {
#if defined(MADV_HUGEPAGE)
  // Rounded outwards to small pages: the allocator's header in front must not cost the first 2 MB.
  constexpr uintptr_t kPage = 4096, kHugePage = uintptr_t(1) << 21;
  const size_t bytes = size_t(buffer.numel()) * buffer.element_size();
  if (bytes < kHugePage) return;
  const uintptr_t data = reinterpret_cast<uintptr_t>(buffer.mutable_data_ptr());
  const uintptr_t begin = data / kPage * kPage, end = (data + bytes + kPage - 1) / kPage * kPage;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace hashgcn

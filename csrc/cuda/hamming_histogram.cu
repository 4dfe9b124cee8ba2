#include "../core/errors.h"
#include "hamming_histogram.h"
#include "launch.h"

namespace hashgcn::cuda {

// A block has one of the slices of a query's items and adds its counts to those of the others:
// whole numbers, whose order does not matter.
static __global__ void __launch_bounds__(kThreads)
    histogram_kernel(core::Codes codes, core::Lists lists, int64_t slices,
                     unsigned long long* counts, unsigned int* errors) {
  extern __shared__ unsigned int own[];
  const int64_t words = core::words_per_code(codes.code_length),
                bins = core::longest_distance(codes) + 1;
  const int64_t own_bins = core::unchecked_bins(codes);
  const bool all = lists.ptr == nullptr;
  for (int64_t block = blockIdx.x; block < codes.num_queries * slices; block += gridDim.x) {
    const int64_t query = block / slices, slice = block % slices;
    for (int64_t d = threadIdx.x; d < own_bins; d += kThreads) own[d] = 0;
    __syncthreads();
    const core::Span list = all ? core::Span{nullptr, nullptr} : core::list_of(lists, query);
    const int64_t count = all ? codes.num_items : list.end - list.begin;
    bool bad = !all && !core::list_fits(lists, query, codes.num_queries);
    for (int64_t i = slice * kThreads + threadIdx.x; i < count; i += slices * kThreads) {
      const int64_t item = all ? i : list.begin[i];
      if (item < 0 || item >= codes.num_items) {
        bad = true;
        continue;
      }
      const uint64_t* code = codes.queries + query * codes.planes * words;
      atomicAdd(&own[core::graded_distance(code, codes.items + item * words, words, codes.planes)],
                1u);
    }
    if (bad) atomicOr(errors, core::kBadLists);
    __syncthreads();
    for (int64_t d = threadIdx.x; d < bins; d += kThreads) {
      if (own[d] > 0) atomicAdd(&counts[query * bins + d], static_cast<unsigned long long>(own[d]));
    }
    __syncthreads();
  }
}

void hamming_histogram(const core::Codes& codes, const core::Lists& lists, int64_t* counts,
                       unsigned int* errors, cudaStream_t stream) {
  if (codes.num_queries == 0) return;
  const size_t shared = size_t(core::unchecked_bins(codes)) * sizeof(unsigned int);
  // As many slices as fill the device, of eight items for each thread at least.
  const int64_t wanted = blocks_at_once(histogram_kernel, kThreads, shared) / codes.num_queries;
  const int64_t worth = codes.num_items / (8 * kThreads);
  const int64_t least = wanted < worth ? wanted : worth, slices = least > 1 ? least : 1;
  histogram_kernel<<<row_grid(codes.num_queries * slices), kThreads, shared, stream>>>(
      codes, lists, slices, reinterpret_cast<unsigned long long*>(counts), errors);
  check_launch();
}

}  // namespace hashgcn::cuda

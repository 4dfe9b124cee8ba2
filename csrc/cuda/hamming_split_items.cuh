// Top-N of few queries among many items. The items of a query are split into slices, a block each.
// First every slice counts its distances; then the counts of all slices become first ranks, slice
// by slice; then every slice places its items. Of each chunk of a slice the smallest distance is
// kept: where it has no rank, which is nearly everywhere, the items are not read again.
#pragma once

#include "hamming_ranks.cuh"
#include "parts.cuh"
#include "warps.cuh"

namespace hashgcn::cuda {

constexpr int kRankThreads = 1024, kFewRankThreads = 128;  // for many slices, for few

struct Split {
  int64_t batch;   // queries at a time
  int64_t chunks;  // of a query
  int64_t chunks_per_slice, slices;
  int bins, copies;  // of the counts in shared memory: a power of two, one for each lane if it fits
  unsigned int* counts;  // [batch, bins, slices]; then first ranks
  unsigned int* found;   // [batch]
  int* last;             // [batch], the largest distance that has a rank
  int* nearest;          // [batch, chunks]

  // As many blocks as the device holds at once.
  explicit Split(const core::HammingTopk& problem);
  size_t shared_counts() const { return size_t(bins) * copies * sizeof(unsigned int); }
  int64_t scratch_bytes() const { return 4 * batch * (bins * slices + 2 + chunks); }
  void use(void* scratch) {
    counts = static_cast<unsigned int*>(scratch);
    found = counts + batch * bins * slices;
    last = reinterpret_cast<int*>(found + batch);
    nearest = last + batch;
  }
};

// A block's slice, chunk by chunk: calls take(chunk, begin, end, marks) if wanted(chunk), with the
// chunk's excluded items marked, or null if there are none. By all threads.
template <class Wanted, class Take>
static __device__ __forceinline__ void for_each_chunk(const core::HammingTopk& problem,
                                                      const Split& split, int64_t query,
                                                      unsigned int* excluded, const Wanted& wanted,
                                                      const Take& take) {
  const core::Span list = sorted_list(problem, query);
  const int64_t first = blockIdx.x * split.chunks_per_slice;
  for (int64_t chunk = first; chunk < first + split.chunks_per_slice; ++chunk) {
    if (chunk >= split.chunks || !wanted(chunk)) continue;
    const int64_t begin = chunk * kChunk, n = problem.num_items;
    const int64_t end = n - begin < kChunk ? n : begin + kChunk;
    const core::Span inside{core::lower_bound(list, begin), core::lower_bound(list, end)};
    const bool any = inside.begin < inside.end;
    if (any) mark_excluded(inside, begin, excluded);
    take(chunk, begin, end, any ? excluded : nullptr);
  }
}

// Items item and item + 1, which begin at an even item, of one word each: 16 bytes at once where
// the items lie so, as all but slices of tensors do.
static __device__ __forceinline__ ulonglong2 two_items(const uint64_t* items, int64_t item,
                                                       int64_t end) {
  if (item + 1 < end && reinterpret_cast<uintptr_t>(items) % 16 == 0) {
    return __ldg(reinterpret_cast<const ulonglong2*>(items + item));
  }
  return make_ulonglong2(items[item], item + 1 < end ? items[item + 1] : 0);
}

static __global__ void __launch_bounds__(kThreads)
    count_slices(core::HammingTopk problem, Split split) {
  extern __shared__ unsigned int counts[];  // [bins][copies]
  __shared__ unsigned int excluded[kChunk / 32];
  __shared__ unsigned int nearest;
  const int64_t query = blockIdx.y, words = core::words_per_code(problem.code_length);
  const int copy = threadIdx.x % split.copies;
  for (int i = threadIdx.x; i < split.bins * split.copies; i += kThreads) counts[i] = 0;
  const auto every = [](int64_t) { return true; };
  const auto take = [&](int64_t chunk, int64_t begin, int64_t end, const unsigned int* marks) {
    if (threadIdx.x == 0) nearest = core::kNoDistance;
    __syncthreads();
    unsigned int mine = core::kNoDistance;
    const auto count = [&](int64_t item, int distance) {
      if (!is_candidate(problem, item, begin, marks)) return;
      atomicAdd(&counts[distance * split.copies + copy], 1u);
      mine = unsigned(distance) < mine ? distance : mine;
    };
    if (words == 1 && problem.planes == 1) {
      const uint64_t code = problem.queries[query];
#pragma unroll 4
      for (int64_t item = begin + 2 * threadIdx.x; item < end; item += 2 * kThreads) {
        const ulonglong2 two = two_items(problem.items, item, end);
        count(item, core::popcount(code ^ two.x));
        if (item + 1 < end) count(item + 1, core::popcount(code ^ two.y));
      }
    } else {
      for (int64_t item = begin + threadIdx.x; item < end; item += kThreads) {
        count(item, core::graded_distance(problem.queries + query * problem.planes * words,
                                          problem.items + item * words, words, problem.planes));
      }
    }
    mine = __reduce_min_sync(kAllLanes, mine);
    if (threadIdx.x % kWarp == 0) atomicMin(&nearest, mine);
    __syncthreads();
    if (threadIdx.x == 0) split.nearest[query * split.chunks + chunk] = int(nearest);
  };
  for_each_chunk(problem, split, query, excluded, every, take);
  __syncthreads();
  for (int d = threadIdx.x; d < split.bins; d += kThreads) {
    unsigned int sum = 0;
    for (int c = 0; c < split.copies; ++c) sum += counts[d * split.copies + c];
    split.counts[(query * split.bins + d) * split.slices + blockIdx.x] = sum;
  }
}

// A block has a query, a warp a distance at a time.
static __global__ void __launch_bounds__(kRankThreads) rank_slices(int64_t k, Split split) {
  extern __shared__ unsigned int first[];  // by distance: how many items, then their first rank
  __shared__ int last;
  const int64_t query = blockIdx.x;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int num_warps = blockDim.x / kWarp;
  for (int d = warp; d < split.bins; d += num_warps) {
    const unsigned int* counts = split.counts + (query * split.bins + d) * split.slices;
    unsigned int sum = 0;
    for (int64_t s = lane; s < split.slices; s += kWarp) sum += counts[s];
    sum = __reduce_add_sync(kAllLanes, sum);
    if (lane == 0) first[d] = sum;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    split.found[query] = first_ranks(first, split.bins, k, last);
    split.last[query] = last;
  }
  __syncthreads();
  for (int d = warp; d <= last; d += num_warps) {
    unsigned int* counts = split.counts + (query * split.bins + d) * split.slices;
    unsigned int before = first[d];
    for (int64_t begin = 0; begin < split.slices; begin += kWarp) {
      const int64_t s = begin + lane;
      const unsigned int own = s < split.slices ? counts[s] : 0;
      unsigned int sum = own;  // of this lane's slice and those before it
      for (int step = 1; step < kWarp; step *= 2) {
        const unsigned int lower = __shfl_up_sync(kAllLanes, sum, step);
        if (lane >= step) sum += lower;
      }
      if (s < split.slices) counts[s] = before + sum - own;
      before += __shfl_sync(kAllLanes, sum, kWarp - 1);
    }
  }
}

static __global__ void place_slices(core::HammingTopk problem, Split split, int64_t* ids,
                                    int32_t* distances) {
  extern __shared__ unsigned int next[];
  __shared__ unsigned int excluded[kChunk / 32];
  __shared__ int tile[kThreads];
  const int64_t query = blockIdx.y;
  const int last = split.last[query];
  for (int d = threadIdx.x; d <= last; d += kThreads) {
    next[d] = split.counts[(query * split.bins + d) * split.slices + blockIdx.x];
  }
  __syncthreads();
  const auto has_ranks = [&](int64_t chunk) {
    return split.nearest[query * split.chunks + chunk] <= last;
  };
  const auto take = [&](int64_t, int64_t begin, int64_t end, const unsigned int* marks) {
    place_chunk(problem, query, begin, end, marks, last, next, tile, ids, distances);
  };
  for_each_chunk(problem, split, query, excluded, has_ranks, take);
  if (blockIdx.x == 0) fill_rest(problem, query, split.found[query], ids, distances);
}

inline Split::Split(const core::HammingTopk& problem) {
  bins = int(core::unchecked_bins(problem));
  for (copies = kWarp; copies > 1 && bins * copies > 8500;) copies /= 2;
  const int64_t blocks = blocks_at_once(count_slices, kThreads, shared_counts());
  batch = problem.num_queries < blocks ? problem.num_queries : blocks;
  chunks = problem.num_items == 0 ? 1 : tiles_of(problem.num_items, kChunk);
  const int64_t wanted = blocks / batch;  // slices
  chunks_per_slice = tiles_of(chunks, wanted);
  slices = tiles_of(chunks, chunks_per_slice);
}

static void split_items(core::HammingTopk problem, void* scratch, int64_t* ids, int32_t* distances,
                        cudaStream_t stream) {
  Split split(problem);
  split.use(scratch);
  const int64_t words = core::words_per_code(problem.code_length);
  const int rank_threads = split.slices > kWarp ? kRankThreads : kFewRankThreads;
  const size_t shared = split.bins * sizeof(unsigned int);
  for (int64_t left = problem.num_queries; left > 0; left -= split.batch) {
    problem.num_queries = left < split.batch ? left : split.batch;
    const dim3 grid(unsigned(split.slices), unsigned(problem.num_queries));
    count_slices<<<grid, kThreads, split.shared_counts(), stream>>>(problem, split);
    check_launch();
    rank_slices<<<grid.y, rank_threads, shared, stream>>>(problem.k, split);
    check_launch();
    place_slices<<<grid, kThreads, shared, stream>>>(problem, split, ids, distances);
    check_launch();
    problem.queries += split.batch * problem.planes * words;
    if (problem.excluded.ptr != nullptr) problem.excluded.ptr += split.batch;
    distances += split.batch * problem.k;
    ids += split.batch * problem.k;
  }
}

}  // namespace hashgcn::cuda

#include "exclusions.cuh"
#include "weighted_hamming_topk.h"

namespace hashgcn::cuda {

constexpr int kBytes = 256;
static_assert(kBytes == kThreads, "a thread for each value of a byte");

// What may not be returned: no score has this key.
constexpr uint32_t kNoKey = UINT32_MAX;

static __global__ void check_scale_kernel(const float* scale, int64_t count, unsigned int* errors) {
  const int64_t i = element_index();
  if (i < count && !(fabsf(scale[i]) <= core::kMaxScale)) atomicOr(errors, core::kBadScale);
}

void check_scale(const float* scale, int64_t count, unsigned int* errors, cudaStream_t stream) {
  if (count == 0) return;
  check_scale_kernel<<<element_grid(count), kThreads, 0, stream>>>(scale, count, errors);
  check_launch();
}

// Rounded step by step, never by a fused multiply-add, as on the CPU.
static __device__ float score_of_pair(const core::WeightedHammingTopk& problem, int64_t query,
                                      int64_t item) {
  const int64_t segments = problem.num_segments;
  const int64_t words = core::words_per_code(problem.code_length);
  const uint64_t* q = problem.queries + query * segments * words;
  const uint64_t* d = problem.items + item * segments * words;
  const float* a = problem.query_scale + query * segments;
  const float* c = problem.item_scale + item * segments;
  float score = 0;
  for (int64_t l = 0; l < segments; ++l, q += words, d += words) {
    const int distance = core::hamming(q, d, words);
    const float agreement = __int2float_rn(int(problem.code_length) - distance - distance);
    score = __fadd_rn(score, __fmul_rn(__fmul_rn(a[l], c[l]), agreement));
  }
  return score;
}

// Key of an item of the chunk that starts at `begin`.
static __device__ uint32_t key_of(const core::WeightedHammingTopk& problem, int64_t query,
                                  int64_t item, int64_t begin, const unsigned int* excluded) {
  if (!is_candidate(problem, item, begin, excluded)) return kNoKey;
  return core::score_key(score_of_pair(problem, query, item));
}

// Sorts a query's results in place by falling score, then rising row: a bitonic network whose
// comparators all put the entry that comes first at the lower place. Entries past the end, which it
// would have for a power of two, could then only stay there: their comparators are left out.
static __device__ void sort_results(int64_t count, float* scores, int64_t* ids) {
  int64_t padded = 1;
  while (padded < count) padded *= 2;
  for (int64_t size = 2; size <= padded; size *= 2) {
    for (int64_t step = size / 2; step > 0; step /= 2) {
      for (int64_t i = threadIdx.x; i < padded / 2; i += kThreads) {
        const int64_t low = i / step * (2 * step) + i % step;
        // A sorted half meets the other from its far end, so that the two need no turning round.
        const int64_t high = step == size / 2 ? low ^ (size - 1) : low + step;
        if (high >= count) continue;
        const float score = scores[low], other = scores[high];
        const int64_t id = ids[low], other_id = ids[high];
        if (score > other || (score == other && id < other_id)) continue;
        scores[low] = other;
        scores[high] = score;
        ids[low] = other_id;
        ids[high] = id;
      }
      __syncthreads();
    }
  }
}

// First the key of the last result is found, byte by byte from the top, by counting the keys that
// begin as it does. Then the items up to it are gathered, of those that equal it the first ones in
// row order, and sorted.
static __global__ void weighted_hamming_topk_kernel(core::WeightedHammingTopk problem,
                                                    int64_t num_excluded, float* scores,
                                                    int64_t* ids, unsigned int* errors) {
  __shared__ unsigned int histogram[kBytes];
  __shared__ unsigned int excluded[kChunk / 32];
  __shared__ bool tile[kThreads];
  __shared__ uint32_t last;
  __shared__ int64_t num_found, ties;  // ties: results whose key is `last`
  __shared__ unsigned int num_placed, ties_met;
  const int64_t n = problem.num_items, k = problem.k;
  for (int64_t query = blockIdx.x; query < problem.num_queries; query += gridDim.x) {
    const core::Span list = exclusions(problem, num_excluded, query, errors);
    if (threadIdx.x == 0) last = num_placed = ties_met = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
      const uint32_t known = shift == 24 ? 0 : ~uint32_t(0) << (shift + 8);
      histogram[threadIdx.x] = 0;
      for (int64_t begin = 0; begin < n; begin += kChunk) {
        const int64_t end = n - begin < kChunk ? n : begin + kChunk;
        mark_excluded(list, begin, excluded);
        for (int64_t item = begin + threadIdx.x; item < end; item += kThreads) {
          const uint32_t key = key_of(problem, query, item, begin, excluded);
          if (key != kNoKey && (key & known) == last) {
            atomicAdd(&histogram[(key >> shift) & (kBytes - 1)], 1u);
          }
        }
      }
      __syncthreads();
      if (threadIdx.x == 0) {
        if (shift == 24) {
          int64_t candidates = 0;
          for (int byte = 0; byte < kBytes; ++byte) candidates += histogram[byte];
          ties = num_found = candidates < k ? candidates : k;
        }
        uint32_t byte = 0;
        while (byte < kBytes - 1 && ties > histogram[byte]) ties -= histogram[byte++];
        last |= byte << shift;
      }
      __syncthreads();
    }
    float* query_scores = scores + query * k;
    int64_t* query_ids = ids + query * k;
    for (int64_t begin = 0; begin < n; begin += kChunk) {
      const int64_t end = n - begin < kChunk ? n : begin + kChunk;
      mark_excluded(list, begin, excluded);
      for (int64_t first = begin; first < end; first += kThreads) {
        const int64_t item = first + threadIdx.x;
        const uint32_t key = item < end ? key_of(problem, query, item, begin, excluded) : kNoKey;
        const bool tie = key == last;
        tile[threadIdx.x] = tie;
        if (!__syncthreads_or(key <= last)) continue;
        int64_t ties_before = ties_met;
        for (int e = 0; tie && e < int(threadIdx.x); ++e) ties_before += tile[e];
        if (key < last || (tie && ties_before < ties)) {
          const unsigned int place = atomicAdd(&num_placed, 1u);
          if (place < num_found) {
            query_scores[place] = core::score_of(key);
            query_ids[place] = item;
          }
        }
        __syncthreads();
        if (tie) atomicAdd(&ties_met, 1u);
        __syncthreads();
      }
    }
    for (int64_t rank = num_found + threadIdx.x; rank < k; rank += kThreads) {
      query_scores[rank] = core::kNoScore;
      query_ids[rank] = core::kNoItem;
    }
    __syncthreads();
    sort_results(num_found, query_scores, query_ids);
    __syncthreads();
  }
}

void weighted_hamming_topk(const core::WeightedHammingTopk& problem, int64_t num_excluded,
                           float* scores, int64_t* ids, unsigned int* errors, cudaStream_t stream) {
  if (problem.num_queries == 0) return;
  weighted_hamming_topk_kernel<<<row_grid(problem.num_queries), kThreads, 0, stream>>>(
      problem, num_excluded, scores, ids, errors);
  check_launch();
}

}  // namespace hashgcn::cuda

#include "../core/errors.h"
#include "pair_gradients.cuh"
#include "smooth_rank.h"

namespace hashgcn::cuda {

// Threads of a block that has one row; also the candidates of a tile and the positives of a chunk.
constexpr int kRowThreads = 128;

// A row's positives and the place of their ranks; none if the ranks do not fit.
struct RowRanks {
  core::Span liked;
  int64_t count, at;
};

template <class T>
static __device__ RowRanks row_ranks(const core::SmoothRank<T>& problem, int64_t row) {
  const core::Span liked = core::positives(problem.rows, row);
  const int64_t count = liked.end - liked.begin, at = problem.offsets[row];
  if (at < 0 || at > problem.size - count) return {{liked.begin, liked.begin}, 0, 0};
  return {liked, count, at};
}

template <class T>
static __global__ void check_ranks_kernel(core::SmoothRank<T> problem, const T* tau,
                                          unsigned int* errors) {
  const int64_t row = element_index(), batch = problem.rows.batch;
  if (row > batch) return;
  if (row == 0 && !(*tau > 0 && *tau - *tau == 0)) atomicOr(errors, core::kNotPositive);
  const int64_t at = problem.offsets[row];
  bool bad = at < 0 || at > problem.size || (row == 0 && at != 0);
  if (!bad && row < batch) {
    const core::Span liked = core::positives(problem.rows, row);
    bad = problem.offsets[row + 1] != at + (liked.end - liked.begin);
  }
  if (bad) atomicOr(errors, core::kBadOffsets);
}

template <class T>
void check_ranks(const core::SmoothRank<T>& problem, const T* tau, unsigned int* errors,
                 cudaStream_t stream) {
  check_ranks_kernel<<<element_grid(problem.rows.batch + 1), kThreads, 0, stream>>>(problem, tau,
                                                                                    errors);
  check_launch();
}

// The candidates of a row: positions [begin, end) of its list, or all items.
struct Candidates {
  int64_t begin, end;
};

template <class T>
static __device__ Candidates row_candidates(const core::Rows<T>& rows, int64_t row) {
  if (rows.candidate_ptr == nullptr) return {0, rows.num_items};
  return {core::candidate_begin(rows, row), core::candidate_end(rows, row)};
}

// The item at a position of the candidates, -1 if it does not count for the row.
template <class T>
static __device__ int64_t candidate_item(const core::SmoothRank<T>& problem, core::Span liked,
                                         int64_t position, int64_t end) {
  const core::Rows<T>& rows = problem.rows;
  if (position >= end) return -1;
  const int64_t item = rows.candidate_ptr == nullptr ? position : rows.candidate_ids[position];
  if (item < 0 || item >= rows.num_items) return -1;
  return problem.exclude_positives && core::contains(liked, item) ? -1 : item;
}

// How much the item at a position of the candidates counts.
template <class T>
static __device__ T candidate_weight(const core::Rows<T>& rows, int64_t position) {
  if (rows.candidate_ptr != nullptr) return core::weight_of(rows, position);
  return rows.item_weight != nullptr ? rows.item_weight[position] : T(1);
}

// Score of the item ids[threadIdx.x], 0 for -1. The whole block takes part: rows of items are read
// together, kDepth columns at a time.
template <class T>
static __device__ T tile_score(const T* user, const T* items, int64_t width, const int64_t* ids,
                               T (*part)[kDepth + 1]) {
  T score = 0;
  for (int64_t first = 0; first < width; first += kDepth) {
    for (int e = threadIdx.x; e < kRowThreads * kDepth; e += kRowThreads) {
      const int64_t id = ids[e / kDepth], k = first + e % kDepth;
      part[e / kDepth][e % kDepth] = id >= 0 && k < width ? items[id * width + k] : T(0);
    }
    __syncthreads();
    for (int c = 0; c < kDepth && first + c < width; ++c) {
      score += user[first + c] * part[threadIdx.x][c];
    }
    __syncthreads();
  }
  return score;
}

// For each positive i of a row, a sum over the candidates j. Forward: the rank. Backward: the
// positive's score and dL/ds_ui by way of its rank.
//
// Threads are split evenly among the positives of a chunk; those of one positive take turns over a
// tile's candidates, and their sums are added in the order of threads.
template <bool kForward, class T>
static __global__ void __launch_bounds__(kRowThreads)
    sum_over_candidates(core::SmoothRank<T> problem, const T* users, const T* items, const T* tau,
                        T* ranks, const T* rank_grad, RankScratch<T> scratch) {
  __shared__ T part[kRowThreads][kDepth + 1];
  __shared__ int64_t ids[kRowThreads];
  __shared__ T scores[kRowThreads], weight[kRowThreads];
  __shared__ double sums[kRowThreads];
  const core::Rows<T>& rows = problem.rows;
  const int64_t width = problem.width;
  const T inverse_tau = 1 / *tau;
  for (int64_t row = blockIdx.x; row < rows.batch; row += gridDim.x) {
    const RowRanks own = row_ranks(problem, row);
    const Candidates candidates = row_candidates(rows, row);
    const T* user = users + row * width;
    for (int64_t chunk = 0; chunk < own.count; chunk += kRowThreads) {
      const int count = int(own.count - chunk < kRowThreads ? own.count - chunk : kRowThreads);
      int lanes = 1;
      while (lanes < count) lanes *= 2;
      const int lane = threadIdx.x % lanes, turn = threadIdx.x / lanes, turns = kRowThreads / lanes;
      const bool active = lane < count;
      const int64_t own_id = active ? own.liked.begin[chunk + lane] : -1;
      T own_score = 0;
      if (own_id >= 0 && own_id < rows.num_items) {
        for (int64_t k = 0; k < width; ++k) own_score += user[k] * items[own_id * width + k];
      }
      double total = 0;
      for (int64_t first = candidates.begin; first < candidates.end; first += kRowThreads) {
        const int64_t at = first + threadIdx.x;
        const int64_t item = candidate_item(problem, own.liked, at, candidates.end);
        ids[threadIdx.x] = item;
        weight[threadIdx.x] = item < 0 ? T(0) : candidate_weight(rows, at);
        __syncthreads();
        scores[threadIdx.x] = tile_score(user, items, width, ids, part);
        __syncthreads();
        T sum = 0;
        for (int j = turn; active && j < kRowThreads; j += turns) {
          if (ids[j] == own_id) continue;
          const T x = (scores[j] - own_score) * inverse_tau;
          sum += weight[j] * (kForward ? core::sigmoid(x) : core::sigmoid_slope(x));
        }
        total += sum;
        __syncthreads();
      }
      sums[threadIdx.x] = total;
      __syncthreads();
      if (active && turn == 0) {
        for (int t = 1; t < turns; ++t) total += sums[t * lanes + lane];
        const int64_t at = own.at + chunk + lane;
        if (kForward) {
          ranks[at] = T(1 + total);
        } else {
          scratch.scores[at] = own_score;
          scratch.score_grad[at] = -double(rank_grad[at] * inverse_tau) * total;
        }
      }
      __syncthreads();
    }
  }
}

template <class T>
static __global__ void fill_ones(T* x, int64_t count) {
  const int64_t i = element_index();
  if (i < count) x[i] = 1;
}

template <class T>
void smooth_rank(const core::SmoothRank<T>& problem, const T* users, const T* items, const T* tau,
                 T* ranks, cudaStream_t stream) {
  if (problem.size == 0) return;
  fill_ones<<<element_grid(problem.size), kThreads, 0, stream>>>(ranks, problem.size);
  check_launch();
  if (problem.rows.batch == 0) return;
  sum_over_candidates<true><<<row_grid(problem.rows.batch), kRowThreads, 0, stream>>>(
      problem, users, items, tau, ranks, static_cast<const T*>(nullptr), RankScratch<T>{});
  check_launch();
}

template <class T>
struct RankGradient {
  static constexpr bool kScores = true;
  core::SmoothRank<T> problem;
  const T* tau;
  const T* rank_grad;
  RankScratch<T> scratch;

  // dL/ds_uj by way of the ranks that candidate j worsens.
  __device__ T through_ranks(int64_t row, int64_t item, T score) const {
    const RowRanks own = row_ranks(problem, row);
    const T inverse_tau = 1 / *tau;
    T sum = 0;
    for (int64_t i = 0; i < own.count; ++i) {
      if (own.liked.begin[i] == item) continue;
      const T x = (score - scratch.scores[own.at + i]) * inverse_tau;
      sum += rank_grad[own.at + i] * core::sigmoid_slope(x);
    }
    return sum * inverse_tau;
  }
  __device__ T positive(int64_t row, const int64_t* id) const {
    const RowRanks own = row_ranks(problem, row);
    return own.count > 0 ? T(scratch.score_grad[own.at + (id - own.liked.begin)]) : T(0);
  }
  __device__ T pair(int64_t row, int64_t item, bool is_positive, T score) const {
    T sum = is_positive && problem.exclude_positives
                ? T(0)
                : candidate_weight(problem.rows, item) * through_ranks(row, item, score);
    if (is_positive) {
      const core::Span liked = core::positives(problem.rows, row);
      const int64_t* id = core::lower_bound(liked, item);
      if (id < liked.end) sum += positive(row, id);
    }
    return sum;
  }
};

// A block takes the candidates of one row.
template <class T>
static __global__ void __launch_bounds__(kRowThreads)
    candidate_gradients(RankGradient<T> gradient, const T* users, const T* items) {
  __shared__ T part[kRowThreads][kDepth + 1];
  __shared__ int64_t ids[kRowThreads];
  const core::SmoothRank<T>& problem = gradient.problem;
  const core::Rows<T>& rows = problem.rows;
  for (int64_t row = blockIdx.x; row < rows.batch; row += gridDim.x) {
    const core::Span liked = core::positives(rows, row);
    const Candidates candidates = row_candidates(rows, row);
    for (int64_t first = candidates.begin; first < candidates.end; first += kRowThreads) {
      const int64_t at = first + threadIdx.x;
      const int64_t item = candidate_item(problem, liked, at, candidates.end);
      ids[threadIdx.x] = item;
      __syncthreads();
      const T score = tile_score(users + row * problem.width, items, problem.width, ids, part);
      if (at < candidates.end) {
        gradient.scratch.candidate_grad[at] =
            item < 0 ? T(0) : candidate_weight(rows, at) * gradient.through_ranks(row, item, score);
      }
    }
  }
}

template <class T>
int64_t smooth_rank_parts(const core::SmoothRank<T>& problem) {
  return pair_gradients_scratch<T, RankGradient<T>>(problem.rows, problem.width);
}

template <class T>
void smooth_rank_backward(const core::SmoothRank<T>& problem, const T* users, const T* items,
                          const T* tau, const T* rank_grad, const int64_t* candidate_order,
                          const RankScratch<T>& scratch, T* user_grad, T* item_grad,
                          cudaStream_t stream) {
  const core::Rows<T>& rows = problem.rows;
  const RankGradient<T> gradient{problem, tau, rank_grad, scratch};
  if (rows.batch > 0) {
    sum_over_candidates<false><<<row_grid(rows.batch), kRowThreads, 0, stream>>>(
        problem, users, items, tau, static_cast<T*>(nullptr), rank_grad, scratch);
    check_launch();
  }
  if (rows.batch > 0 && rows.candidate_ptr != nullptr) {
    candidate_gradients<<<row_grid(rows.batch), kRowThreads, 0, stream>>>(gradient, users, items);
    check_launch();
  }
  sum_pair_gradients(gradient, rows, users, items, problem.width, scratch.candidate_grad,
                     candidate_order, scratch.parts, user_grad, item_grad, stream);
}

HASHGCN_FOR_FLOATS(check_ranks)
HASHGCN_FOR_FLOATS(smooth_rank)
HASHGCN_FOR_FLOATS(smooth_rank_parts)
HASHGCN_FOR_FLOATS(smooth_rank_backward)

}  // namespace hashgcn::cuda

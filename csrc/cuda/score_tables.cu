#include <type_traits>

#include "pair_gradients.cuh"
#include "score_shares.cuh"
#include "score_tables.h"
#include "score_tables_tiled.cuh"

namespace hashgcn::cuda {

// Tables of more columns are counted in global memory.
constexpr int kSharedColumns = core::kMaxTableLength + 1;

template <class T>
static bool has_weights(const core::Rows<T>& rows) {
  return rows.candidate_weight != nullptr || rows.item_weight != nullptr;
}

// A block counts one row. What has weights is added up in the order of items: a thread owns columns
// and reads every candidate of a tile. All else is a number of pairs, where order does not matter.
// `wide_counts` [batch, 2, columns] is for tables that shared memory does not hold.
template <class T>
static __global__ void __launch_bounds__(kThreads)
    score_tables_kernel(core::ScoreTables<T> tables, bool weighted, unsigned int* wide_counts,
                        T* v_neg, T* v_pos, T* neg, T* pos) {
  __shared__ unsigned int shared_counts[2 * kSharedColumns];
  __shared__ int column[kThreads];
  __shared__ T weight[kThreads];
  const core::Rows<T>& rows = tables.rows;
  const int columns = int(core::num_columns(tables));
  const bool lists = rows.candidate_ptr != nullptr;
  for (int64_t row = blockIdx.x; row < rows.batch; row += gridDim.x) {
    unsigned int* all_count =
        wide_counts == nullptr ? shared_counts : wide_counts + row * 2 * columns;
    unsigned int* positive_count = all_count + columns;
    T* weights = neg + row * columns;
    for (int w = threadIdx.x; w < columns; w += kThreads) {
      all_count[w] = positive_count[w] = 0;
      weights[w] = 0;
    }
    __syncthreads();
    const core::Span liked = core::positives(rows, row);
    for (const int64_t* id = liked.begin + threadIdx.x; id < liked.end; id += kThreads) {
      if (*id < 0 || *id >= rows.num_items) continue;
      atomicAdd(&positive_count[core::column(tables, row, *id)], 1u);
    }
    const bool padding = rows.users[row] < 0;
    const int64_t begin = padding || !lists ? 0 : core::candidate_begin(rows, row);
    const int64_t end = padding ? 0 : lists ? core::candidate_end(rows, row) : rows.num_items;
    for (int64_t first = begin; first < end; first += kThreads) {
      const int64_t at = first + threadIdx.x;
      const int64_t item = at >= end ? -1 : lists ? rows.candidate_ids[at] : at;
      const bool counts = item >= 0 && item < rows.num_items &&
                          !((lists || weighted) && core::contains(liked, item));
      const int own = counts ? int(core::column(tables, row, item)) : -1;
      if (!weighted) {
        if (counts) atomicAdd(&all_count[own], 1u);
        continue;
      }
      column[threadIdx.x] = own;
      weight[threadIdx.x] = !counts ? T(0)
                            : lists ? core::weight_of(rows, at)
                                    : rows.item_weight[item];
      __syncthreads();
      for (int w = threadIdx.x; w < columns; w += kThreads) {
        T sum = weights[w];
        for (int j = 0; j < kThreads; ++j) sum += column[j] == w ? weight[j] : T(0);
        weights[w] = sum;
      }
      __syncthreads();
    }
    __syncthreads();
    for (int w = threadIdx.x; w < columns; w += kThreads) {
      const int64_t out = row * columns + w;
      // Without lists the positives were counted among all items.
      if (!weighted) neg[out] = T(all_count[w] - (lists ? 0 : positive_count[w]));
      v_neg[out] = v_pos[out] = T(2 * w - (columns - 1));
      pos[out] = T(positive_count[w]);
    }
    __syncthreads();
  }
}

// Whether the tiled kernels score the pairs: plain codes of up to two words, all items without
// weights, float32.
template <class T>
static bool is_tiled(const core::ScoreTables<T>& tables) {
  return std::is_same_v<T, float> && tables.planes == 1 && tables.rows.candidate_ptr == nullptr &&
         tables.rows.item_weight == nullptr && tables.code_length <= kMaxTiledLength &&
         tables.rows.batch > 0 && tables.rows.num_items > 0;
}

template <class T>
int64_t score_tables_scratch(const core::ScoreTables<T>& tables) {
  if constexpr (std::is_same_v<T, float>) {
    if (is_tiled(tables)) return counts_bytes(tables);
  }
  const int64_t columns = core::num_columns(tables);
  return columns > kSharedColumns ? tables.rows.batch * 2 * columns * int64_t(sizeof(unsigned)) : 0;
}

template <class T>
void score_tables(const core::ScoreTables<T>& tables, void* scratch, T* v_neg, T* v_pos, T* neg,
                  T* pos, cudaStream_t stream) {
  if (tables.rows.batch == 0) return;
  if constexpr (std::is_same_v<T, float>) {
    if (is_tiled(tables)) {
      tiled_tables(tables, static_cast<unsigned int*>(scratch), v_neg, v_pos, neg, pos, stream);
      return;
    }
  }
  const bool wide = core::num_columns(tables) > kSharedColumns;
  score_tables_kernel<<<row_grid(tables.rows.batch), kThreads, 0, stream>>>(
      tables, has_weights(tables.rows), wide ? static_cast<unsigned int*>(scratch) : nullptr, v_neg,
      v_pos, neg, pos);
  check_launch();
}

template <class T>
struct ShareGradient {
  static constexpr bool kScores = false;
  core::ScoreTables<T> tables;
  ShareTable<T> shares;

  // For each unit of its weight.
  __device__ T negative(int64_t row, int64_t item) const {
    return shares.at(row, false, core::distance(tables, row, item));
  }
  __device__ T positive(int64_t row, const int64_t* id) const {
    return shares.at(row, true, core::distance(tables, row, *id));
  }
  __device__ T pair(int64_t row, int64_t item, bool is_positive, T) const {
    const T share = shares.at(row, is_positive, core::distance(tables, row, item));
    const T* weight = tables.rows.item_weight;
    return is_positive || weight == nullptr ? share : weight[item] * share;
  }
};

// A block takes the candidates of one row.
template <class T>
static __global__ void candidate_gradients(ShareGradient<T> gradient, T* candidate_grad) {
  const core::Rows<T>& rows = gradient.tables.rows;
  for (int64_t row = blockIdx.x; row < rows.batch; row += gridDim.x) {
    const core::Span liked = core::positives(rows, row);
    const int64_t end = core::candidate_end(rows, row);
    for (int64_t c = core::candidate_begin(rows, row) + threadIdx.x; c < end; c += kThreads) {
      const int64_t item = rows.candidate_ids[c];
      const bool counts = rows.users[row] >= 0 && item >= 0 && item < rows.num_items &&
                          !core::contains(liked, item);
      candidate_grad[c] = counts ? core::weight_of(rows, c) * gradient.negative(row, item) : T(0);
    }
  }
}

template <class T>
int64_t score_tables_backward_scratch(const core::ScoreTables<T>& tables) {
  const int64_t shares = num_shares(tables) * int64_t(sizeof(T));
  if constexpr (std::is_same_v<T, float>) {
    if (is_tiled(tables)) return shares + tiled_gradients_scratch(tables);
  }
  return shares + int64_t(sizeof(T)) *
                      pair_gradients_scratch<T, ShareGradient<T>>(tables.rows, tables.code_length);
}

template <class T>
void score_tables_backward(const core::ScoreTables<T>& tables, void* scratch,
                           const TableGradients<T>& gradients, const T* user_codes,
                           const T* item_codes, const int64_t* candidate_order, T* candidate_grad,
                           T* user_grad, T* item_grad, cudaStream_t stream) {
  const core::Rows<T>& rows = tables.rows;
  const ShareTable<T> shares = make_shares(tables, gradients, static_cast<T*>(scratch), stream);
  T* rest = shares.values + num_shares(tables);
  if constexpr (std::is_same_v<T, float>) {
    if (is_tiled(tables)) {
      tiled_gradients(tables, shares, rest, user_grad, item_grad, stream);
      return;
    }
  }
  const ShareGradient<T> gradient{tables, shares};
  if (rows.candidate_ptr != nullptr && rows.batch > 0) {
    candidate_gradients<<<row_grid(rows.batch), kThreads, 0, stream>>>(gradient, candidate_grad);
    check_launch();
  }
  sum_pair_gradients(gradient, rows, user_codes, item_codes, tables.code_length, candidate_grad,
                     candidate_order, rest, user_grad, item_grad, stream);
}

HASHGCN_FOR_FLOATS(score_tables_scratch)
HASHGCN_FOR_FLOATS(score_tables_backward_scratch)
HASHGCN_FOR_FLOATS(score_tables)
HASHGCN_FOR_FLOATS(score_tables_backward)

}  // namespace hashgcn::cuda

#include "smooth_rank.h"

namespace hashgcn::cpu::HASHGCN_ISA {

// A tile's items. Columns past `count` have the score -infinity, which counts nothing.
template <class T>
struct Items {
  int64_t count;
  int64_t ids[kTileItems];
  T weight[kTileItems];
};

// The next items of [begin, end) that are candidates of `row` (of all rows if there are no lists),
// read on from `*position`; count is 0 when none is left.
template <class T>
static void next_items(const core::Rows<T>& rows, int64_t row, int64_t begin, int64_t end,
                       int64_t* position, Items<T>* tile) {
  tile->count = 0;
  if (rows.candidate_ptr == nullptr) {
    for (; *position < end && tile->count < kTileItems; ++*position, ++tile->count) {
      tile->ids[tile->count] = *position;
      tile->weight[tile->count] = 1;
    }
  } else {
    for (; *position < rows.candidate_ptr[row + 1] && tile->count < kTileItems; ++*position) {
      const int64_t id = rows.candidate_ids[*position];
      if (id < begin || id >= end) continue;
      tile->ids[tile->count] = id;
      tile->weight[tile->count++] = rows.candidate_weight ? rows.candidate_weight[*position] : T(1);
    }
  }
  for (int64_t j = tile->count; j < kTileItems; ++j) tile->ids[j] = -1, tile->weight[j] = 0;
}

template <class T>
static int64_t first_position(const core::Rows<T>& rows, int64_t row, int64_t begin) {
  return rows.candidate_ptr == nullptr ? begin : rows.candidate_ptr[row];
}

// Scores of a tile, [kTileUsers, kTileItems]; what does not count for a row gets -infinity.
// `transposed` [width, kTileItems] is scratch.
template <class T>
static void tile_scores(const core::SmoothRank<T>& problem, const T* users, const T* items,
                        int64_t row_begin, int64_t num_rows, const Items<T>& tile, T* transposed,
                        T* scores) {
  const int64_t width = problem.width, stride = padded_width<T>(width);
  for (int64_t j = 0; j < kTileItems; ++j) {
    for (int64_t k = 0; k < width; ++k) {
      transposed[k * kTileItems + j] = j < tile.count ? items[tile.ids[j] * width + k] : T(0);
    }
  }
  fill<T>(scores, kTileUsers * kTileItems, 0);
  add_product<T>(round_up(num_rows, 4), kTileItems, width, users + row_begin * stride, stride, 1,
                 transposed, kTileItems, scores, kTileItems);
  const T nothing = -T(__builtin_inf());
  for (int64_t r = 0; r < num_rows; ++r) {
    T* row_scores = scores + r * kTileItems;
    for (int64_t j = tile.count; j < kTileItems; ++j) row_scores[j] = nothing;
    if (!problem.exclude_positives) continue;
    const core::Span liked = core::positives(problem.rows, row_begin + r);
    for (int64_t j = 0; j < tile.count; ++j) {
      if (core::contains(liked, tile.ids[j])) row_scores[j] = nothing;
    }
  }
}

// (s_uj - s_ui) / tau of a tile's row; the positive i itself does not count.
template <class T>
static inline void differences(const T* row_scores, const Items<T>& tile, int64_t id, T score,
                               T inverse_tau, T* x) {
  const T nothing = -T(__builtin_inf());
  for (int64_t j = 0; j < kTileItems; ++j) {
    x[j] = tile.ids[j] == id ? nothing : (row_scores[j] - score) * inverse_tau;
  }
}

template <class T>
void positive_scores(const core::SmoothRank<T>& problem, const T* users, const T* items, T* scores,
                     int64_t begin, int64_t end) {
  const int64_t width = problem.width, stride = padded_width<T>(width);
  for (int64_t row = begin; row < end; ++row) {
    const core::Span liked = core::positives(problem.rows, row);
    for (const int64_t* id = liked.begin; id < liked.end; ++id) {
      T sum = 0;
      for (int64_t k = 0; k < width; ++k) sum += users[row * stride + k] * items[*id * width + k];
      scores[problem.offsets[row] + (id - liked.begin)] = sum;
    }
  }
}

template <class T>
void smooth_rank(const core::SmoothRank<T>& problem, const T* users, const T* items,
                 const T* scores, T tau, double* ranks, T* scratch, int64_t begin, int64_t end) {
  const core::Rows<T>& rows = problem.rows;
  T* transposed = scratch;
  T* tile_score = scratch + kTileItems * problem.width;
  const int64_t step = rows.candidate_ptr == nullptr ? kTileUsers : 1;
  for (int64_t row = begin; row < end; row += step) {
    const int64_t num_rows = end - row < step ? end - row : step;
    Items<T> tile;
    int64_t position = first_position(rows, row, 0);
    for (next_items(rows, row, 0, rows.num_items, &position, &tile); tile.count > 0;
         next_items(rows, row, 0, rows.num_items, &position, &tile)) {
      tile_scores(problem, users, items, row, num_rows, tile, transposed, tile_score);
      for (int64_t r = 0; r < num_rows; ++r) {
        const core::Span liked = core::positives(rows, row + r);
        for (const int64_t* id = liked.begin; id < liked.end; ++id) {
          const int64_t at = problem.offsets[row + r] + (id - liked.begin);
          T x[kTileItems];
          differences(tile_score + r * kTileItems, tile, *id, scores[at], 1 / tau, x);
          T sum[8] = {};
          for (int64_t j = 0; j < kTileItems; j += 8) {
            for (int64_t l = 0; l < 8; ++l) sum[l] += tile.weight[j + l] * core::sigmoid(x[j + l]);
          }
          ranks[at] += double(((sum[0] + sum[1]) + (sum[2] + sum[3])) +
                              ((sum[4] + sum[5]) + (sum[6] + sum[7])));
        }
      }
    }
  }
}

template <class T>
void smooth_rank_backward(const core::SmoothRank<T>& problem, const T* users, const T* items,
                          const T* scores, T tau, const T* rank_grad, T* user_grad, T* item_grad,
                          double* score_grad, T* scratch, int64_t begin, int64_t end) {
  const core::Rows<T>& rows = problem.rows;
  const int64_t width = problem.width, stride = padded_width<T>(width);
  const bool all_items = rows.candidate_ptr == nullptr;
  const int64_t step = all_items ? kTileUsers : 1;
  T* transposed = scratch;
  T* tile_score = transposed + kTileItems * width;
  T* gradients = tile_score + kTileUsers * kTileItems;
  T* tile_items = gradients + kTileUsers * kTileItems;
  T* tile_grad = tile_items + kTileItems * stride;
  fill<T>(user_grad, padded_rows(rows.batch) * stride, 0);
  fill<T>(item_grad + begin * width, (end - begin) * width, 0);
  fill<double>(score_grad, problem.size, 0);

  const auto tile_backward = [&](int64_t row, int64_t num_rows, const Items<T>& tile) {
    tile_scores(problem, users, items, row, num_rows, tile, transposed, tile_score);
    fill<T>(gradients, kTileUsers * kTileItems, 0);
    for (int64_t r = 0; r < num_rows; ++r) {
      const core::Span liked = core::positives(rows, row + r);
      T* out = gradients + r * kTileItems;
      for (const int64_t* id = liked.begin; id < liked.end; ++id) {
        const int64_t at = problem.offsets[row + r] + (id - liked.begin);
        T x[kTileItems], sum[8] = {};
        differences(tile_score + r * kTileItems, tile, *id, scores[at], 1 / tau, x);
        const T factor = rank_grad[at] / tau;
        for (int64_t j = 0; j < kTileItems; j += 8) {
          for (int64_t l = 0; l < 8; ++l) {
            const T part = factor * tile.weight[j + l] * core::sigmoid_slope(x[j + l]);
            out[j + l] += part;
            sum[l] += part;
          }
        }
        score_grad[at] -= double(((sum[0] + sum[1]) + (sum[2] + sum[3])) +
                                 ((sum[4] + sum[5]) + (sum[6] + sum[7])));
      }
    }
    add_product<T>(round_up(num_rows, 4), stride, tile.count, gradients, kTileItems, 1, tile_items,
                   stride, user_grad + row * stride, stride);
    add_product<T>(kTileItems, stride, num_rows, gradients, 1, kTileItems, users + row * stride,
                   stride, tile_grad, stride);
  };
  const auto load_items = [&](const Items<T>& tile) {
    fill<T>(tile_items, kTileItems * stride, 0);
    fill<T>(tile_grad, kTileItems * stride, 0);
    for (int64_t j = 0; j < tile.count; ++j) {
      for (int64_t k = 0; k < width; ++k)
        tile_items[j * stride + k] = items[tile.ids[j] * width + k];
    }
  };
  const auto add_item_grad = [&](const Items<T>& tile) {
    for (int64_t j = 0; j < tile.count; ++j) {
      add_scaled<T>(width, 1, tile_grad + j * stride, item_grad + tile.ids[j] * width);
    }
  };

  Items<T> tile;
  if (all_items) {
    int64_t position = begin;
    for (next_items(rows, 0, begin, end, &position, &tile); tile.count > 0;
         next_items(rows, 0, begin, end, &position, &tile)) {
      load_items(tile);
      for (int64_t row = 0; row < rows.batch; row += step) {
        tile_backward(row, rows.batch - row < step ? rows.batch - row : step, tile);
      }
      add_item_grad(tile);
    }
  } else {
    for (int64_t row = 0; row < rows.batch; ++row) {
      int64_t position = first_position(rows, row, begin);
      for (next_items(rows, row, begin, end, &position, &tile); tile.count > 0;
           next_items(rows, row, begin, end, &position, &tile)) {
        load_items(tile);
        tile_backward(row, 1, tile);
        add_item_grad(tile);
      }
    }
  }
}

template <class T>
void add_positive_user_grad(const core::SmoothRank<T>& problem, const T* items,
                            const double* score_grad, T* user_grad, int64_t begin, int64_t end) {
  const int64_t width = problem.width;
  for (int64_t row = begin; row < end; ++row) {
    const core::Span liked = core::positives(problem.rows, row);
    for (const int64_t* id = liked.begin; id < liked.end; ++id) {
      const T factor = T(score_grad[problem.offsets[row] + (id - liked.begin)]);
      add_scaled(width, factor, items + *id * width, user_grad + row * width);
    }
  }
}

template <class T>
void add_positive_item_grad(const core::SmoothRank<T>& problem, const T* users,
                            const double* score_grad, T* item_grad, int64_t begin, int64_t end) {
  const int64_t width = problem.width, stride = padded_width<T>(width);
  for (int64_t row = 0; row < problem.rows.batch; ++row) {
    const core::Span liked = core::positives(problem.rows, row);
    for (const int64_t* id = core::lower_bound(liked, begin); id < liked.end && *id < end; ++id) {
      const T factor = T(score_grad[problem.offsets[row] + (id - liked.begin)]);
      add_scaled(width, factor, users + row * stride, item_grad + *id * width);
    }
  }
}

#define HASHGCN_INSTANTIATE(T)                                                                     \
  template void positive_scores<T>(const core::SmoothRank<T>&, const T*, const T*, T*, int64_t,    \
                                   int64_t);                                                       \
  template void smooth_rank<T>(const core::SmoothRank<T>&, const T*, const T*, const T*, T,        \
                               double*, T*, int64_t, int64_t);                                     \
  template void smooth_rank_backward<T>(const core::SmoothRank<T>&, const T*, const T*, const T*,  \
                                        T, const T*, T*, T*, double*, T*, int64_t, int64_t);       \
  template void add_positive_user_grad<T>(const core::SmoothRank<T>&, const T*, const double*, T*, \
                                          int64_t, int64_t);                                       \
  template void add_positive_item_grad<T>(const core::SmoothRank<T>&, const T*, const double*, T*, \
                                          int64_t, int64_t);
HASHGCN_INSTANTIATE(float)
HASHGCN_INSTANTIATE(double)

}  // namespace hashgcn::cpu::HASHGCN_ISA

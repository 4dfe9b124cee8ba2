#include "smooth_rank.h"

namespace hashgcn::cpu::HASHGCN_ISA {

template <class T>
constexpr int64_t kLanes = sizeof(typename Lanes<T>::type) / sizeof(T);

template <class T>
static inline T sum_of(typename Lanes<T>::type x) {
  T part[4] = {};
  for (int64_t l = 0; l < kLanes<T>; l += 4) {
    for (int64_t i = 0; i < 4; ++i) part[i] += x[l + i];
  }
  return (part[0] + part[1]) + (part[2] + part[3]);
}

// A tile's items; columns past `count` have weight 0.
template <class T>
struct Items {
  int64_t count;
  int64_t ids[kRankItems];
  T weight[kRankItems];

  int64_t columns() const { return round_up(count, kTileItems); }
};

// The next items of [begin, end) that are candidates of `row` (of all rows if there are no lists),
// read on from `*position`; count is 0 when none is left.
template <class T>
static void next_items(const core::Rows<T>& rows, int64_t row, int64_t begin, int64_t end,
                       int64_t* position, Items<T>* tile) {
  tile->count = 0;
  if (rows.candidate_ptr == nullptr) {
    for (; *position < end && tile->count < kRankItems; ++*position, ++tile->count) {
      tile->ids[tile->count] = *position;
      tile->weight[tile->count] = rows.item_weight ? rows.item_weight[*position] : T(1);
    }
  } else {
    for (; *position < rows.candidate_ptr[row + 1] && tile->count < kRankItems; ++*position) {
      const int64_t id = rows.candidate_ids[*position];
      if (id < begin || id >= end) continue;
      tile->ids[tile->count] = id;
      tile->weight[tile->count++] = core::weight_of(rows, *position);
    }
  }
  for (int64_t j = tile->count; j < tile->columns(); ++j) tile->ids[j] = -1, tile->weight[j] = 0;
}

// Calls load(tile), work(row, num_rows, tile) for the blocks of rows that see it, and store(tile),
// for tiles that cover items [begin, end).
template <class T, class Load, class Work, class Store>
static void for_each_tile(const core::Rows<T>& rows, int64_t begin, int64_t end, const Load& load,
                          const Work& work, const Store& store) {
  Items<T> tile;
  const bool all_items = rows.candidate_ptr == nullptr;
  for (int64_t row = 0; row < (all_items ? 1 : rows.batch); ++row) {
    int64_t position = all_items ? begin : rows.candidate_ptr[row];
    for (next_items(rows, row, begin, end, &position, &tile); tile.count > 0;
         next_items(rows, row, begin, end, &position, &tile)) {
      load(tile);
      if (all_items) {
        for (int64_t block = 0; block < rows.batch; block += kTileUsers) {
          work(block, rows.batch - block < kTileUsers ? rows.batch - block : kTileUsers, tile);
        }
      } else {
        work(row, 1, tile);
      }
      store(tile);
    }
  }
}

template <class T>
static void transpose(const T* items, int64_t width, const Items<T>& tile, T* transposed) {
  for (int64_t j = 0; j < tile.columns(); ++j) {
    for (int64_t k = 0; k < width; ++k) {
      transposed[k * kRankItems + j] = j < tile.count ? items[tile.ids[j] * width + k] : T(0);
    }
  }
}

// Sets the weight of the columns that hold item `id`.
template <class T>
static inline void set_weight(const core::Rows<T>& rows, const Items<T>& tile, int64_t id,
                              const T* value, T* weight) {
  if (rows.candidate_ptr == nullptr) {
    const int64_t j = id - tile.ids[0];
    if (j >= 0 && j < tile.count) weight[j] = value ? value[j] : 0;
  } else {
    for (int64_t j = 0; j < tile.columns(); ++j) {
      if (tile.ids[j] == id) weight[j] = value ? value[j] : 0;
    }
  }
}

// Calls pairs(at, odds, decay, weight) for each positive of `num_rows` rows, `at` its place among
// the ranks: its sigmoid with column j of the tile is 1 / (1 + odds * decay[j]).
template <class T, class Pairs>
static void for_each_positive(const core::SmoothRank<T>& problem, const T* users,
                              const Positive<T>* positives, T tau, int64_t row_begin,
                              int64_t num_rows, const Items<T>& tile, const T* transposed,
                              T* scores, const Pairs& pairs) {
  const int64_t stride = padded_width<T>(problem.width), columns = tile.columns();
  fill<T>(scores, kTileUsers * kRankItems, 0);
  add_product<T>(round_up(num_rows, 4), columns, problem.width, users + row_begin * stride, stride,
                 1, transposed, kRankItems, scores, kRankItems);
  const T inverse_tau = 1 / tau;
  constexpr T limit = kRankExponent<T> - kRankSpread;
  alignas(64) T decay[kRankItems], weight[kRankItems];
  for (int64_t r = 0; r < num_rows; ++r) {
    const core::Span liked = core::positives(problem.rows, row_begin + r);
    const T* row_scores = scores + r * kRankItems;
    for (int64_t j = 0; j < columns; ++j) weight[j] = tile.weight[j];
    if (problem.exclude_positives) {
      for (const int64_t* id = liked.begin; id < liked.end; ++id) {
        set_weight<T>(problem.rows, tile, *id, nullptr, weight);
      }
    }
    const int64_t first = problem.offsets[row_begin + r];
    for (int64_t i = 0; i < liked.end - liked.begin; ++i) {
      const Positive<T> positive = positives[first + i];
      if (i == 0 || positive.center != positives[first + i - 1].center) {
        for (int64_t j = 0; j < columns; ++j) {
          T z = (row_scores[j] - positive.center) * inverse_tau;
          z = z < limit ? z : limit;
          decay[j] = core::exp_minus(z > -limit ? z : -limit);
        }
      }
      if (!problem.exclude_positives) {
        set_weight<T>(problem.rows, tile, liked.begin[i], nullptr, weight);
      }
      pairs(r, first + i, positive.odds, decay, weight);
      if (!problem.exclude_positives) {
        set_weight<T>(problem.rows, tile, liked.begin[i], tile.weight, weight);
      }
    }
  }
}

template <class T>
void positive_scores(const core::SmoothRank<T>& problem, const T* users, const T* items, T tau,
                     Positive<T>* positives, int64_t begin, int64_t end) {
  const int64_t width = problem.width, stride = padded_width<T>(width);
  const auto least = [](T a, T b) { return a < b ? a : b; };
  const auto most = [](T a, T b) { return a > b ? a : b; };
  for (int64_t row = begin; row < end; ++row) {
    const core::Span liked = core::positives(problem.rows, row);
    const int64_t count = liked.end - liked.begin;
    Positive<T>* out = positives + problem.offsets[row];
    for (int64_t i = 0; i < count; ++i) {
      T sum = 0;
      for (int64_t k = 0; k < width; ++k) {
        sum += users[row * stride + k] * items[liked.begin[i] * width + k];
      }
      out[i].odds = sum;
    }
    for (int64_t i = 0, next; i < count; i = next) {
      T low = out[i].odds, high = low;
      for (next = i + 1; next < count; ++next) {
        const T score = out[next].odds;
        if (!(most(high, score) - least(low, score) <= 2 * kRankSpread * tau)) break;
        low = least(low, score), high = most(high, score);
      }
      const T center = low / 2 + high / 2;
      for (int64_t m = i; m < next; ++m) {
        out[m] = {center, core::exp_minus((center - out[m].odds) / tau)};
      }
    }
  }
}

template <class T>
void smooth_rank(const core::SmoothRank<T>& problem, const T* users, const T* items,
                 const Positive<T>* positives, T tau, double* ranks, T* scratch, int64_t begin,
                 int64_t end) {
  using V = typename Lanes<T>::type;
  T* transposed = scratch;
  T* scores = transposed + kRankItems * problem.width;
  fill<double>(ranks, problem.size, 0);
  for_each_tile(
      problem.rows, begin, end,
      [&](const Items<T>& tile) { transpose(items, problem.width, tile, transposed); },
      [&](int64_t row, int64_t num_rows, const Items<T>& tile) {
        for_each_positive(problem, users, positives, tau, row, num_rows, tile, transposed, scores,
                          [&](int64_t, int64_t at, T odds, const T* decay, const T* weight) {
                            V sum = {};
                            for (int64_t j = 0; j < tile.columns(); j += kLanes<T>) {
                              const V d = *reinterpret_cast<const V*>(decay + j);
                              const V w = *reinterpret_cast<const V*>(weight + j);
                              sum += w / (1 + odds * d);
                            }
                            ranks[at] += double(sum_of<T>(sum));
                          });
      },
      [](const Items<T>&) {});
}

template <class T>
void smooth_rank_backward(const core::SmoothRank<T>& problem, const T* users, const T* items,
                          const Positive<T>* positives, T tau, const T* rank_grad, T* user_grad,
                          T* item_grad, double* score_grad, T* scratch, int64_t begin,
                          int64_t end) {
  using V = typename Lanes<T>::type;
  const core::Rows<T>& rows = problem.rows;
  const int64_t width = problem.width, stride = padded_width<T>(width);
  T* transposed = scratch;
  T* scores = transposed + kRankItems * width;
  T* gradients = scores + kTileUsers * kRankItems;
  T* tile_items = gradients + kTileUsers * kRankItems;
  T* tile_grad = tile_items + kRankItems * stride;
  fill<T>(user_grad, padded_rows(rows.batch) * stride, 0);
  fill<T>(item_grad + begin * width, (end - begin) * width, 0);
  fill<double>(score_grad, problem.size, 0);

  const auto load = [&](const Items<T>& tile) {
    transpose(items, width, tile, transposed);
    fill<T>(tile_items, tile.columns() * stride, 0);
    fill<T>(tile_grad, tile.columns() * stride, 0);
    for (int64_t j = 0; j < tile.count; ++j) {
      for (int64_t k = 0; k < width; ++k)
        tile_items[j * stride + k] = items[tile.ids[j] * width + k];
    }
  };
  const auto work = [&](int64_t row, int64_t num_rows, const Items<T>& tile) {
    fill<T>(gradients, kTileUsers * kRankItems, 0);
    for_each_positive(problem, users, positives, tau, row, num_rows, tile, transposed, scores,
                      [&](int64_t r, int64_t at, T odds, const T* decay, const T* weight) {
                        T* out = gradients + r * kRankItems;
                        const T factor = rank_grad[at] / tau;
                        V sum = {};
                        for (int64_t j = 0; j < tile.columns(); j += kLanes<T>) {
                          const V x = odds * *reinterpret_cast<const V*>(decay + j);
                          const V y = 1 / (1 + x);
                          // The slope is y (1 - y); x y does not cancel where y is almost 1.
                          const V slope = *reinterpret_cast<const V*>(weight + j) * (x * y * y);
                          *reinterpret_cast<V*>(out + j) += factor * slope;
                          sum += slope;
                        }
                        score_grad[at] -= double(factor) * double(sum_of<T>(sum));
                      });
    add_product<T>(round_up(num_rows, 4), stride, tile.count, gradients, kRankItems, 1, tile_items,
                   stride, user_grad + row * stride, stride);
    add_product<T>(tile.columns(), stride, num_rows, gradients, 1, kRankItems, users + row * stride,
                   stride, tile_grad, stride);
  };
  for_each_tile(rows, begin, end, load, work, [&](const Items<T>& tile) {
    for (int64_t j = 0; j < tile.count; ++j) {
      add_scaled<T>(width, 1, tile_grad + j * stride, item_grad + tile.ids[j] * width);
    }
  });
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

HASHGCN_FOR_FLOATS(positive_scores)
HASHGCN_FOR_FLOATS(smooth_rank)
HASHGCN_FOR_FLOATS(smooth_rank_backward)
HASHGCN_FOR_FLOATS(add_positive_user_grad)
HASHGCN_FOR_FLOATS(add_positive_item_grad)

}  // namespace hashgcn::cpu::HASHGCN_ISA

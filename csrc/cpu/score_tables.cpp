#include "score_tables.h"

#include "sign_product.h"

#if defined(__AVX512VPOPCNTDQ__)
#include <immintrin.h>
#endif

namespace hashgcn::cpu::HASHGCN_ISA {

template <class T>
bool pack_weights(const T* x, uint64_t* words, int64_t code_length, int planes, int64_t begin,
                  int64_t end) {
  const int64_t row_words = core::words_per_code(code_length);
  const int bound = (1 << planes) - 1;
  bool good = true;
  for (int64_t row = begin; row < end; ++row) {
    uint64_t* row_planes = words + row * planes * row_words;
    fill<uint64_t>(row_planes, planes * row_words, 0);
    for (int64_t k = 0; k < code_length; ++k) {
      const T weight = x[row * code_length + k];
      const bool inside = weight >= -bound && weight <= bound;  // not if it is NaN
      const int bits = inside ? (int(weight) + bound) / 2 : 0;
      good &= T(2 * bits - bound) == weight;
      for (int p = 0; p < planes; ++p) {
        row_planes[p * row_words + k / 64] |= uint64_t(bits >> p & 1) << (k % 64);
      }
    }
  }
  return good;
}

// Words and planes of codes; words are a number for the compiler where it is not 0. Planes always
// are: a loop over them inside of the loop over items takes four times as long.
template <int kWords, int kPlanes>
struct Shape {
  int64_t all_words;

  int64_t words() const { return kWords > 0 ? kWords : all_words; }

  int64_t distance(const uint64_t* user, const uint64_t* item) const {
    int64_t sum = 0;
    for (int p = 0; p < kPlanes; ++p) {
      sum += int64_t(core::hamming(user + p * words(), item, words())) << p;
    }
    return sum;
  }
};

template <int kPlanes, class Body>
static void with_words(int64_t words, const Body& body) {
  words == 1   ? body(Shape<1, kPlanes>{words})
  : words == 2 ? body(Shape<2, kPlanes>{words})
  : words == 4 ? body(Shape<4, kPlanes>{words})
               : body(Shape<0, kPlanes>{words});
}

// Calls body(shape of the codes).
template <class T, class Body>
static void with_shape(const core::ScoreTables<T>& tables, const Body& body) {
  const int64_t words = core::words_per_code(tables.code_length);
  const int planes = tables.planes;
  planes == 1   ? with_words<1>(words, body)
  : planes == 2 ? with_words<2>(words, body)
  : planes == 3 ? with_words<3>(words, body)
                : with_words<4>(words, body);
}

// Adds items [begin, end) to the tables of their distances from one user, kCounters tables that
// begin `stride` apart: 1 for each, or its weight.
template <bool kWeighted, class S, class T, class Total>
static void add_distances(const S& shape, const uint64_t* user, const uint64_t* items,
                          const T* weight, int64_t begin, int64_t end, Total* totals,
                          int64_t stride) {
  const auto add = [&](int64_t j, Total* table) {
    table[shape.distance(user, items + j * shape.words())] += kWeighted ? Total(weight[j]) : 1;
  };
  int64_t j = begin;
  for (; j + kCounters <= end; j += kCounters) {
    for (int64_t c = 0; c < kCounters; ++c) add(j + c, totals + c * stride);
  }
  for (; j < end; ++j) add(j, totals);
}

// counts[w]: how many items have the score of column w.
template <class T>
static void count_all_items(const core::ScoreTables<T>& tables, int64_t row, uint32_t* totals,
                            T* counts) {
  const int64_t columns = core::num_columns(tables), stride = round_up(columns, 16);
  fill<uint32_t>(totals, kCounters * stride, 0);
  with_shape(tables, [&](const auto& shape) {
    add_distances<false>(shape, tables.user_words + row * tables.planes * shape.words(),
                         tables.item_words, static_cast<const T*>(nullptr), 0,
                         tables.rows.num_items, totals, stride);
  });
  for (int64_t w = 0; w < columns; ++w) {
    int64_t count = 0;
    for (int64_t c = 0; c < kCounters; ++c) count += totals[c * stride + columns - 1 - w];
    counts[w] = T(count);
  }
}

// sums[w]: the weight of the items outside of `liked` that have the score of column w. Positives
// are left out, not subtracted: that would leave a rounding where nothing else is.
template <class T>
static void weigh_other_items(const core::ScoreTables<T>& tables, int64_t row, core::Span liked,
                              double* totals, T* sums) {
  const int64_t columns = core::num_columns(tables), stride = round_up(columns, 16);
  fill<double>(totals, kCounters * stride, 0);
  with_shape(tables, [&](const auto& shape) {
    int64_t begin = 0;
    for (const int64_t* id = liked.begin; begin < tables.rows.num_items; ++id) {
      const int64_t end = id < liked.end ? *id : tables.rows.num_items;
      add_distances<true>(shape, tables.user_words + row * tables.planes * shape.words(),
                          tables.item_words, tables.rows.item_weight, begin, end, totals, stride);
      begin = end + 1;
    }
  });
  for (int64_t w = 0; w < columns; ++w) {
    double sum = 0;
    for (int64_t c = 0; c < kCounters; ++c) sum += totals[c * stride + columns - 1 - w];
    sums[w] = T(sum);
  }
}

template <class T>
void score_tables(const core::ScoreTables<T>& tables, T* v_neg, T* v_pos, T* neg, T* pos,
                  void* scratch, int64_t begin, int64_t end) {
  const core::Rows<T>& rows = tables.rows;
  const int64_t columns = core::num_columns(tables);
  for (int64_t row = begin; row < end; ++row) {
    T* row_neg = neg + row * columns;
    T* row_pos = pos + row * columns;
    for (int64_t w = 0; w < columns; ++w) {
      v_neg[row * columns + w] = v_pos[row * columns + w] = T(2 * w - (columns - 1));
      row_neg[w] = row_pos[w] = 0;
    }
    if (rows.users[row] < 0) continue;
    const core::Span liked = core::positives(rows, row);
    for (const int64_t* id = liked.begin; id < liked.end; ++id) {
      row_pos[core::column(tables, row, *id)] += 1;
    }
    if (rows.candidate_ptr != nullptr) {
      for (int64_t c = rows.candidate_ptr[row]; c < rows.candidate_ptr[row + 1]; ++c) {
        const int64_t item = rows.candidate_ids[c];
        if (core::contains(liked, item)) continue;
        row_neg[core::column(tables, row, item)] += core::weight_of(rows, c);
      }
    } else if (rows.item_weight != nullptr) {
      weigh_other_items(tables, row, liked, static_cast<double*>(scratch), row_neg);
    } else {
      count_all_items(tables, row, static_cast<uint32_t*>(scratch), row_neg);
      for (int64_t w = 0; w < columns; ++w) row_neg[w] -= row_pos[w];
    }
  }
}

// out[j] = shares[distance of item j].
template <class S, class T>
static inline void look_up(const S& shape, const uint64_t* user, const uint64_t* items,
                           int64_t num_items, const T* shares, T* out) {
  for (int64_t j = 0; j < num_items; ++j) {
    out[j] = shares[shape.distance(user, items + j * shape.words())];
  }
}

#if defined(__AVX512VPOPCNTDQ__)
// The table of a plain code of one word stays in registers: distances 0 to 63 are looked up by two
// permutations, 64 is a case of its own. A quarter of the time of scalar loads.
template <>
inline void look_up(const Shape<1, 1>&, const uint64_t* user, const uint64_t* items,
                    int64_t num_items, const float* shares, float* out) {
  const __m512 t0 = _mm512_loadu_ps(shares), t1 = _mm512_loadu_ps(shares + 16);
  const __m512 t2 = _mm512_loadu_ps(shares + 32), t3 = _mm512_loadu_ps(shares + 48);
  const __m512 opposite = _mm512_set1_ps(shares[64]);
  const __m512i word = _mm512_set1_epi64(int64_t(*user));
  const __m512i low_halves =
      _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  for (int64_t j = 0; j < num_items; j += 16) {
    const int64_t left = num_items - j;
    const uint32_t present = left >= 16 ? 0xffff : (1u << left) - 1;
    const __m512i a = _mm512_maskz_loadu_epi64(__mmask8(present), items + j);
    const __m512i b = _mm512_maskz_loadu_epi64(__mmask8(present >> 8), items + j + 8);
    const __m512i distance =
        _mm512_permutex2var_epi32(_mm512_popcnt_epi64(_mm512_xor_si512(a, word)), low_halves,
                                  _mm512_popcnt_epi64(_mm512_xor_si512(b, word)));
    const __mmask16 far = _mm512_test_epi32_mask(distance, _mm512_set1_epi32(32));
    const __mmask16 farthest = _mm512_test_epi32_mask(distance, _mm512_set1_epi32(64));
    __m512 share = _mm512_permutex2var_ps(t0, distance, t1);
    share = _mm512_mask_mov_ps(share, far, _mm512_permutex2var_ps(t2, distance, t3));
    share = _mm512_mask_mov_ps(share, farthest, opposite);
    _mm512_mask_storeu_ps(out + j, __mmask16(present), share);
  }
}
#endif

// dL/ds of the pairs of a tile, [kTileUsers, kTileItems]: the share of each score's column. Items
// come in rising order; `next` holds each row's first positive that has not been passed yet.
template <class S, class T>
static void score_gradients(const S& shape, const core::ScoreTables<T>& tables, const T* share_neg,
                            const T* share_pos, int64_t row_begin, int64_t num_rows,
                            int64_t item_begin, int64_t num_items, const int64_t** next,
                            T* gradients) {
  const int64_t words = shape.words(), stride = share_stride(core::num_columns(tables));
  const T* weight = tables.rows.item_weight;
  for (int64_t r = 0; r < num_rows; ++r) {
    const int64_t row = row_begin + r;
    T* out = gradients + r * kTileItems;
    if (tables.rows.users[row] < 0) {
      fill<T>(out, kTileItems, 0);
      continue;
    }
    look_up(shape, tables.user_words + row * tables.planes * words,
            tables.item_words + item_begin * words, num_items, share_neg + row * stride, out);
    if (weight != nullptr) {
      for (int64_t j = 0; j < num_items; ++j) out[j] *= weight[item_begin + j];
    }
    for (int64_t j = num_items; j < kTileItems; ++j) out[j] = 0;
    const int64_t* last = core::positives(tables.rows, row).end;
    for (; next[row] < last && *next[row] < item_begin + num_items; ++next[row]) {
      const int64_t id = *next[row];
      out[id - item_begin] = share_pos[row * stride + core::distance(tables, row, id)];
    }
  }
  fill<T>(gradients + num_rows * kTileItems, (kTileUsers - num_rows) * kTileItems, 0);
}

template <class T>
static void backward_candidates(const core::ScoreTables<T>& tables, const T* user_codes,
                                const T* item_codes, const T* share_neg, const T* share_pos,
                                T* user_grad, T* item_grad, int64_t begin, int64_t end) {
  const core::Rows<T>& rows = tables.rows;
  const int64_t f = tables.code_length, stride = padded_width<T>(f);
  const int64_t shares = share_stride(core::num_columns(tables));
  const auto add = [&](int64_t row, int64_t item, T gradient) {
    add_scaled(f, gradient, item_codes + item * f, user_grad + row * stride);
    add_scaled(f, gradient, user_codes + row * f, item_grad + item * f);
  };
  fill<T>(item_grad + begin * f, (end - begin) * f, 0);
  for (int64_t row = 0; row < rows.batch; ++row) {
    if (rows.users[row] < 0) continue;
    const core::Span liked = core::positives(rows, row);
    for (const int64_t* id = core::lower_bound(liked, begin); id < liked.end && *id < end; ++id) {
      add(row, *id, share_pos[row * shares + core::distance(tables, row, *id)]);
    }
    for (int64_t c = rows.candidate_ptr[row]; c < rows.candidate_ptr[row + 1]; ++c) {
      const int64_t item = rows.candidate_ids[c];
      if (item < begin || item >= end || core::contains(liked, item)) continue;
      const T share = share_neg[row * shares + core::distance(tables, row, item)];
      add(row, item, core::weight_of(rows, c) * share);
    }
  }
}

template <class T>
void score_tables_backward(const core::ScoreTables<T>& tables, const T* user_codes,
                           const T* item_codes, const T* share_neg, const T* share_pos,
                           T* user_grad, T* item_grad, T* scratch, const int64_t** next,
                           int64_t begin, int64_t end) {
  const int64_t f = tables.code_length, stride = padded_width<T>(f), batch = tables.rows.batch;
  const int64_t words = core::words_per_code(f);
  fill<T>(user_grad, padded_rows(batch) * stride, 0);
  if (tables.rows.candidate_ptr != nullptr) {
    backward_candidates(tables, user_codes, item_codes, share_neg, share_pos, user_grad, item_grad,
                        begin, end);
    return;
  }
  T* item_signs = scratch;
  T* tile_grad = item_signs + kTileItems * stride;
  T* gradients = tile_grad + kTileItems * stride;
  // Rows of signs for plain codes, else of weights.
  const bool plain = tables.planes == 1;
  T* user_rows = gradients + kTileUsers * kTileItems;
  for (int64_t row = 0; row < batch; row += kTileUsers) {
    const int64_t rows = batch - row < kTileUsers ? batch - row : kTileUsers;
    T* out = user_rows + row * stride;
    if (plain) {
      lay_out_signs<T>(tables.user_words + row * words, f, rows, kTileUsers, stride, out);
      continue;
    }
    fill<T>(out, kTileUsers * stride, 0);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t k = 0; k < f; ++k) out[r * stride + k] = user_codes[(row + r) * f + k];
    }
  }
  for (int64_t row = 0; row < batch; ++row) {
    next[row] = core::lower_bound(core::positives(tables.rows, row), begin);
  }
  for (int64_t item = begin; item < end; item += kTileItems) {
    const int64_t items = end - item < kTileItems ? end - item : kTileItems;
    fill<T>(tile_grad, kTileItems * stride, 0);
    lay_out_signs<T>(tables.item_words + item * words, f, items, kTileItems, stride, item_signs);
    for (int64_t row = 0; row < batch; row += kTileUsers) {
      const int64_t rows = batch - row < kTileUsers ? batch - row : kTileUsers;
      with_shape(tables, [&](const auto& shape) {
        score_gradients(shape, tables, share_neg, share_pos, row, rows, item, items, next,
                        gradients);
      });
      add_sign_product<T>(kTileUsers, kTileItems, gradients, kTileItems, 1, item_signs, stride,
                          user_grad + row * stride);
      const T* factors = user_rows + row * stride;
      if (plain) {
        add_sign_product<T>(kTileItems, kTileUsers, gradients, 1, kTileItems, factors, stride,
                            tile_grad);
      } else {
        add_product<T>(kTileItems, stride, kTileUsers, gradients, 1, kTileItems, factors, stride,
                       tile_grad, stride);
      }
    }
    for (int64_t j = 0; j < items; ++j) {
      for (int64_t k = 0; k < f; ++k) item_grad[(item + j) * f + k] = tile_grad[j * stride + k];
    }
  }
}

HASHGCN_FOR_FLOATS(pack_weights)
HASHGCN_FOR_FLOATS(score_tables)
HASHGCN_FOR_FLOATS(score_tables_backward)

}  // namespace hashgcn::cpu::HASHGCN_ISA

#include "score_tables.h"

#include "sign_product.h"

#if defined(__AVX512VPOPCNTDQ__)
#include <immintrin.h>
#endif

namespace hashgcn::cpu::HASHGCN_ISA {

constexpr int64_t kTable = core::kMaxTableLength + 1;

// How many items lie at each distance of one user. Neighbouring items are counted in four tables:
// codes of one user cluster around half the length, and a counter that was just written is slow to
// read back.
template <int kWords>
static void count_distances(const uint64_t* user, const uint64_t* items, int64_t num_items,
                            int64_t words, uint32_t (*counts)[kTable]) {
  const int64_t row = kWords > 0 ? kWords : words;
  int64_t j = 0;
  for (; j + 4 <= num_items; j += 4) {
    for (int64_t c = 0; c < 4; ++c) counts[c][core::hamming(user, items + (j + c) * row, row)]++;
  }
  for (; j < num_items; ++j) counts[0][core::hamming(user, items + j * row, row)]++;
}

template <class T>
static void count_all_items(const core::ScoreTables<T>& tables, int64_t row, T* counts) {
  const int64_t f = tables.code_length, words = core::words_per_code(f);
  const uint64_t* user = tables.user_words + row * words;
  uint32_t distances[4][kTable];
  for (auto& table : distances) fill<uint32_t>(table, f + 1, 0);
  const int64_t n = tables.rows.num_items;
  switch (words) {
    case 1:
      count_distances<1>(user, tables.item_words, n, words, distances);
      break;
    case 2:
      count_distances<2>(user, tables.item_words, n, words, distances);
      break;
    case 4:
      count_distances<4>(user, tables.item_words, n, words, distances);
      break;
    default:
      count_distances<0>(user, tables.item_words, n, words, distances);
      break;
  }
  for (int64_t w = 0; w <= f; ++w) {
    int64_t count = 0;
    for (auto& table : distances) count += table[f - w];
    counts[w] = T(count);
  }
}

template <class T>
void score_tables(const core::ScoreTables<T>& tables, T* v_neg, T* v_pos, T* neg, T* pos,
                  int64_t begin, int64_t end) {
  const core::Rows<T>& rows = tables.rows;
  const int64_t f = tables.code_length;
  for (int64_t row = begin; row < end; ++row) {
    T* row_neg = neg + row * (f + 1);
    T* row_pos = pos + row * (f + 1);
    for (int64_t w = 0; w <= f; ++w) {
      v_neg[row * (f + 1) + w] = v_pos[row * (f + 1) + w] = T(2 * w - f);
      row_neg[w] = row_pos[w] = 0;
    }
    if (rows.users[row] < 0) continue;
    const core::Span liked = core::positives(rows, row);
    for (const int64_t* id = liked.begin; id < liked.end; ++id) {
      row_pos[core::level(tables, row, *id)] += 1;
    }
    if (rows.candidate_ptr == nullptr) {
      count_all_items(tables, row, row_neg);
      for (int64_t w = 0; w <= f; ++w) row_neg[w] -= row_pos[w];
    } else {
      for (int64_t c = rows.candidate_ptr[row]; c < rows.candidate_ptr[row + 1]; ++c) {
        const int64_t item = rows.candidate_ids[c];
        if (core::contains(liked, item)) continue;
        row_neg[core::level(tables, row, item)] +=
            rows.candidate_weight ? rows.candidate_weight[c] : T(1);
      }
    }
  }
}

// out[j] = shares[distance of item j].
template <int kWords, class T>
static inline void look_up(const uint64_t* user, const uint64_t* items, int64_t num_items,
                           int64_t words, const T* shares, T* out) {
  const int64_t used = kWords > 0 ? kWords : words;
  for (int64_t j = 0; j < num_items; ++j) {
    out[j] = shares[core::hamming(user, items + j * used, used)];
  }
}

#if defined(__AVX512VPOPCNTDQ__)
// The table of a code of one word stays in registers: distances 0 to 63 are looked up by two
// permutations, 64 is a case of its own. A quarter of the time of scalar loads.
template <>
inline void look_up<1, float>(const uint64_t* user, const uint64_t* items, int64_t num_items,
                              int64_t, const float* shares, float* out) {
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

// dL/ds of the pairs of a tile, [kTileUsers, kTileItems]: the share of each score's level. Items
// come in rising order; `next` holds each row's first positive that has not been passed yet.
template <int kWords, class T>
static void score_gradients(const core::ScoreTables<T>& tables, const T* share_neg,
                            const T* share_pos, int64_t row_begin, int64_t num_rows,
                            int64_t item_begin, int64_t num_items, const int64_t** next,
                            T* gradients) {
  const int64_t words = kWords > 0 ? kWords : core::words_per_code(tables.code_length);
  const int64_t levels = share_stride(tables.code_length);
  for (int64_t r = 0; r < num_rows; ++r) {
    const int64_t row = row_begin + r;
    T* out = gradients + r * kTileItems;
    if (tables.rows.users[row] < 0) {
      fill<T>(out, kTileItems, 0);
      continue;
    }
    look_up<kWords>(tables.user_words + row * words, tables.item_words + item_begin * words,
                    num_items, words, share_neg + row * levels, out);
    for (int64_t j = num_items; j < kTileItems; ++j) out[j] = 0;
    const int64_t* last = core::positives(tables.rows, row).end;
    for (; next[row] < last && *next[row] < item_begin + num_items; ++next[row]) {
      const int64_t id = *next[row];
      out[id - item_begin] = share_pos[row * levels + core::distance(tables, row, id)];
    }
  }
  fill<T>(gradients + num_rows * kTileItems, (kTileUsers - num_rows) * kTileItems, 0);
}

template <class T>
static void backward_candidates(const core::ScoreTables<T>& tables, const T* user_codes,
                                const T* item_codes, const T* share_neg, const T* share_pos,
                                T* user_grad, T* item_grad, int64_t begin, int64_t end) {
  const core::Rows<T>& rows = tables.rows;
  const int64_t f = tables.code_length, stride = padded_width<T>(f), levels = share_stride(f);
  const auto add = [&](int64_t row, int64_t item, T gradient) {
    add_scaled(f, gradient, item_codes + item * f, user_grad + row * stride);
    add_scaled(f, gradient, user_codes + row * f, item_grad + item * f);
  };
  fill<T>(item_grad + begin * f, (end - begin) * f, 0);
  for (int64_t row = 0; row < rows.batch; ++row) {
    if (rows.users[row] < 0) continue;
    const core::Span liked = core::positives(rows, row);
    for (const int64_t* id = core::lower_bound(liked, begin); id < liked.end && *id < end; ++id) {
      add(row, *id, share_pos[row * levels + core::distance(tables, row, *id)]);
    }
    for (int64_t c = rows.candidate_ptr[row]; c < rows.candidate_ptr[row + 1]; ++c) {
      const int64_t item = rows.candidate_ids[c];
      if (item < begin || item >= end || core::contains(liked, item)) continue;
      const T weight = rows.candidate_weight ? rows.candidate_weight[c] : T(1);
      add(row, item, weight * share_neg[row * levels + core::distance(tables, row, item)]);
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
  T* user_signs = gradients + kTileUsers * kTileItems;
  for (int64_t row = 0; row < batch; row += kTileUsers) {
    const int64_t rows = batch - row < kTileUsers ? batch - row : kTileUsers;
    lay_out_signs<T>(tables.user_words + row * words, f, rows, kTileUsers, stride,
                     user_signs + row * stride);
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
      const auto run = f <= 64    ? &score_gradients<1, T>
                       : f <= 128 ? &score_gradients<2, T>
                                  : &score_gradients<0, T>;
      run(tables, share_neg, share_pos, row, rows, item, items, next, gradients);
      add_sign_product<T>(kTileUsers, kTileItems, gradients, kTileItems, 1, item_signs, stride,
                          user_grad + row * stride);
      add_sign_product<T>(kTileItems, kTileUsers, gradients, 1, kTileItems,
                          user_signs + row * stride, stride, tile_grad);
    }
    for (int64_t j = 0; j < items; ++j) {
      for (int64_t k = 0; k < f; ++k) item_grad[(item + j) * f + k] = tile_grad[j * stride + k];
    }
  }
}

HASHGCN_FOR_FLOATS(score_tables)
HASHGCN_FOR_FLOATS(score_tables_backward)

}  // namespace hashgcn::cpu::HASHGCN_ISA

#pragma once

#include "../core/smooth_rank.h"
#include "isa.h"
#include "tiles.h"

namespace hashgcn::cpu {

// A positive as the loops over pairs see it: with z = (s_uj - center) / tau,
//   sigma((s_uj - s_ui) / tau) = 1 / (1 + odds e^-z),   odds = e^((s_ui - center) / tau),
// which takes an exponential for each score and a reciprocal for each pair.
//
// Neighbouring positives of a user share a center as long as their scores lie within kRankSpread
// tau of it. z is cut off at +-(kRankExponent - kRankSpread), so that no product overflows; there
// the sigmoid is within e^-37 of 0 or 1.
template <class T>
struct Positive {
  T center, odds;
};
constexpr int kRankSpread = 25;
template <class T>
constexpr int kRankExponent = sizeof(T) == 8 ? 700 : 87;

// Items of a tile: a user's row of scores and of gradients stays in the first-level cache.
constexpr int64_t kRankItems = 256;

}  // namespace hashgcn::cpu

// The positives of rows [begin, end) into positives [size].
HASHGCN_KERNEL(template <class T> void positive_scores(const core::SmoothRank<T>& problem,
                                                       const T* users, const T* items, T tau,
                                                       Positive<T>* positives, int64_t begin,
                                                       int64_t end))

// Sum of weight_j sigma((s_uj - s_ui) / tau) over the candidates j among items [begin, end), into
// ranks [size]. `users` is [padded_rows, padded_width] with zero padding, `items` [num_items,
// width], `scratch` rank_scratch(width) elements.
HASHGCN_KERNEL(template <class T>
               void smooth_rank(const core::SmoothRank<T>& problem, const T* users, const T* items,
                                const Positive<T>* positives, T tau, double* ranks, T* scratch,
                                int64_t begin, int64_t end))

// Gradients that flow through the scores of candidates among items [begin, end): this range's part
// of dL/dp (`user_grad`, shaped as `users`) and of dL/ds_ui (`score_grad` [size]), and rows [begin,
// end) of `item_grad` [num_items, width].
HASHGCN_KERNEL(template <class T> void smooth_rank_backward(
    const core::SmoothRank<T>& problem, const T* users, const T* items,
    const Positive<T>* positives, T tau, const T* rank_grad, T* user_grad, T* item_grad,
    double* score_grad, T* scratch, int64_t begin, int64_t end))

// Adds what flows through the positives' own scores: rows [begin, end) of user_grad [batch, width].
HASHGCN_KERNEL(template <class T>
               void add_positive_user_grad(const core::SmoothRank<T>& problem, const T* items,
                                           const double* score_grad, T* user_grad, int64_t begin,
                                           int64_t end))

// The same for rows [begin, end) of item_grad.
HASHGCN_KERNEL(template <class T>
               void add_positive_item_grad(const core::SmoothRank<T>& problem, const T* users,
                                           const double* score_grad, T* item_grad, int64_t begin,
                                           int64_t end))

namespace hashgcn::cpu {

template <class T>
int64_t rank_scratch(int64_t width) {
  return kRankItems * (width + 2 * padded_width<T>(width) + 2 * kTileUsers);
}

}  // namespace hashgcn::cpu

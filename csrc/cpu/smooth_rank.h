#pragma once

#include "../core/smooth_rank.h"
#include "isa.h"
#include "tiles.h"

// Scores s_ui = <p_u, q_i> of the positives of rows [begin, end) into scores [size].
HASHGCN_KERNEL(template <class T> void positive_scores(const core::SmoothRank<T>& problem,
                                                       const T* users, const T* items, T* scores,
                                                       int64_t begin, int64_t end))

// rank_ui = 1 + sum of weight_j sigma((s_uj - s_ui) / tau) over the candidates j, for rows
// [begin, end) with begin a multiple of kTileUsers. `users` is [padded_rows,
// padded_width] with zero padding, `items` [num_items, width], `scratch` rank_scratch(width)
// elements.
HASHGCN_KERNEL(template <class T> void smooth_rank(const core::SmoothRank<T>& problem,
                                                   const T* users, const T* items, const T* scores,
                                                   T tau, double* ranks, T* scratch, int64_t begin,
                                                   int64_t end))

// Gradients that flow through the scores of candidates among items [begin, end): this range's part
// of dL/dp (`user_grad`, shaped as `users`) and of dL/ds_ui (`score_grad` [size]), and rows [begin,
// end) of `item_grad` [num_items, width].
HASHGCN_KERNEL(template <class T>
               void smooth_rank_backward(const core::SmoothRank<T>& problem, const T* users,
                                         const T* items, const T* scores, T tau, const T* rank_grad,
                                         T* user_grad, T* item_grad, double* score_grad, T* scratch,
                                         int64_t begin, int64_t end))

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
  return kTileItems * (width + 2 * padded_width<T>(width) + 2 * kTileUsers);
}

}  // namespace hashgcn::cpu

#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../cpu/smooth_rank.h"
#include "cpu.h"

namespace hashgcn {

// Checked arguments with what both passes need: padded users, positives, tau.
template <class T>
struct RankInput : RankArguments<T> {
  Buffer<T> users;
  std::vector<cpu::Positive<T>> positives;
  T temperature;
};

template <class T>
static RankInput<T> check_rank(const char* op, const Tensor& user_emb, const Tensor& item_emb,
                               const Tensor& users, const Tensor& ptr, const Tensor& ids,
                               const Tensor& offsets, int64_t size, const Tensor& tau,
                               const std::optional<Tensor>& candidate_ptr,
                               const std::optional<Tensor>& candidate_ids,
                               const std::optional<Tensor>& candidate_weight,
                               bool exclude_positives) {
  RankInput<T> input{
      check_rank_arguments<T>(op, user_emb, item_emb, users, ptr, ids, offsets, size, tau,
                              candidate_ptr, candidate_ids, candidate_weight, exclude_positives),
      {},
      {},
      0};
  const core::Rows<T>& rows = input.rows.rows;
  input.temperature = *data<T>(input.tau);
  require(input.temperature > 0 && input.temperature - input.temperature == 0, op,
          "tau finite and positive, got ", input.temperature);
  check_row_values(op, rows);
  check_finite(op, "user_emb", data<T>(input.user_emb), input.user_emb.numel());
  check_finite(op, "item_emb", data<T>(input.item_emb), input.item_emb.numel());
  const int64_t* at = input.problem.offsets;
  bool offsets_fit = at[0] == 0 && at[rows.batch] <= size;
  for (int64_t row = 0; row < rows.batch; ++row) {
    const core::Span liked = core::positives(rows, row);
    offsets_fit &= at[row + 1] - at[row] == liked.end - liked.begin;
  }
  require(offsets_fit, op, "offsets that rise by each row's number of positives, to at most size ",
          size, ", got others");
  input.users = padded_copy(data<T>(input.user_emb), rows.batch, input.problem.width);
  input.positives.resize(size_t(size));
  parallel(rows.batch, 64, [&](int64_t begin, int64_t end) {
    HASHGCN_RUN(positive_scores(input.problem, input.users.data(), data<T>(input.item_emb),
                                input.temperature, input.positives.data(), begin, end));
  });
  return input;
}

// Runs `part(p, items of p, scratch, sums)` for every part of the items and adds up what the parts
// leave in their `sums` [size], in order.
template <class T, class Part>
static std::vector<double> sum_over_parts(const core::SmoothRank<T>& problem, const Part& part) {
  const int64_t size = problem.size;
  std::vector<double> sums(size_t(size * kItemParts));
  parallel(kItemParts, 1, [&](int64_t first, int64_t last) {
    Buffer<T> scratch(size_t(cpu::rank_scratch<T>(problem.width)));
    for (int64_t p = first; p < last; ++p) {
      part(p, item_part(problem.rows.num_items, p), scratch.data(), sums.data() + p * size);
    }
  });
  for (int64_t p = 1; p < kItemParts; ++p) {
    for (int64_t i = 0; i < size; ++i) sums[size_t(i)] += sums[size_t(p * size + i)];
  }
  return sums;
}

template <class T>
static Tensor forward(const RankInput<T>& input) {
  const core::SmoothRank<T>& problem = input.problem;
  const std::vector<double> sums =
      sum_over_parts(problem, [&](int64_t, ItemPart items, T* scratch, double* part_sums) {
        HASHGCN_RUN(smooth_rank(problem, input.users.data(), data<T>(input.item_emb),
                                input.positives.data(), input.temperature, part_sums, scratch,
                                items.begin, items.end));
      });
  Tensor out = torch::stable::new_empty(input.item_emb, {problem.size});
  T* result = mutable_data<T>(out);
  for (int64_t i = 0; i < problem.size; ++i) result[i] = T(1 + sums[size_t(i)]);
  return out;
}

template <class T>
static std::tuple<Tensor, Tensor> backward(const RankInput<T>& input, const Tensor& grad_in) {
  const core::SmoothRank<T>& problem = input.problem;
  const Checker check{"smooth_rank_backward", input.item_emb};
  const Tensor grad = check.tensor(grad_in, "grad", 1, input.item_emb.scalar_type());
  const int64_t batch = problem.rows.batch, num_items = problem.rows.num_items;
  const int64_t width = problem.width;
  Tensor user_grad = torch::stable::new_empty(input.item_emb, {batch, width});
  Tensor item_grad = torch::stable::new_empty(input.item_emb, {num_items, width});
  const T* items = data<T>(input.item_emb);
  T* user_out = mutable_data<T>(user_grad);
  T* item_out = mutable_data<T>(item_grad);
  const size_t padded = input.users.size();
  const Tensor buffer = torch::stable::new_empty(input.item_emb, {kItemParts, int64_t(padded)});
  T* parts = mutable_data<T>(buffer);
  const std::vector<double> score_grad =
      sum_over_parts(problem, [&](int64_t p, ItemPart range, T* scratch, double* part_sums) {
        HASHGCN_RUN(smooth_rank_backward(problem, input.users.data(), items, input.positives.data(),
                                         input.temperature, data<T>(grad),
                                         parts + size_t(p) * padded, item_out, part_sums, scratch,
                                         range.begin, range.end));
      });
  sum_parts(parts, batch, width, user_out);
  parallel(batch, 64, [&](int64_t begin, int64_t end) {
    HASHGCN_RUN(add_positive_user_grad(problem, items, score_grad.data(), user_out, begin, end));
  });
  parallel(kItemParts, 1, [&](int64_t first, int64_t last) {
    HASHGCN_RUN(add_positive_item_grad(problem, input.users.data(), score_grad.data(), item_out,
                                       item_part(num_items, first).begin,
                                       item_part(num_items, last - 1).end));
  });
  return {user_grad, item_grad};
}

static Tensor smooth_rank(const Tensor& user_emb, const Tensor& item_emb, const Tensor& users,
                          const Tensor& ptr, const Tensor& ids, const Tensor& offsets, int64_t size,
                          const Tensor& tau, const std::optional<Tensor>& candidate_ptr,
                          const std::optional<Tensor>& candidate_ids,
                          const std::optional<Tensor>& candidate_weight, bool exclude_positives) {
  const auto run = [&](auto zero) {
    return forward(check_rank<decltype(zero)>("smooth_rank", user_emb, item_emb, users, ptr, ids,
                                              offsets, size, tau, candidate_ptr, candidate_ids,
                                              candidate_weight, exclude_positives));
  };
  return user_emb.scalar_type() == ScalarType::Double ? run(0.0) : run(0.f);
}

static std::tuple<Tensor, Tensor> smooth_rank_backward(
    const Tensor& grad, const Tensor& user_emb, const Tensor& item_emb, const Tensor& users,
    const Tensor& ptr, const Tensor& ids, const Tensor& offsets, const Tensor& tau,
    const std::optional<Tensor>& candidate_ptr, const std::optional<Tensor>& candidate_ids,
    const std::optional<Tensor>& candidate_weight, const std::optional<Tensor>& /*candidate_order*/,
    bool exclude_positives) {
  const auto run = [&](auto zero) {
    return backward(check_rank<decltype(zero)>("smooth_rank_backward", user_emb, item_emb, users,
                                               ptr, ids, offsets, grad.numel(), tau, candidate_ptr,
                                               candidate_ids, candidate_weight, exclude_positives),
                    grad);
  };
  return user_emb.scalar_type() == ScalarType::Double ? run(0.0) : run(0.f);
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("smooth_rank", TORCH_BOX(&hashgcn::smooth_rank));
  m.impl("smooth_rank_backward", TORCH_BOX(&hashgcn::smooth_rank_backward));
}

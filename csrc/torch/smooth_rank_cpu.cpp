#include <tuple>

#include "../cpu/smooth_rank.h"
#include "checks/rows.h"
#include "cpu.h"

namespace hashgcn {

// Arguments whose values are checked too, with what both passes need: padded users, positives, tau.
template <class T>
struct CheckedRanks : RankInput<T> {
  Buffer<T> users;
  std::vector<cpu::Positive<T>> positives;
  T temperature;

  template <class... Arguments>
  explicit CheckedRanks(const Checker& check, Arguments&&... arguments)
      : RankInput<T>(check, arguments...), temperature(*data<T>(this->tau)) {
    const core::SmoothRank<T>& problem = this->problem;
    const core::Rows<T>& rows = problem.rows;
    require(temperature > 0 && temperature - temperature == 0, check.op,
            "tau finite and positive, got ", temperature);
    check_row_values(check.op, rows);
    check_finite(check.op, "user_emb", data<T>(this->user_emb), rows.batch, problem.width);
    check_finite(check.op, "item_emb", data<T>(this->item_emb), rows.num_items, problem.width);
    const int64_t* at = problem.offsets;
    bool offsets_fit = at[0] == 0 && at[rows.batch] <= problem.size;
    for (int64_t row = 0; row < rows.batch; ++row) {
      const core::Span liked = core::positives(rows, row);
      offsets_fit &= at[row + 1] - at[row] == liked.end - liked.begin;
    }
    require(offsets_fit, check.op,
            "offsets that rise by each row's number of positives, to at most size ", problem.size,
            ", got others");
    users = padded_copy(data<T>(this->user_emb), rows.batch, problem.width);
    positives.resize(size_t(problem.size));
    parallel(rows.batch, 64, [&](int64_t begin, int64_t end) {
      HASHGCN_RUN(positive_scores(problem, users.data(), data<T>(this->item_emb), temperature,
                                  positives.data(), begin, end));
    });
  }
};

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

static Tensor smooth_rank(const Tensor& user_emb, const Tensor& item_emb, const Tensor& users,
                          const Tensor& ptr, const Tensor& ids, const Tensor& offsets, int64_t size,
                          const Tensor& tau, const MaybeTensor& candidate_ptr,
                          const MaybeTensor& candidate_ids, const MaybeTensor& candidate_weight,
                          const MaybeTensor& item_weights, bool exclude_positives) {
  const Checker check{"smooth_rank", user_emb};
  Batch batch{users, ptr, ids, candidate_ptr, candidate_ids, candidate_weight, item_weights};
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    const CheckedRanks<T> input(check, user_emb, item_emb, batch, offsets, size, tau,
                                exclude_positives);
    const std::vector<double> sums =
        sum_over_parts(input.problem, [&](int64_t, ItemPart items, T* scratch, double* part_sums) {
          HASHGCN_RUN(smooth_rank(input.problem, input.users.data(), data<T>(input.item_emb),
                                  input.positives.data(), input.temperature, part_sums, scratch,
                                  items.begin, items.end));
        });
    Tensor out = torch::stable::new_empty(item_emb, {size});
    T* result = mutable_data<T>(out);
    for (int64_t i = 0; i < size; ++i) result[i] = T(1 + sums[size_t(i)]);
    return out;
  };
  return with_float_type(user_emb.scalar_type(), check.op, "user_emb", run);
}

static std::tuple<Tensor, Tensor> smooth_rank_backward(
    const Tensor& grad_in, const Tensor& user_emb, const Tensor& item_emb, const Tensor& users,
    const Tensor& ptr, const Tensor& ids, const Tensor& offsets, const Tensor& tau,
    const MaybeTensor& candidate_ptr, const MaybeTensor& candidate_ids,
    const MaybeTensor& candidate_weight, const MaybeTensor& /*candidate_order*/,
    const MaybeTensor& item_weights, bool exclude_positives) {
  const Checker check{"smooth_rank_backward", user_emb};
  Batch rows{users, ptr, ids, candidate_ptr, candidate_ids, candidate_weight, item_weights};
  const auto run = [&](auto zero) -> std::tuple<Tensor, Tensor> {
    using T = decltype(zero);
    const CheckedRanks<T> input(check, user_emb, item_emb, rows, offsets, grad_in.numel(), tau,
                                exclude_positives);
    const core::SmoothRank<T>& problem = input.problem;
    const Tensor grad = check.vector(grad_in, "grad", -1, kFloatType<T>);
    const int64_t batch = problem.rows.batch, num_items = problem.rows.num_items;
    Tensor user_grad = torch::stable::new_empty(user_emb, {batch, problem.width});
    Tensor item_grad = torch::stable::new_empty(item_emb, {num_items, problem.width});
    const T *items = data<T>(input.item_emb), *padded_users = input.users.data();
    T *user_out = mutable_data<T>(user_grad), *item_out = mutable_data<T>(item_grad);
    const int64_t padded = int64_t(input.users.size());
    const Tensor buffer = torch::stable::new_empty(item_emb, {kItemParts, padded});
    T* parts = mutable_data<T>(buffer);
    const std::vector<double> score_grad =
        sum_over_parts(problem, [&](int64_t p, ItemPart range, T* scratch, double* part_sums) {
          HASHGCN_RUN(smooth_rank_backward(problem, padded_users, items, input.positives.data(),
                                           input.temperature, data<T>(grad), parts + p * padded,
                                           item_out, part_sums, scratch, range.begin, range.end));
        });
    sum_parts(parts, batch, problem.width, user_out);
    parallel(batch, 64, [&](int64_t begin, int64_t end) {
      HASHGCN_RUN(add_positive_user_grad(problem, items, score_grad.data(), user_out, begin, end));
    });
    parallel(kItemParts, 1, [&](int64_t first, int64_t last) {
      HASHGCN_RUN(add_positive_item_grad(problem, padded_users, score_grad.data(), item_out,
                                         item_part(num_items, first).begin,
                                         item_part(num_items, last - 1).end));
    });
    return {user_grad, item_grad};
  };
  return with_float_type(user_emb.scalar_type(), check.op, "user_emb", run);
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("smooth_rank", TORCH_BOX(&hashgcn::smooth_rank));
  m.impl("smooth_rank_backward", TORCH_BOX(&hashgcn::smooth_rank_backward));
}

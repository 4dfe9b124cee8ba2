#include <tuple>

#include "../cuda/smooth_rank.h"
#include "checks/rows.h"
#include "cuda.h"

namespace hashgcn {

template <class T>
static void check_values(const Device& device, const RankInput<T>& input, const int64_t* order) {
  cuda::check_rows(input.problem.rows, order, device.errors, device.stream);
  cuda::check_ranks(input.problem, data<T>(input.tau), device.errors, device.stream);
  for (const Tensor* emb : {&input.user_emb, &input.item_emb}) {
    cuda::check_finite(data<T>(*emb), emb->numel(), device.errors, device.stream);
  }
}

static Tensor smooth_rank(const Tensor& user_emb, const Tensor& item_emb, const Tensor& users,
                          const Tensor& ptr, const Tensor& ids, const Tensor& offsets, int64_t size,
                          const Tensor& tau, const MaybeTensor& candidate_ptr,
                          const MaybeTensor& candidate_ids, const MaybeTensor& candidate_weight,
                          const MaybeTensor& item_weights, bool exclude_positives) {
  const Checker check{"smooth_rank", user_emb};
  const Device device(check.op, user_emb);
  Batch batch{users, ptr, ids, candidate_ptr, candidate_ids, candidate_weight, item_weights};
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    const RankInput<T> input(check, user_emb, item_emb, batch, offsets, size, tau,
                             exclude_positives);
    check_values<T>(device, input, nullptr);
    Tensor ranks = torch::stable::new_empty(item_emb, {size});
    cuda::smooth_rank(input.problem, data<T>(input.user_emb), data<T>(input.item_emb),
                      data<T>(input.tau), mutable_data<T>(ranks), device.stream);
    device.finish();
    return ranks;
  };
  return with_float_type(user_emb.scalar_type(), check.op, "user_emb", run);
}

static std::tuple<Tensor, Tensor> smooth_rank_backward(
    const Tensor& grad_in, const Tensor& user_emb, const Tensor& item_emb, const Tensor& users,
    const Tensor& ptr, const Tensor& ids, const Tensor& offsets, const Tensor& tau,
    const MaybeTensor& candidate_ptr, const MaybeTensor& candidate_ids,
    const MaybeTensor& candidate_weight, const MaybeTensor& candidate_order,
    const MaybeTensor& item_weights, bool exclude_positives) {
  const Checker check{"smooth_rank_backward", user_emb};
  const Device device(check.op, user_emb);
  Batch batch{users, ptr, ids, candidate_ptr, candidate_ids, candidate_weight, item_weights};
  const MaybeTensor order = check_order(check, candidate_ids, candidate_order);
  const auto run = [&](auto zero) -> std::tuple<Tensor, Tensor> {
    using T = decltype(zero);
    const RankInput<T> input(check, user_emb, item_emb, batch, offsets, grad_in.numel(), tau,
                             exclude_positives);
    const core::SmoothRank<T>& problem = input.problem;
    const Tensor grad = check.vector(grad_in, "grad", -1, kFloatType<T>);
    check_values(device, input, data<int64_t>(order));
    const auto numbers = [&](int64_t count, ScalarType type = kFloatType<T>) {
      return torch::stable::new_empty(user_emb, {count}, type);
    };
    const Tensor scores = numbers(problem.size);
    const Tensor score_grad = numbers(problem.size, ScalarType::Double);
    const Tensor candidate_grad = numbers(problem.rows.num_candidates);
    const Tensor parts = numbers(cuda::smooth_rank_parts(problem));
    Tensor user_grad = torch::stable::new_empty(user_emb, user_emb.sizes());
    Tensor item_grad = torch::stable::new_empty(item_emb, item_emb.sizes());
    const cuda::RankScratch<T> scratch{mutable_data<T>(scores), mutable_data<double>(score_grad),
                                       mutable_data<T>(candidate_grad), mutable_data<T>(parts)};
    cuda::smooth_rank_backward(problem, data<T>(input.user_emb), data<T>(input.item_emb),
                               data<T>(input.tau), data<T>(grad), data<int64_t>(order), scratch,
                               mutable_data<T>(user_grad), mutable_data<T>(item_grad),
                               device.stream);
    device.finish();
    return {user_grad, item_grad};
  };
  return with_float_type(user_emb.scalar_type(), check.op, "user_emb", run);
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("smooth_rank", TORCH_BOX(&hashgcn::smooth_rank));
  m.impl("smooth_rank_backward", TORCH_BOX(&hashgcn::smooth_rank_backward));
}

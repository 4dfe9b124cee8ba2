#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../cuda/smooth_rank.h"
#include "cuda.h"

namespace hashgcn {

template <class T>
static void check_values(const Device& device, const RankArguments<T>& input,
                         const int64_t* candidate_order) {
  cuda::check_rows(input.rows.rows, candidate_order, device.errors, device.stream);
  cuda::check_ranks(input.problem, data<T>(input.tau), device.errors, device.stream);
  for (const Tensor* emb : {&input.user_emb, &input.item_emb}) {
    cuda::check_finite(data<T>(*emb), emb->numel(), device.errors, device.stream);
  }
}

template <class T>
static Tensor forward(const Device& device, const RankArguments<T>& input) {
  check_values<T>(device, input, nullptr);
  Tensor ranks = torch::stable::new_empty(input.item_emb, {input.problem.size});
  cuda::smooth_rank(input.problem, data<T>(input.user_emb), data<T>(input.item_emb),
                    data<T>(input.tau), mutable_data<T>(ranks), device.stream);
  device.finish();
  return ranks;
}

template <class T>
static std::tuple<Tensor, Tensor> backward(const Device& device, const RankArguments<T>& input,
                                           const Tensor& grad_in,
                                           const std::optional<Tensor>& candidate_order) {
  const Checker check{"smooth_rank_backward", input.user_emb};
  const core::SmoothRank<T>& problem = input.problem;
  const Tensor grad = check.tensor(grad_in, "grad", 1, input.user_emb.scalar_type());
  const std::optional<Tensor> order = check_order(check, input.rows.candidate_ids, candidate_order);
  const int64_t* order_data = order ? data<int64_t>(*order) : nullptr;
  check_values(device, input, order_data);
  Tensor scores = torch::stable::new_empty(input.user_emb, {problem.size});
  Tensor score_grad = torch::stable::new_empty(input.user_emb, {problem.size}, ScalarType::Double);
  Tensor candidate_grad = torch::stable::new_empty(input.user_emb, {problem.rows.num_candidates});
  Tensor parts = torch::stable::new_empty(input.user_emb, {cuda::smooth_rank_parts(problem)});
  Tensor user_grad = torch::stable::new_empty(input.user_emb, input.user_emb.sizes());
  Tensor item_grad = torch::stable::new_empty(input.item_emb, input.item_emb.sizes());
  const cuda::RankScratch<T> scratch{mutable_data<T>(scores), mutable_data<double>(score_grad),
                                     mutable_data<T>(candidate_grad), mutable_data<T>(parts)};
  cuda::smooth_rank_backward(problem, data<T>(input.user_emb), data<T>(input.item_emb),
                             data<T>(input.tau), data<T>(grad), order_data, scratch,
                             mutable_data<T>(user_grad), mutable_data<T>(item_grad), device.stream);
  device.finish();
  return {user_grad, item_grad};
}

static Tensor smooth_rank(const Tensor& user_emb, const Tensor& item_emb, const Tensor& users,
                          const Tensor& ptr, const Tensor& ids, const Tensor& offsets, int64_t size,
                          const Tensor& tau, const std::optional<Tensor>& candidate_ptr,
                          const std::optional<Tensor>& candidate_ids,
                          const std::optional<Tensor>& candidate_weight, bool exclude_positives) {
  const Device device("smooth_rank", user_emb);
  const auto run = [&](auto zero) {
    return forward(device,
                   check_rank_arguments<decltype(zero)>(
                       "smooth_rank", user_emb, item_emb, users, ptr, ids, offsets, size, tau,
                       candidate_ptr, candidate_ids, candidate_weight, exclude_positives));
  };
  return user_emb.scalar_type() == ScalarType::Double ? run(0.0) : run(0.f);
}

static std::tuple<Tensor, Tensor> smooth_rank_backward(
    const Tensor& grad, const Tensor& user_emb, const Tensor& item_emb, const Tensor& users,
    const Tensor& ptr, const Tensor& ids, const Tensor& offsets, const Tensor& tau,
    const std::optional<Tensor>& candidate_ptr, const std::optional<Tensor>& candidate_ids,
    const std::optional<Tensor>& candidate_weight, const std::optional<Tensor>& candidate_order,
    bool exclude_positives) {
  const char* op = "smooth_rank_backward";
  const Device device(op, user_emb);
  const auto run = [&](auto zero) {
    return backward(device,
                    check_rank_arguments<decltype(zero)>(
                        op, user_emb, item_emb, users, ptr, ids, offsets, grad.numel(), tau,
                        candidate_ptr, candidate_ids, candidate_weight, exclude_positives),
                    grad, candidate_order);
  };
  return user_emb.scalar_type() == ScalarType::Double ? run(0.0) : run(0.f);
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("smooth_rank", TORCH_BOX(&hashgcn::smooth_rank));
  m.impl("smooth_rank_backward", TORCH_BOX(&hashgcn::smooth_rank_backward));
}

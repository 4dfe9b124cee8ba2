#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../cuda/pack_codes.h"
#include "../cuda/score_tables.h"
#include "cuda.h"

namespace hashgcn {

using Tables = std::tuple<Tensor, Tensor, Tensor, Tensor>;
using Gradients = std::tuple<Tensor, Tensor>;

template <class T>
static Tensor pack_checked(const Device& device, const Tensor& codes) {
  const int64_t rows = codes.size(0), code_length = codes.size(1);
  Tensor words =
      torch::stable::new_empty(codes, {rows, core::words_per_code(code_length)}, ScalarType::Long);
  cuda::pack_codes<T>(data<T>(codes), mutable_data<uint64_t>(words), nullptr, rows, code_length,
                      true, device.errors, device.stream);
  return words;
}

static Tensor bytes(const Tensor& like, int64_t count) {
  return torch::stable::new_empty(like, {count}, ScalarType::Byte);
}

template <class T>
static Tables forward(const Tensor& user_codes, const Tensor& item_codes, const Tensor& users,
                      const Tensor& ptr, const Tensor& ids,
                      const std::optional<Tensor>& candidate_ptr,
                      const std::optional<Tensor>& candidate_ids,
                      const std::optional<Tensor>& candidate_weight) {
  const char* op = "score_tables";
  const Device device(op, user_codes);
  TablesArguments<T> input = check_tables_arguments<T>(
      op, user_codes, item_codes, users, ptr, ids, candidate_ptr, candidate_ids, candidate_weight);
  cuda::check_rows(input.rows.rows, nullptr, device.errors, device.stream);
  const Tensor user_words = pack_checked<T>(device, input.user_codes);
  const Tensor item_words = pack_checked<T>(device, input.item_codes);
  input.tables.user_words = data<uint64_t>(user_words);
  input.tables.item_words = data<uint64_t>(item_words);
  const int64_t batch = user_codes.size(0), levels = user_codes.size(1) + 1;
  Tensor out[4];
  for (Tensor& table : out) table = torch::stable::new_empty(user_codes, {batch, levels});
  Tensor scratch = bytes(user_codes, cuda::score_tables_scratch(input.tables));
  cuda::score_tables(input.tables, scratch.mutable_data_ptr(), mutable_data<T>(out[0]),
                     mutable_data<T>(out[1]), mutable_data<T>(out[2]), mutable_data<T>(out[3]),
                     device.stream);
  device.finish();
  return {out[0], out[1], out[2], out[3]};
}

template <class T>
static Gradients backward(const Tensor& grad_v_neg, const Tensor& grad_v_pos, const Tensor& neg,
                          const Tensor& pos, const Tensor& user_codes, const Tensor& item_codes,
                          const Tensor& users, const Tensor& ptr, const Tensor& ids,
                          const std::optional<Tensor>& candidate_ptr,
                          const std::optional<Tensor>& candidate_ids,
                          const std::optional<Tensor>& candidate_weight,
                          const std::optional<Tensor>& candidate_order) {
  const char* op = "score_tables_backward";
  const Device device(op, user_codes);
  TablesArguments<T> input = check_tables_arguments<T>(
      op, user_codes, item_codes, users, ptr, ids, candidate_ptr, candidate_ids, candidate_weight);
  const Checker check{op, user_codes};
  const core::Rows<T>& rows = input.rows.rows;
  const int64_t width = user_codes.size(1), levels = width + 1;
  const auto table = [&](const Tensor& t, const char* argument) {
    return check.matrix(t, argument, user_codes.scalar_type(), rows.batch, levels);
  };
  const Tensor tables[4] = {table(grad_v_neg, "grad_v_neg"), table(grad_v_pos, "grad_v_pos"),
                            table(neg, "neg"), table(pos, "pos")};
  const std::optional<Tensor> order = check_order(check, candidate_ids, candidate_order);
  const int64_t* order_data = order ? data<int64_t>(*order) : nullptr;
  cuda::check_rows(rows, order_data, device.errors, device.stream);
  const Tensor user_words = pack_checked<T>(device, input.user_codes);
  const Tensor item_words = pack_checked<T>(device, input.item_codes);
  input.tables.user_words = data<uint64_t>(user_words);
  input.tables.item_words = data<uint64_t>(item_words);
  Tensor candidate_grad = torch::stable::new_empty(user_codes, {rows.num_candidates});
  Tensor user_grad = torch::stable::new_empty(user_codes, {rows.batch, width});
  Tensor item_grad = torch::stable::new_empty(item_codes, {rows.num_items, width});
  Tensor scratch = bytes(user_codes, cuda::score_tables_backward_scratch(input.tables));
  cuda::score_tables_backward(
      input.tables, scratch.mutable_data_ptr(),
      {data<T>(tables[0]), data<T>(tables[1]), data<T>(tables[2]), data<T>(tables[3])},
      data<T>(input.user_codes), data<T>(input.item_codes), order_data,
      mutable_data<T>(candidate_grad), mutable_data<T>(user_grad), mutable_data<T>(item_grad),
      device.stream);
  device.finish();
  return {user_grad, item_grad};
}

static Tables score_tables(const Tensor& user_codes, const Tensor& item_codes, const Tensor& users,
                           const Tensor& ptr, const Tensor& ids,
                           const std::optional<Tensor>& candidate_ptr,
                           const std::optional<Tensor>& candidate_ids,
                           const std::optional<Tensor>& candidate_weight) {
  const auto run =
      user_codes.scalar_type() == ScalarType::Double ? &forward<double> : &forward<float>;
  return run(user_codes, item_codes, users, ptr, ids, candidate_ptr, candidate_ids,
             candidate_weight);
}

static Gradients score_tables_backward(const Tensor& grad_v_neg, const Tensor& grad_v_pos,
                                       const Tensor& neg, const Tensor& pos,
                                       const Tensor& user_codes, const Tensor& item_codes,
                                       const Tensor& users, const Tensor& ptr, const Tensor& ids,
                                       const std::optional<Tensor>& candidate_ptr,
                                       const std::optional<Tensor>& candidate_ids,
                                       const std::optional<Tensor>& candidate_weight,
                                       const std::optional<Tensor>& candidate_order) {
  const auto run =
      user_codes.scalar_type() == ScalarType::Double ? &backward<double> : &backward<float>;
  return run(grad_v_neg, grad_v_pos, neg, pos, user_codes, item_codes, users, ptr, ids,
             candidate_ptr, candidate_ids, candidate_weight, candidate_order);
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("score_tables", TORCH_BOX(&hashgcn::score_tables));
  m.impl("score_tables_backward", TORCH_BOX(&hashgcn::score_tables_backward));
}

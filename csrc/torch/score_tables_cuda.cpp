#include <tuple>

#include "../cuda/pack_codes.h"
#include "../cuda/score_tables.h"
#include "checks/rows.h"
#include "cuda.h"

namespace hashgcn {

// Arguments whose values are checked too, with the packed codes. `order` may be null.
template <class T>
struct CheckedTables : TablesInput<T> {
  Tensor user_words, item_words;

  CheckedTables(const Device& device, const Checker& check, const Tensor& users,
                const Tensor& items, Batch& batch, int64_t levels, const int64_t* order)
      : TablesInput<T>(check, users, items, batch, levels) {
    cuda::check_rows(this->tables.rows, order, device.errors, device.stream);
    this->tables.user_words = pack(device, this->user_codes, this->tables.planes, &user_words);
    this->tables.item_words = pack(device, this->item_codes, 1, &item_words);
  }

  static const uint64_t* pack(const Device& device, const Tensor& codes, int planes,
                              Tensor* words) {
    const int64_t rows = codes.size(0), code_length = codes.size(1);
    *words = torch::stable::new_empty(codes, {rows, planes * core::words_per_code(code_length)},
                                      ScalarType::Long);
    uint64_t* out = mutable_data<uint64_t>(*words);
    if (planes == 1) {
      cuda::pack_codes(data<T>(codes), out, rows, code_length, true, device.errors, device.stream);
    } else {
      cuda::pack_weights(data<T>(codes), out, rows, code_length, planes, device.errors,
                         device.stream);
    }
    return out;
  }
};

using Tables = std::tuple<Tensor, Tensor, Tensor, Tensor>;
using Gradients = std::tuple<Tensor, Tensor>;

static Tables score_tables(const Tensor& user_codes, const Tensor& item_codes, const Tensor& users,
                           const Tensor& ptr, const Tensor& ids, const MaybeTensor& candidate_ptr,
                           const MaybeTensor& candidate_ids, const MaybeTensor& candidate_weight,
                           const MaybeTensor& item_weights, int64_t levels) {
  const Checker check{"score_tables", user_codes};
  const Device device(check.op, user_codes);
  Batch batch{users, ptr, ids, candidate_ptr, candidate_ids, candidate_weight, item_weights};
  const auto run = [&](auto zero) -> Tables {
    using T = decltype(zero);
    const CheckedTables<T> input(device, check, user_codes, item_codes, batch, levels, nullptr);
    Tensor out[4];
    for (Tensor& table : out) {
      table = torch::stable::new_empty(user_codes,
                                       {user_codes.size(0), core::num_columns(input.tables)});
    }
    const Tensor scratch = device.scratch(cuda::score_tables_scratch(input.tables));
    cuda::score_tables(input.tables, scratch.mutable_data_ptr(), mutable_data<T>(out[0]),
                       mutable_data<T>(out[1]), mutable_data<T>(out[2]), mutable_data<T>(out[3]),
                       device.stream);
    device.finish();
    return {out[0], out[1], out[2], out[3]};
  };
  return with_float_type(user_codes.scalar_type(), check.op, "user_codes", run);
}

static Gradients score_tables_backward(
    const Tensor& grad_v_neg, const Tensor& grad_v_pos, const Tensor& neg, const Tensor& pos,
    const Tensor& user_codes, const Tensor& item_codes, const Tensor& users, const Tensor& ptr,
    const Tensor& ids, const MaybeTensor& candidate_ptr, const MaybeTensor& candidate_ids,
    const MaybeTensor& candidate_weight, const MaybeTensor& candidate_order,
    const MaybeTensor& item_weights, int64_t levels) {
  const Checker check{"score_tables_backward", user_codes};
  const Device device(check.op, user_codes);
  Batch batch{users, ptr, ids, candidate_ptr, candidate_ids, candidate_weight, item_weights};
  const MaybeTensor order = check_order(check, candidate_ids, candidate_order);
  const auto run = [&](auto zero) -> Gradients {
    using T = decltype(zero);
    const CheckedTables<T> input(device, check, user_codes, item_codes, batch, levels,
                                 data<int64_t>(order));
    const core::Rows<T>& rows = input.tables.rows;
    const int64_t width = user_codes.size(1);
    const auto table = [&](const Tensor& t, const char* argument) {
      return check.matrix(t, argument, kFloatType<T>, rows.batch, core::num_columns(input.tables));
    };
    const Tensor tables[4] = {table(grad_v_neg, "grad_v_neg"), table(grad_v_pos, "grad_v_pos"),
                              table(neg, "neg"), table(pos, "pos")};
    const Tensor candidate_grad = torch::stable::new_empty(user_codes, {rows.num_candidates});
    Tensor user_grad = torch::stable::new_empty(user_codes, {rows.batch, width});
    Tensor item_grad = torch::stable::new_empty(item_codes, {rows.num_items, width});
    const Tensor scratch = device.scratch(cuda::score_tables_backward_scratch(input.tables));
    cuda::score_tables_backward(
        input.tables, scratch.mutable_data_ptr(),
        {data<T>(tables[0]), data<T>(tables[1]), data<T>(tables[2]), data<T>(tables[3])},
        data<T>(input.user_codes), data<T>(input.item_codes), data<int64_t>(order),
        mutable_data<T>(candidate_grad), mutable_data<T>(user_grad), mutable_data<T>(item_grad),
        device.stream);
    device.finish();
    return {user_grad, item_grad};
  };
  return with_float_type(user_codes.scalar_type(), check.op, "user_codes", run);
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("score_tables", TORCH_BOX(&hashgcn::score_tables));
  m.impl("score_tables_backward", TORCH_BOX(&hashgcn::score_tables_backward));
}

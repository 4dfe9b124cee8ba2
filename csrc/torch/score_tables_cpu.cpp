#include <tuple>

#include "../cpu/pack_codes.h"
#include "../cpu/score_tables.h"
#include "checks/rows.h"
#include "cpu.h"

namespace hashgcn {

template <class T>
static Buffer<uint64_t> pack_checked(const char* op, const char* argument, const Tensor& codes) {
  const int64_t rows = codes.size(0), code_length = codes.size(1);
  const T* x = data<T>(codes);
  Buffer<uint64_t> words(size_t(rows * core::words_per_code(code_length)));
  const auto pack = [&](int64_t begin, int64_t end) {
    HASHGCN_RUN(pack_codes(x, words.data(), code_length, begin, end));
    return HASHGCN_RUN(all_plus_minus_one(x, begin * code_length, end * code_length));
  };
  if (!parallel_all(rows, 1 + cpu::kElementGrain / code_length, pack)) {
    raise_bad_number(op, argument, " to hold only +1 and -1", x, code_length,
                     [](T number) { return number == 1 || number == -1; });
  }
  return words;
}

template <class T>
static Buffer<uint64_t> pack_checked_weights(const char* op, const Tensor& codes, int planes) {
  const int64_t rows = codes.size(0), code_length = codes.size(1);
  const T* x = data<T>(codes);
  Buffer<uint64_t> words(size_t(rows * planes * core::words_per_code(code_length)));
  if (!parallel_all(rows, 1 + cpu::kElementGrain / code_length, [&](int64_t begin, int64_t end) {
        return HASHGCN_RUN(pack_weights(x, words.data(), code_length, planes, begin, end));
      })) {
    const int bound = (1 << planes) - 1;
    const std::string wanted =
        " to hold only odd weights from -" + std::to_string(bound) + " to " + std::to_string(bound);
    raise_bad_number(op, "user_codes", wanted, x, code_length, [&](T weight) {
      return weight >= -bound && weight <= bound && T(int(weight)) == weight && int(weight) % 2;
    });
  }
  return words;
}

// Arguments whose values are checked too, with the packed codes.
template <class T>
struct CheckedTables : TablesInput<T> {
  Buffer<uint64_t> user_words, item_words;

  CheckedTables(const Checker& check, const Tensor& users, const Tensor& items, Batch& batch,
                int64_t levels)
      : TablesInput<T>(check, users, items, batch, levels) {
    check_row_values(check.op, this->tables.rows);
    const int planes = this->tables.planes;
    user_words = planes == 1 ? pack_checked<T>(check.op, "user_codes", this->user_codes)
                             : pack_checked_weights<T>(check.op, this->user_codes, planes);
    item_words = pack_checked<T>(check.op, "item_codes", this->item_codes);
    this->tables.user_words = user_words.data();
    this->tables.item_words = item_words.data();
  }
};

using Tables = std::tuple<Tensor, Tensor, Tensor, Tensor>;
using Gradients = std::tuple<Tensor, Tensor>;

static Tables score_tables(const Tensor& user_codes, const Tensor& item_codes, const Tensor& users,
                           const Tensor& ptr, const Tensor& ids, const MaybeTensor& candidate_ptr,
                           const MaybeTensor& candidate_ids, const MaybeTensor& candidate_weight,
                           const MaybeTensor& item_weights, int64_t levels) {
  const Checker check{"score_tables", user_codes};
  Batch batch{users, ptr, ids, candidate_ptr, candidate_ids, candidate_weight, item_weights};
  const auto run = [&](auto zero) -> Tables {
    using T = decltype(zero);
    const CheckedTables<T> input(check, user_codes, item_codes, batch, levels);
    const int64_t size = user_codes.size(0), columns = core::num_columns(input.tables);
    Tensor out[4];
    for (Tensor& table : out) table = torch::stable::new_empty(user_codes, {size, columns});
    T* data[4];
    for (int i = 0; i < 4; ++i) data[i] = mutable_data<T>(out[i]);
    parallel(size, 1, [&](int64_t begin, int64_t end) {
      Buffer<char> scratch(size_t(cpu::tables_scratch(columns)));
      HASHGCN_RUN(score_tables(input.tables, data[0], data[1], data[2], data[3], scratch.data(),
                               begin, end));
    });
    return {out[0], out[1], out[2], out[3]};
  };
  return with_float_type(user_codes.scalar_type(), check.op, "user_codes", run);
}

// By distance, what a score gets of its column's gradient.
template <class T>
static Buffer<T> shares(const Checker& check, int64_t columns, const Tensor& grad_in,
                        const char* grad_name, const Tensor& count_in, const char* count_name) {
  const int64_t batch = check.anchor.size(0);
  const Tensor grad = check.matrix(grad_in, grad_name, kFloatType<T>, batch, columns);
  const Tensor count = check.matrix(count_in, count_name, kFloatType<T>, batch, columns);
  const int64_t stride = cpu::share_stride(columns);
  Buffer<T> share(size_t(batch * stride));
  const T *g = data<T>(grad), *c = data<T>(count);
  for (int64_t row = 0; row < batch; ++row) {
    for (int64_t w = 0; w < columns; ++w) {
      const int64_t at = row * columns + w;
      share[size_t(row * stride + columns - 1 - w)] = core::share(g[at], c[at]);
    }
  }
  return share;
}

static Gradients score_tables_backward(
    const Tensor& grad_v_neg, const Tensor& grad_v_pos, const Tensor& neg, const Tensor& pos,
    const Tensor& user_codes, const Tensor& item_codes, const Tensor& users, const Tensor& ptr,
    const Tensor& ids, const MaybeTensor& candidate_ptr, const MaybeTensor& candidate_ids,
    const MaybeTensor& candidate_weight, const MaybeTensor& /*candidate_order*/,
    const MaybeTensor& item_weights, int64_t levels) {
  const Checker check{"score_tables_backward", user_codes};
  Batch rows{users, ptr, ids, candidate_ptr, candidate_ids, candidate_weight, item_weights};
  const auto run = [&](auto zero) -> Gradients {
    using T = decltype(zero);
    const CheckedTables<T> input(check, user_codes, item_codes, rows, levels);
    const int64_t columns = core::num_columns(input.tables);
    const Buffer<T> share_neg = shares<T>(check, columns, grad_v_neg, "grad_v_neg", neg, "neg");
    const Buffer<T> share_pos = shares<T>(check, columns, grad_v_pos, "grad_v_pos", pos, "pos");
    const int64_t batch = user_codes.size(0), width = user_codes.size(1);
    const int64_t num_items = item_codes.size(0);
    Tensor user_grad = torch::stable::new_empty(user_codes, {batch, width});
    Tensor item_grad = torch::stable::new_empty(item_codes, {num_items, width});
    const int64_t size = cpu::padded_rows(batch) * cpu::padded_width<T>(width);
    const Tensor buffer = torch::stable::new_empty(user_codes, {kItemParts, size});
    T* parts = mutable_data<T>(buffer);
    parallel(kItemParts, 1, [&](int64_t first, int64_t last) {
      Buffer<T> scratch(size_t(cpu::backward_scratch<T>(batch, width)));
      std::vector<const int64_t*> next(static_cast<size_t>(batch));
      for (int64_t p = first; p < last; ++p) {
        const ItemPart part = item_part(num_items, p);
        HASHGCN_RUN(score_tables_backward(
            input.tables, data<T>(input.user_codes), data<T>(input.item_codes), share_neg.data(),
            share_pos.data(), parts + p * size, mutable_data<T>(item_grad), scratch.data(),
            next.data(), part.begin, part.end));
      }
    });
    sum_parts(parts, batch, width, mutable_data<T>(user_grad));
    return {user_grad, item_grad};
  };
  return with_float_type(user_codes.scalar_type(), check.op, "user_codes", run);
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("score_tables", TORCH_BOX(&hashgcn::score_tables));
  m.impl("score_tables_backward", TORCH_BOX(&hashgcn::score_tables_backward));
}

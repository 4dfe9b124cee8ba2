#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../cpu/pack_codes.h"
#include "../cpu/score_tables.h"
#include "cpu.h"

namespace hashgcn {

// Checked arguments with the packed codes that the tables point to.
template <class T>
struct TablesInput : TablesArguments<T> {
  Buffer<uint64_t> user_words, item_words;
};

template <class T>
static Buffer<uint64_t> pack_checked(const char* op, const char* argument, const Tensor& codes) {
  const int64_t rows = codes.size(0), code_length = codes.size(1);
  const T* x = data<T>(codes);
  Buffer<uint64_t> words(size_t(rows * core::words_per_code(code_length)));
  require(parallel_all(rows, 1 + kElementGrain / code_length,
                       [&](int64_t begin, int64_t end) {
                         HASHGCN_RUN(pack_codes(x, words.data(), code_length, begin, end));
                         return HASHGCN_RUN(
                             all_plus_minus_one(x, begin * code_length, end * code_length));
                       }),
          op, argument, " to hold only +1 and -1, got another value");
  return words;
}

template <class T>
static TablesInput<T> check_tables(const char* op, const Tensor& user_codes,
                                   const Tensor& item_codes, const Tensor& users, const Tensor& ptr,
                                   const Tensor& ids, const std::optional<Tensor>& candidate_ptr,
                                   const std::optional<Tensor>& candidate_ids,
                                   const std::optional<Tensor>& candidate_weight) {
  TablesInput<T> input{check_tables_arguments<T>(op, user_codes, item_codes, users, ptr, ids,
                                                 candidate_ptr, candidate_ids, candidate_weight),
                       {},
                       {}};
  check_row_values(op, input.rows.rows);
  input.user_words = pack_checked<T>(op, "user_codes", input.user_codes);
  input.item_words = pack_checked<T>(op, "item_codes", input.item_codes);
  input.tables.user_words = input.user_words.data();
  input.tables.item_words = input.item_words.data();
  return input;
}

using Tables = std::tuple<Tensor, Tensor, Tensor, Tensor>;
using Gradients = std::tuple<Tensor, Tensor>;

template <class T>
static Tables forward(const Tensor& user_codes, const Tensor& item_codes, const Tensor& users,
                      const Tensor& ptr, const Tensor& ids,
                      const std::optional<Tensor>& candidate_ptr,
                      const std::optional<Tensor>& candidate_ids,
                      const std::optional<Tensor>& candidate_weight) {
  const TablesInput<T> input = check_tables<T>("score_tables", user_codes, item_codes, users, ptr,
                                               ids, candidate_ptr, candidate_ids, candidate_weight);
  const int64_t batch = user_codes.size(0), levels = user_codes.size(1) + 1;
  Tensor out[4];
  for (Tensor& table : out) table = torch::stable::new_empty(user_codes, {batch, levels});
  T* data[4];
  for (int i = 0; i < 4; ++i) data[i] = mutable_data<T>(out[i]);
  parallel(batch, 1, [&](int64_t begin, int64_t end) {
    HASHGCN_RUN(score_tables(input.tables, data[0], data[1], data[2], data[3], begin, end));
  });
  return {out[0], out[1], out[2], out[3]};
}

template <class T>
static Gradients backward(const Tensor& grad_v_neg, const Tensor& grad_v_pos, const Tensor& neg,
                          const Tensor& pos, const Tensor& user_codes, const Tensor& item_codes,
                          const Tensor& users, const Tensor& ptr, const Tensor& ids,
                          const std::optional<Tensor>& candidate_ptr,
                          const std::optional<Tensor>& candidate_ids,
                          const std::optional<Tensor>& candidate_weight) {
  const char* op = "score_tables_backward";
  const TablesInput<T> input = check_tables<T>(op, user_codes, item_codes, users, ptr, ids,
                                               candidate_ptr, candidate_ids, candidate_weight);
  const Checker check{op, user_codes};
  const int64_t batch = user_codes.size(0), width = user_codes.size(1), levels = width + 1;
  const int64_t num_items = item_codes.size(0);
  const int64_t stride = cpu::share_stride(width);
  Buffer<T> shares[2];
  const auto fill_shares = [&](Buffer<T>& share, const Tensor& grad_in, const Tensor& count_in,
                               const char* grad_name, const char* count_name) {
    const ScalarType type = user_codes.scalar_type();
    const Tensor grad = check.matrix(grad_in, grad_name, type, batch, levels);
    const Tensor count = check.matrix(count_in, count_name, type, batch, levels);
    share.resize(size_t(batch * stride));
    const T *g = data<T>(grad), *c = data<T>(count);
    for (int64_t row = 0; row < batch; ++row) {
      for (int64_t w = 0; w < levels; ++w) {
        const int64_t at = row * levels + w;
        share[size_t(row * stride + width - w)] = core::share(g[at], c[at]);
      }
    }
  };
  fill_shares(shares[0], grad_v_neg, neg, "grad_v_neg", "neg");
  fill_shares(shares[1], grad_v_pos, pos, "grad_v_pos", "pos");

  Tensor user_grad = torch::stable::new_empty(user_codes, {batch, width});
  Tensor item_grad = torch::stable::new_empty(item_codes, {num_items, width});
  const T* items = data<T>(input.item_codes);
  T* item_out = mutable_data<T>(item_grad);
  const int64_t size = cpu::padded_rows(batch) * cpu::padded_width<T>(width);
  const Tensor buffer = torch::stable::new_empty(user_codes, {kItemParts, size});
  T* parts = mutable_data<T>(buffer);
  parallel(kItemParts, 1, [&](int64_t first, int64_t last) {
    Buffer<T> scratch(size_t(cpu::backward_scratch<T>(batch, width)));
    std::vector<const int64_t*> next(static_cast<size_t>(batch));
    for (int64_t p = first; p < last; ++p) {
      const ItemPart part = item_part(num_items, p);
      HASHGCN_RUN(score_tables_backward(
          input.tables, data<T>(input.user_codes), items, shares[0].data(), shares[1].data(),
          parts + p * size, item_out, scratch.data(), next.data(), part.begin, part.end));
    }
  });
  sum_parts(parts, batch, width, mutable_data<T>(user_grad));
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
                                       const std::optional<Tensor>& /*candidate_order*/) {
  const auto run =
      user_codes.scalar_type() == ScalarType::Double ? &backward<double> : &backward<float>;
  return run(grad_v_neg, grad_v_pos, neg, pos, user_codes, item_codes, users, ptr, ids,
             candidate_ptr, candidate_ids, candidate_weight);
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("score_tables", TORCH_BOX(&hashgcn::score_tables));
  m.impl("score_tables_backward", TORCH_BOX(&hashgcn::score_tables_backward));
}

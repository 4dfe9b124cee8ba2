// Checks of arguments, used by the CPU and the CUDA glue. Each message names the op, the argument,
// what was expected and what came; Python sees a ValueError.
#pragma once

#include <torch/csrc/stable/device.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "../core/hamming_topk.h"
#include "../core/require.h"
#include "../core/scalar.h"
#include "../core/score_tables.h"
#include "../core/sign_fourier.h"
#include "../core/smooth_rank.h"
#include "../core/weighted_hamming_topk.h"

namespace hashgcn {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline const char* name(ScalarType type) {
  switch (type) {
    case ScalarType::Float:
      return "float32";
    case ScalarType::Double:
      return "float64";
    case ScalarType::Half:
      return "float16";
    case ScalarType::BFloat16:
      return "bfloat16";
    case ScalarType::Long:
      return "int64";
    case ScalarType::Int:
      return "int32";
    case ScalarType::Bool:
      return "bool";
    default:
      return "another dtype";
  }
}

inline std::string shape(const Tensor& tensor) {
  std::ostringstream text;
  text << "[";
  for (int64_t d = 0; d < tensor.dim(); ++d) text << (d ? ", " : "") << tensor.size(d);
  text << "]";
  return text.str();
}

template <class T>
const T* data(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

template <class T>
T* mutable_data(const Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

// The op's name and the device all of its tensors must share; each accessor checks one argument and
// returns it contiguous.
struct Checker {
  const char* op;
  const Tensor& anchor;

  Tensor tensor(const Tensor& t, const char* argument, int64_t dims, ScalarType type) const {
    require(t.scalar_type() == type, op, argument, " of dtype ", name(type), ", got ",
            name(t.scalar_type()));
    require(t.dim() == dims, op, argument, " with ", dims, " dimension(s), got shape ", shape(t));
    require(t.is_cuda() == anchor.is_cuda() && t.get_device_index() == anchor.get_device_index(),
            op, argument, " on the same device as the other tensors");
    return torch::stable::contiguous(t);
  }

  Tensor rows(const Tensor& t, const char* argument, int64_t size) const {
    Tensor checked = tensor(t, argument, 1, ScalarType::Long);
    require(size < 0 || t.size(0) == size, op, argument, " of shape [", size, "], got ", shape(t));
    return checked;
  }

  Tensor matrix(const Tensor& t, const char* argument, ScalarType type, int64_t num_rows,
                int64_t width) const {
    Tensor checked = tensor(t, argument, 2, type);
    require((num_rows < 0 || t.size(0) == num_rows) && (width < 0 || t.size(1) == width), op,
            argument, " of shape [", num_rows < 0 ? std::string("*") : std::to_string(num_rows),
            ", ", width < 0 ? std::string("*") : std::to_string(width), "], got ", shape(t));
    return checked;
  }

  // beta and temperatures: 0-d, float32 (float64 where the op computes in float64).
  Tensor scalar(const Tensor& t, const char* argument, ScalarType type) const {
    return tensor(t, argument, 0, type);
  }
};

inline ScalarType float_type(const Tensor& t, const char* op, const char* argument) {
  const ScalarType type = t.scalar_type();
  require(type == ScalarType::Float || type == ScalarType::Double, op, argument,
          " of dtype float32 or float64, got ", name(type));
  return type;
}

inline ScalarType compute_type(ScalarType type) {
  return type == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

// What becomes words of bits, contiguous.
inline Tensor check_packable(const char* op, const Tensor& x) {
  require(x.dim() == 2 && x.size(1) >= 1, op, "x of shape [rows, code_length >= 1], got ",
          shape(x));
  return torch::stable::contiguous(x);
}

// A gradient of x's shape and dtype, contiguous; x is the checker's anchor.
inline Tensor check_gradient(const Checker& check, const Tensor& grad) {
  const Tensor& x = check.anchor;
  const Tensor checked = check.tensor(grad, "grad", x.dim(), x.scalar_type());
  require(shape(grad) == shape(x), check.op, "grad of shape ", shape(x), ", got ", shape(grad));
  return checked;
}

inline void check_clip(const char* op, double clip) {
  require(clip >= 0, op, "clip >= 0, got ", clip);
}

// A series of the odd numbers below `terms`; returns how many there are.
inline int64_t check_series(const char* op, double omega, int64_t terms) {
  require(omega > 0 && omega - omega == 0, op, "omega finite and positive, got ", omega);
  require(terms >= 2 && terms <= core::kMaxFourierTerms, op, "terms in [2, ",
          core::kMaxFourierTerms, "], got ", terms);
  return terms / 2;
}

// Rows of x that are guided, contiguous.
inline Tensor check_guidance(const Checker& check, const Tensor& take_sign) {
  const Tensor& x = check.anchor;
  require(x.dim() == 2, check.op, "x of shape [rows, code_length], got ", shape(x));
  const Tensor checked = check.tensor(take_sign, "take_sign", 1, ScalarType::Bool);
  require(take_sign.size(0) == x.size(0), check.op, "take_sign of shape [", x.size(0), "], got ",
          shape(take_sign));
  return checked;
}

// Runs `body` with a null pointer of the kernel's element type.
template <class Body>
void with_element_type(ScalarType type, const char* op, const char* argument, const Body& body) {
  switch (type) {
    case ScalarType::Float:
      return body(static_cast<float*>(nullptr));
    case ScalarType::Double:
      return body(static_cast<double*>(nullptr));
    case ScalarType::Half:
      return body(static_cast<core::float16*>(nullptr));
    case ScalarType::BFloat16:
      return body(static_cast<core::bfloat16*>(nullptr));
    default:
      require(false, op, argument, " of dtype float32, float64, float16 or bfloat16, got ",
              name(type));
  }
}

// A batch's rows with the tensors that keep their memory alive.
template <class T>
struct CheckedRows {
  core::Rows<T> rows;
  Tensor users, ptr, ids;
  std::optional<Tensor> candidate_ptr, candidate_ids, candidate_weight;
};

template <class T>
CheckedRows<T> check_rows(const Checker& check, int64_t batch, int64_t num_items,
                          const Tensor& users, const Tensor& ptr, const Tensor& ids,
                          const std::optional<Tensor>& candidate_ptr,
                          const std::optional<Tensor>& candidate_ids,
                          const std::optional<Tensor>& candidate_weight) {
  CheckedRows<T> checked{{},
                         check.rows(users, "users", batch),
                         check.rows(ptr, "ptr", -1),
                         check.rows(ids, "ids", -1),
                         std::nullopt,
                         std::nullopt,
                         std::nullopt};
  require(ptr.size(0) >= 1, check.op, "ptr of shape [users + 1], got ", shape(ptr));
  require(candidate_ptr.has_value() == candidate_ids.has_value(), check.op,
          "candidate_ptr and candidate_ids together, got one of them");
  require(candidate_ids.has_value() || !candidate_weight.has_value(), check.op,
          "candidate_weight with candidate_ids, got it alone");
  core::Rows<T>& rows = checked.rows;
  rows.batch = batch;
  rows.num_users = ptr.size(0) - 1;
  rows.num_items = num_items;
  rows.num_pairs = ids.size(0);
  rows.users = data<int64_t>(checked.users);
  rows.ptr = data<int64_t>(checked.ptr);
  rows.ids = data<int64_t>(checked.ids);
  if (candidate_ptr.has_value()) {
    checked.candidate_ptr = check.rows(*candidate_ptr, "candidate_ptr", batch + 1);
    checked.candidate_ids = check.rows(*candidate_ids, "candidate_ids", -1);
    rows.candidate_ptr = data<int64_t>(*checked.candidate_ptr);
    rows.candidate_ids = data<int64_t>(*checked.candidate_ids);
    rows.num_candidates = candidate_ids->size(0);
  }
  if (candidate_weight.has_value()) {
    const ScalarType type = sizeof(T) == 8 ? ScalarType::Double : ScalarType::Float;
    checked.candidate_weight = check.tensor(*candidate_weight, "candidate_weight", 1, type);
    require(candidate_weight->size(0) == candidate_ids->size(0), check.op,
            "candidate_weight of shape ", shape(*candidate_ids), ", got ",
            shape(*candidate_weight));
    rows.candidate_weight = data<T>(*checked.candidate_weight);
  }
  return checked;
}

struct TopkInput {
  core::HammingTopk problem;
  Tensor queries, items;
  std::optional<Tensor> exclude_ptr, exclude_ids, allow;
};

inline void check_topk_sizes(const char* op, int64_t k, int64_t code_length) {
  require(k >= 1 && k <= core::kMaxTopk, op, "k in [1, ", core::kMaxTopk, "], got ", k);
  require(code_length >= 1 && code_length <= core::kMaxCodeLength, op, "code_length in [1, ",
          core::kMaxCodeLength, "], got ", code_length);
}

// `queries` and `items` have been checked.
inline TopkInput check_candidates(const Checker& check, const Tensor& queries, const Tensor& items,
                                  int64_t k, int64_t code_length,
                                  const std::optional<Tensor>& exclude_ptr,
                                  const std::optional<Tensor>& exclude_ids,
                                  const std::optional<Tensor>& allow) {
  TopkInput input{{}, queries, items, std::nullopt, std::nullopt, std::nullopt};
  const int64_t num_queries = queries.size(0), num_items = items.size(0);
  require(exclude_ptr.has_value() == exclude_ids.has_value(), check.op,
          "exclude_ptr and exclude_ids together, got one of them");
  if (exclude_ptr.has_value()) {
    input.exclude_ptr = check.rows(*exclude_ptr, "exclude_ptr", num_queries + 1);
    input.exclude_ids = check.rows(*exclude_ids, "exclude_ids", -1);
  }
  if (allow.has_value()) {
    input.allow = check.tensor(*allow, "allow", 1, ScalarType::Bool);
    require(allow->size(0) == num_items, check.op, "allow of shape [", num_items, "], got ",
            shape(*allow));
  }
  input.problem = {
      num_queries,
      num_items,
      code_length,
      k,
      data<uint64_t>(input.queries),
      data<uint64_t>(input.items),
      input.exclude_ptr ? data<int64_t>(*input.exclude_ptr) : nullptr,
      input.exclude_ids ? data<int64_t>(*input.exclude_ids) : nullptr,
      input.allow ? data<bool>(*input.allow) : nullptr,
  };
  return input;
}

inline TopkInput check_topk(const char* op, const Tensor& queries, const Tensor& items, int64_t k,
                            int64_t code_length, const std::optional<Tensor>& exclude_ptr,
                            const std::optional<Tensor>& exclude_ids,
                            const std::optional<Tensor>& allow) {
  check_topk_sizes(op, k, code_length);
  const Checker check{op, queries};
  const int64_t words = core::words_per_code(code_length);
  return check_candidates(check, check.matrix(queries, "queries", ScalarType::Long, -1, words),
                          check.matrix(items, "items", ScalarType::Long, -1, words), k, code_length,
                          exclude_ptr, exclude_ids, allow);
}

struct WeightedTopkInput {
  core::WeightedHammingTopk problem;
  TopkInput rows;
  Tensor query_scale, item_scale;
};

inline WeightedTopkInput check_weighted_topk(const char* op, const Tensor& queries,
                                             const Tensor& items, const Tensor& query_scale,
                                             const Tensor& item_scale, int64_t k,
                                             int64_t code_length,
                                             const std::optional<Tensor>& exclude_ptr,
                                             const std::optional<Tensor>& exclude_ids,
                                             const std::optional<Tensor>& allow) {
  check_topk_sizes(op, k, code_length);
  const Checker check{op, queries};
  const Tensor query_words = check.tensor(queries, "queries", 3, ScalarType::Long);
  const Tensor item_words = check.tensor(items, "items", 3, ScalarType::Long);
  const int64_t segments = queries.size(1), words = core::words_per_code(code_length);
  require(segments >= 1 && queries.size(2) == words, op, "queries of shape [*, segments >= 1, ",
          words, "], got ", shape(queries));
  require(items.size(1) == segments && items.size(2) == words, op, "items of shape [*, ", segments,
          ", ", words, "], got ", shape(items));
  require(segments <= core::kMaxCodeLength / code_length, op, "up to ", core::kMaxCodeLength,
          " bits in the segments of a row of queries, got ", segments, " of ", code_length);
  WeightedTopkInput input{
      {},
      check_candidates(check, query_words, item_words, k, code_length, exclude_ptr, exclude_ids,
                       allow),
      check.matrix(query_scale, "query_scale", ScalarType::Float, queries.size(0), segments),
      check.matrix(item_scale, "item_scale", ScalarType::Float, items.size(0), segments)};
  input.problem = {input.rows.problem, segments, data<float>(input.query_scale),
                   data<float>(input.item_scale)};
  return input;
}

struct PropagateInput {
  Tensor x, user_ptr, user_items, item_ptr, item_users, scale;
  int64_t num_users, num_items, width;
};

inline PropagateInput check_propagate(const char* op, const Tensor& x, const Tensor& user_ptr,
                                      const Tensor& user_items, const Tensor& item_ptr,
                                      const Tensor& item_users, const Tensor& scale, int64_t first,
                                      int64_t layers) {
  require(layers >= 0, op, "layers >= 0, got ", layers);
  require(first >= 0 && first <= layers, op, "first in [0, ", layers, "], got ", first);
  const Checker check{op, x};
  const ScalarType type = float_type(x, op, "x");
  require(user_ptr.dim() == 1 && user_ptr.size(0) >= 1, op, "user_ptr of shape [users + 1], got ",
          shape(user_ptr));
  require(item_ptr.dim() == 1 && item_ptr.size(0) >= 1, op, "item_ptr of shape [items + 1], got ",
          shape(item_ptr));
  const int64_t m = user_ptr.size(0) - 1, n = item_ptr.size(0) - 1;
  PropagateInput input{check.matrix(x, "x", type, m + n, -1),
                       check.rows(user_ptr, "user_ptr", m + 1),
                       check.rows(user_items, "user_items", -1),
                       check.rows(item_ptr, "item_ptr", n + 1),
                       check.rows(item_users, "item_users", user_items.size(0)),
                       check.tensor(scale, "scale", 1, type),
                       m,
                       n,
                       x.size(1)};
  require(scale.size(0) == m + n, op, "scale of shape [", m + n, "], got ", shape(scale));
  return input;
}

inline std::pair<Tensor, Tensor> check_mm(const char* op, const Tensor& x, const Tensor& matrix) {
  const Checker check{op, x};
  const ScalarType type = float_type(x, op, "x");
  const Tensor rows = check.matrix(x, "x", type, -1, -1);
  return {rows, check.matrix(matrix, "matrix", type, x.size(1), -1)};
}

// Arguments of the score tables; `tables` lacks the packed codes.
template <class T>
struct TablesArguments {
  CheckedRows<T> rows;
  Tensor user_codes, item_codes;
  core::ScoreTables<T> tables;
};

template <class T>
TablesArguments<T> check_tables_arguments(const char* op, const Tensor& user_codes,
                                          const Tensor& item_codes, const Tensor& users,
                                          const Tensor& ptr, const Tensor& ids,
                                          const std::optional<Tensor>& candidate_ptr,
                                          const std::optional<Tensor>& candidate_ids,
                                          const std::optional<Tensor>& candidate_weight) {
  const Checker check{op, user_codes};
  const ScalarType type = float_type(user_codes, op, "user_codes");
  TablesArguments<T> input;
  input.user_codes = check.matrix(user_codes, "user_codes", type, -1, -1);
  const int64_t code_length = user_codes.size(1);
  require(code_length >= 1 && code_length <= core::kMaxTableLength, op, "user_codes with 1 to ",
          core::kMaxTableLength, " bits, got shape ", shape(user_codes));
  input.item_codes = check.matrix(item_codes, "item_codes", type, -1, code_length);
  input.rows = check_rows<T>(check, user_codes.size(0), item_codes.size(0), users, ptr, ids,
                             candidate_ptr, candidate_ids, candidate_weight);
  input.tables = {input.rows.rows, code_length, nullptr, nullptr};
  return input;
}

template <class T>
struct RankArguments {
  CheckedRows<T> rows;
  Tensor user_emb, item_emb, offsets, tau;
  core::SmoothRank<T> problem;
};

template <class T>
RankArguments<T> check_rank_arguments(
    const char* op, const Tensor& user_emb, const Tensor& item_emb, const Tensor& users,
    const Tensor& ptr, const Tensor& ids, const Tensor& offsets, int64_t size, const Tensor& tau,
    const std::optional<Tensor>& candidate_ptr, const std::optional<Tensor>& candidate_ids,
    const std::optional<Tensor>& candidate_weight, bool exclude_positives) {
  const Checker check{op, user_emb};
  const ScalarType type = float_type(user_emb, op, "user_emb");
  RankArguments<T> input;
  input.user_emb = check.matrix(user_emb, "user_emb", type, -1, -1);
  const int64_t batch = user_emb.size(0), width = user_emb.size(1);
  require(width >= 1, op, "user_emb with at least one column, got shape ", shape(user_emb));
  require(size >= 0, op, "size >= 0, got ", size);
  input.item_emb = check.matrix(item_emb, "item_emb", type, -1, width);
  input.rows = check_rows<T>(check, batch, item_emb.size(0), users, ptr, ids, candidate_ptr,
                             candidate_ids, candidate_weight);
  input.offsets = check.rows(offsets, "offsets", batch + 1);
  input.tau = check.scalar(tau, "tau", type);
  input.problem = {input.rows.rows, data<int64_t>(input.offsets), size, width, exclude_positives};
  return input;
}

}  // namespace hashgcn

// Checks of packed codes and of top-N search, used by the CPU and the CUDA glue.
#pragma once

#include "tensors.h"

namespace hashgcn {

// What becomes words of bits, contiguous.
inline Tensor check_packable(const char* op, const Tensor& x) {
  require(x.dim() == 2 && x.size(1) >= 1, op, "x of shape [rows, code_length >= 1], got ",
          shape(x));
  return torch::stable::contiguous(x);
}

// Packed codes of one side, contiguous; `code_length` has been checked.
inline Tensor check_words(const Checker& check, const Tensor& words, const char* argument,
                          int64_t code_length) {
  require(words.scalar_type() == ScalarType::Long, check.op, argument, " of dtype int64, got ",
          name(words.scalar_type()), advice(false, words.scalar_type()));
  return check.matrix(words, argument, ScalarType::Long, -1, core::words_per_code(code_length));
}

// The same of queries, which may have planes.
inline Tensor check_planes(const Checker& check, const Tensor& queries, int64_t code_length) {
  if (queries.dim() != 3) return check_words(check, queries, "queries", code_length);
  const int64_t words = core::words_per_code(code_length), planes = queries.size(1);
  require(planes >= 1 && planes <= core::kMaxPlanes && queries.size(2) == words, check.op,
          "queries of shape [*, ", words, "] or [*, 1 to ", core::kMaxPlanes, " planes, ", words,
          "], got ", shape(queries));
  check_planes(check.op, planes, code_length);
  return check.tensor(queries, "queries", 3, ScalarType::Long);
}

// Codes of queries and items, with the tensors that keep their memory alive.
struct CodesInput {
  Tensor queries, items;
  core::Codes codes;

  CodesInput(const Checker& check, const Tensor& queries_in, const Tensor& items_in,
             int64_t code_length) {
    check_code_length(check.op, code_length);
    queries = check_planes(check, queries_in, code_length);
    items = check_words(check, items_in, "items", code_length);
    codes = {queries.size(0),
             items.size(0),
             code_length,
             queries.dim() == 3 ? queries.size(1) : 1,
             data<uint64_t>(queries),
             data<uint64_t>(items)};
  }
};

struct TopkInput : CodesInput {
  ListTensors excluded;
  MaybeTensor allow;
  core::HammingTopk problem;

  TopkInput(const Checker& check, const Tensor& queries_in, const Tensor& items_in, int64_t k,
            int64_t code_length, const MaybeTensor& exclude_ptr, const MaybeTensor& exclude_ids,
            const MaybeTensor& allow_in)
      : CodesInput(check, queries_in, items_in, code_length),
        excluded(check, "exclude_", exclude_ptr, exclude_ids, codes.num_queries) {
    check_k(check.op, k);
    if (allow_in) allow = check.vector(*allow_in, "allow", codes.num_items, ScalarType::Bool);
    problem = {codes, k, excluded.lists(), data<bool>(allow)};
  }

  Tensor new_results(ScalarType type) const {
    return torch::stable::new_empty(queries, {problem.num_queries, problem.k}, type);
  }
};

}  // namespace hashgcn

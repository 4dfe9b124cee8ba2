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

// Codes of the checker's op, contiguous; `code_length` has been checked.
inline Tensor check_words(const Checker& check, const Tensor& words, const char* argument,
                          int64_t code_length) {
  return check.matrix(words, argument, ScalarType::Long, -1, core::words_per_code(code_length));
}

// A problem with the tensors that keep its memory alive.
struct TopkInput {
  Tensor queries, items;
  MaybeTensor exclude_ptr, exclude_ids, allow;
  core::HammingTopk problem;

  TopkInput(const char* op, const Tensor& queries_in, const Tensor& items_in, int64_t k,
            int64_t code_length, const MaybeTensor& exclude_ptr_in,
            const MaybeTensor& exclude_ids_in, const MaybeTensor& allow_in) {
    check_topk_sizes(op, k, code_length);
    const Checker check{op, queries_in};
    queries = check_words(check, queries_in, "queries", code_length);
    items = check_words(check, items_in, "items", code_length);
    const int64_t num_queries = queries.size(0), num_items = items.size(0);
    require(exclude_ptr_in.has_value() == exclude_ids_in.has_value(), op,
            "exclude_ptr and exclude_ids together, got one of them");
    if (exclude_ptr_in) {
      exclude_ptr = check.vector(*exclude_ptr_in, "exclude_ptr", num_queries + 1);
      exclude_ids = check.vector(*exclude_ids_in, "exclude_ids", -1);
    }
    if (allow_in) allow = check.vector(*allow_in, "allow", num_items, ScalarType::Bool);
    problem = {num_queries,
               num_items,
               code_length,
               k,
               data<uint64_t>(queries),
               data<uint64_t>(items),
               data<int64_t>(exclude_ptr),
               data<int64_t>(exclude_ids),
               data<bool>(allow)};
  }

  int64_t num_excluded() const { return exclude_ids ? exclude_ids->size(0) : 0; }
  Tensor new_results(ScalarType type) const {
    return torch::stable::new_empty(queries, {problem.num_queries, problem.k}, type);
  }
};

}  // namespace hashgcn

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
  Lists excluded;
  MaybeTensor allow;
  core::HammingTopk problem;

  TopkInput(const char* op, const Tensor& queries_in, const Tensor& items_in, int64_t k,
            int64_t code_length, const MaybeTensor& exclude_ptr, const MaybeTensor& exclude_ids,
            const MaybeTensor& allow_in) {
    check_topk_sizes(op, k, code_length);
    const Checker check{op, queries_in};
    queries = check_words(check, queries_in, "queries", code_length);
    items = check_words(check, items_in, "items", code_length);
    const int64_t num_queries = queries.size(0), num_items = items.size(0);
    excluded = Lists(check, "exclude_", exclude_ptr, exclude_ids, num_queries);
    if (allow_in) allow = check.vector(*allow_in, "allow", num_items, ScalarType::Bool);
    problem = {num_queries,
               num_items,
               code_length,
               k,
               data<uint64_t>(queries),
               data<uint64_t>(items),
               data<int64_t>(excluded.ptr),
               data<int64_t>(excluded.ids),
               data<bool>(allow)};
  }

  Tensor new_results(ScalarType type) const {
    return torch::stable::new_empty(queries, {problem.num_queries, problem.k}, type);
  }
};

}  // namespace hashgcn

// Every op of the namespace, in one place. Backends register themselves in <op>_cpu.cpp,
// <op>_cuda.cpp; fake kernels and gradients are registered in Python (hashgcn/ops).
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(hashgcn, m) {
  // The sign, differentiated as something else. scale and beta, which multiply x, are tensors so
  // that they may change at every step.
  m.def("sign_swish(Tensor x, Tensor beta) -> Tensor");
  m.def("sign_swish_backward(Tensor grad, Tensor x, Tensor beta) -> Tensor");
  m.def("sign_ste(Tensor x, Tensor scale, float clip) -> Tensor");
  m.def("sign_ste_backward(Tensor grad, Tensor x, Tensor scale, float clip) -> Tensor");
  m.def("sign_fourier(Tensor x, Tensor scale, float omega, int terms) -> Tensor");
  m.def(
      "sign_fourier_backward(Tensor grad, Tensor x, Tensor scale, float omega, int terms) "
      "-> Tensor");
  m.def("tanh_continuation(Tensor x, Tensor beta) -> Tensor");
  m.def("tanh_continuation_backward(Tensor grad, Tensor x, Tensor beta) -> Tensor");
  // Its backward is sign_ste_backward with an infinite clip.
  m.def("sign_guided(Tensor x, Tensor take_sign, Tensor scale) -> Tensor");

  m.def("pack_codes(Tensor x) -> Tensor");
  m.def("unpack_codes(Tensor words, int code_length, ScalarType dtype) -> Tensor");

  // users [b] are rows of the positives' CSR (ptr, ids); candidate lists are CSR over the batch.
  // item_weights [n]: how much an item that is no positive counts, candidate or not.
  m.def(
      "score_tables(Tensor user_codes, Tensor item_codes, Tensor users, Tensor ptr, Tensor ids, "
      "Tensor? candidate_ptr, Tensor? candidate_ids, Tensor? candidate_weight, "
      "Tensor? item_weights, int levels) -> (Tensor, Tensor, Tensor, Tensor)");
  // candidate_order: positions of candidate_ids sorted by item, stable; CUDA sums a row of the item
  // gradient in that order, the CPU does not need it.
  m.def(
      "score_tables_backward(Tensor grad_v_neg, Tensor grad_v_pos, Tensor neg, Tensor pos, "
      "Tensor user_codes, Tensor item_codes, Tensor users, Tensor ptr, Tensor ids, "
      "Tensor? candidate_ptr, Tensor? candidate_ids, Tensor? candidate_weight, "
      "Tensor? candidate_order, Tensor? item_weights, int levels) -> (Tensor, Tensor)");

  // offsets [b + 1]: where each row's positives stand among the `size` ranks.
  m.def(
      "smooth_rank(Tensor user_emb, Tensor item_emb, Tensor users, Tensor ptr, Tensor ids, "
      "Tensor offsets, SymInt size, Tensor tau, Tensor? candidate_ptr, Tensor? candidate_ids, "
      "Tensor? candidate_weight, Tensor? item_weights, bool exclude_positives) -> Tensor");
  m.def(
      "smooth_rank_backward(Tensor grad, Tensor user_emb, Tensor item_emb, Tensor users, "
      "Tensor ptr, Tensor ids, Tensor offsets, Tensor tau, "
      "Tensor? candidate_ptr, Tensor? candidate_ids, "
      "Tensor? candidate_weight, Tensor? candidate_order, Tensor? item_weights, "
      "bool exclude_positives) -> (Tensor, Tensor)");

  // Ids, then distances. Queries are plain codes [Q, words] or bit planes [Q, P, words].
  m.def(
      "hamming_topk(Tensor queries, Tensor items, int k, int code_length, Tensor? exclude_ptr, "
      "Tensor? exclude_ids, Tensor? allow) -> (Tensor, Tensor)");
  // Of the items of each query's list, or of all; queries as those of hamming_topk.
  m.def(
      "hamming_histogram(Tensor queries, Tensor items, int code_length, Tensor? ptr, Tensor? ids) "
      "-> Tensor");

  // x: users' rows, then items'. Mean of layers first to `layers`. Its own backward, since the
  // normalised adjacency is symmetric.
  m.def(
      "propagate(Tensor x, Tensor user_ptr, Tensor user_items, Tensor item_ptr, Tensor item_users, "
      "Tensor scale, int first, int layers) -> Tensor");

  // x matrix, with bits that do not depend on the number of threads.
  m.def("fixed_order_mm(Tensor x, Tensor matrix) -> Tensor");
}

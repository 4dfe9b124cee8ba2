// Checks of batches and graphs, used by the CPU and the CUDA glue.
#pragma once

#include "../../core/score_tables.h"
#include "../../core/smooth_rank.h"
#include "tensors.h"

namespace hashgcn {

// The tensors of a batch's rows and candidate lists; see core/rows.h.
struct Batch {
  Tensor users, ptr, ids;
  MaybeTensor candidate_ptr, candidate_ids, candidate_weight, item_weights;
  ListTensors lists = {};  // of candidates

  // Makes the tensors contiguous and returns what points into them.
  template <class T>
  core::Rows<T> check(const Checker& check, int64_t size, int64_t num_items) {
    users = check.vector(users, "users", size);
    ptr = check.vector(ptr, "ptr", -1);
    ids = check.vector(ids, "ids", -1);
    require(ptr.size(0) >= 1, check.op, "ptr of shape [users + 1], got ", shape(ptr));
    lists = ListTensors(check, "candidate_", candidate_ptr, candidate_ids, size);
    require(lists.ids || !candidate_weight, check.op,
            "candidate_weight with candidate_ids, got it alone");
    if (candidate_weight) {
      candidate_weight =
          check.vector(*candidate_weight, "candidate_weight", lists.ids->size(0), kFloatType<T>);
    }
    if (item_weights) {
      item_weights = check.vector(*item_weights, "item_weights", num_items, kFloatType<T>);
    }
    const core::Lists candidates = lists.lists();
    return {size,
            ptr.size(0) - 1,
            num_items,
            ids.size(0),
            data<int64_t>(users),
            data<int64_t>(ptr),
            data<int64_t>(ids),
            candidates.ptr,
            candidates.ids,
            data<T>(candidate_weight),
            candidates.num_ids,
            data<T>(item_weights)};
  }
};

// Arguments of the score tables; `tables` lacks the packed codes.
template <class T>
struct TablesInput {
  Tensor user_codes, item_codes;
  core::ScoreTables<T> tables;

  TablesInput(const Checker& check, const Tensor& users, const Tensor& items, Batch& batch,
              int64_t levels)
      : user_codes(check.matrix(users, "user_codes", kFloatType<T>, -1, -1)) {
    const int64_t code_length = users.size(1);
    require(code_length >= 1 && code_length <= core::kMaxTableLength, check.op,
            "user_codes with 1 to ", core::kMaxTableLength, " bits, got shape ", shape(users));
    item_codes = check.matrix(items, "item_codes", kFloatType<T>, -1, code_length);
    require(levels == 1 || levels == 2 || levels == 4 || levels == 8, check.op,
            "levels one of 1, 2, 4 and 8, got ", levels);
    int planes = 1;
    while ((1 << planes) <= levels) ++planes;
    tables = {batch.check<T>(check, users.size(0), items.size(0)), code_length, planes, nullptr,
              nullptr};
  }
};

template <class T>
struct RankInput {
  Tensor user_emb, item_emb, offsets, tau;
  core::SmoothRank<T> problem;

  RankInput(const Checker& check, const Tensor& users, const Tensor& items, Batch& batch,
            const Tensor& offsets_in, int64_t size, const Tensor& tau_in, bool exclude_positives)
      : user_emb(check.matrix(users, "user_emb", kFloatType<T>, -1, -1)) {
    const int64_t width = users.size(1);
    require(width >= 1, check.op, "user_emb with at least one column, got shape ", shape(users));
    require(size >= 0, check.op, "size >= 0, got ", size);
    item_emb = check.matrix(items, "item_emb", kFloatType<T>, -1, width);
    const auto rows = batch.check<T>(check, users.size(0), items.size(0));
    offsets = check.vector(offsets_in, "offsets", rows.batch + 1);
    tau = check.scalar(tau_in, "tau", kFloatType<T>);
    problem = {rows, data<int64_t>(offsets), size, width, exclude_positives};
  }
};

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
  const ScalarType type = x.scalar_type();
  require(user_ptr.dim() == 1 && user_ptr.size(0) >= 1, op, "user_ptr of shape [users + 1], got ",
          shape(user_ptr));
  require(item_ptr.dim() == 1 && item_ptr.size(0) >= 1, op, "item_ptr of shape [items + 1], got ",
          shape(item_ptr));
  const int64_t m = user_ptr.size(0) - 1, n = item_ptr.size(0) - 1;
  return {check.matrix(x, "x", type, m + n, -1),
          check.vector(user_ptr, "user_ptr", m + 1),
          check.vector(user_items, "user_items", -1),
          check.vector(item_ptr, "item_ptr", n + 1),
          check.vector(item_users, "item_users", user_items.size(0)),
          check.vector(scale, "scale", m + n, type),
          m,
          n,
          x.size(1)};
}

}  // namespace hashgcn

// What the CPU glue shares: threads, dtype dispatch, checks of values.
#pragma once

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "../core/rows.h"
#include "../cpu/check_values.h"
#include "../cpu/tiles.h"
#include "checks/tensors.h"

namespace hashgcn {

// Runs `work(begin, end)` over parts of [0, count) of at least `grain`, on torch's threads, and
// says whether every part returned true. Kernels report bad input this way: no exception may leave
// a thread.
struct ParallelAll {
  template <class Work>
  bool operator()(int64_t count, int64_t grain, const Work& work) const {
    cpu::instruction_set();  // may throw, so not for the first time on another thread
    std::atomic<bool> good{true};
    torch::stable::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
      if (!work(begin, end)) good = false;
    });
    return good;
  }
};
constexpr ParallelAll parallel_all;

template <class Work>
void parallel(int64_t count, int64_t grain, const Work& work) {
  cpu::instruction_set();
  torch::stable::parallel_for(0, count, grain, work);
}

// Memory of kernels begins at a cache line: vectors that straddle two take twice the time.
template <class T>
struct CacheLineAllocator {
  using value_type = T;
  CacheLineAllocator() = default;
  template <class U>
  explicit CacheLineAllocator(const CacheLineAllocator<U>&) {}
  T* allocate(size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t(64)));
  }
  void deallocate(T* memory, size_t) { ::operator delete(memory, std::align_val_t(64)); }
  bool operator==(const CacheLineAllocator&) const { return true; }
  bool operator!=(const CacheLineAllocator&) const { return false; }
};
template <class T>
using Buffer = std::vector<T, CacheLineAllocator<T>>;

// Items are split into the same parts whatever the number of threads: the users' gradient is summed
// part by part in a fixed order. Sixteen keep the parts' buffers at 16 copies of it.
constexpr int64_t kItemParts = 16;

struct ItemPart {
  int64_t begin, end;
};

inline ItemPart item_part(int64_t num_items, int64_t part) {
  const int64_t size = cpu::round_up((num_items + kItemParts - 1) / kItemParts, cpu::kTileItems);
  const int64_t begin = part * size < num_items ? part * size : num_items;
  return {begin, begin + size < num_items ? begin + size : num_items};
}

// Sums the parts' [padded_rows, stride] gradients into `out` [batch, width].
template <class T>
void sum_parts(const T* parts, int64_t batch, int64_t width, T* out) {
  const int64_t stride = cpu::padded_width<T>(width), size = cpu::padded_rows(batch) * stride;
  parallel(batch, 64, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t k = 0; k < width; ++k) {
        T sum = 0;
        for (int64_t p = 0; p < kItemParts; ++p) sum += parts[p * size + row * stride + k];
        out[row * width + k] = sum;
      }
    }
  });
}

// Rows padded with zeros as the tile kernels want them.
template <class T>
Buffer<T> padded_copy(const T* x, int64_t batch, int64_t width) {
  const int64_t stride = cpu::padded_width<T>(width);
  Buffer<T> copy(size_t(cpu::padded_rows(batch) * stride));
  for (int64_t row = 0; row < batch; ++row) {
    for (int64_t k = 0; k < width; ++k) copy[size_t(row * stride + k)] = x[row * width + k];
  }
  return copy;
}

// Says which of the rows is not valid, and why.
template <class T>
void raise_bad_row(const char* op, const core::Rows<T>& rows) {
  for (int64_t row = 0; row < rows.batch; ++row) {
    const int64_t user = rows.users[row];
    if (user == -1) continue;
    require(user >= 0 && user < rows.num_users, op, "users in [0, ", rows.num_users,
            ") or -1, got ", user, " in row ", row);
    const int64_t first = rows.ptr[user], last = rows.ptr[user + 1];
    require(first >= 0 && first <= last && last <= rows.num_pairs, op,
            "ptr (graph.user_ptr) to rise inside of the ", rows.num_pairs, " ids, got ", first,
            " and ", last, " for user ", user);
    for (int64_t p = first; p < last; ++p) {
      require(rows.ids[p] >= 0 && rows.ids[p] < rows.num_items, op,
              "ids (graph.user_items) in [0, ", rows.num_items, "), got ", rows.ids[p],
              " for user ", user);
      require(p == first || rows.ids[p - 1] < rows.ids[p], op,
              "ids (graph.user_items) strictly increasing in a row, got ", rows.ids[p - 1],
              " before ", rows.ids[p], " for user ", user);
    }
  }
}

// Throws at the first of the numbers of a matrix for which good(number) is false.
template <class T, class Good>
[[noreturn]] void raise_bad_number(const char* op, const char* argument, const std::string& wanted,
                                   const T* x, int64_t width, const Good& good) {
  int64_t at = 0;
  while (good(x[at])) ++at;
  require(false, op, argument, wanted, ", got ", double(x[at]), " in row ", at / width);
  std::abort();
}

template <class T>
void check_item_weights(const char* op, const T* weights, int64_t count) {
  const auto good = [](T weight) { return weight >= 0 && weight - weight == 0; };
  if (!parallel_all(count, cpu::kElementGrain, [&](int64_t begin, int64_t end) {
        bool all = true;
        for (int64_t i = begin; i < end; ++i) all &= good(weights[i]);
        return all;
      })) {
    raise_bad_number(op, "item_weights", " finite and not negative", weights, 1, good);
  }
}

template <class T>
void check_row_values(const char* op, const core::Rows<T>& rows) {
  if (!parallel_all(rows.batch, 256, [&](int64_t begin, int64_t end) {
        return HASHGCN_RUN(rows_are_valid(rows, begin, end));
      })) {
    raise_bad_row(op, rows);
  }
  if (rows.item_weight != nullptr) check_item_weights(op, rows.item_weight, rows.num_items);
  if (rows.candidate_ptr == nullptr) return;
  cpu::check_lists(op, "candidate_", {rows.candidate_ptr, rows.candidate_ids, rows.num_candidates},
                   rows.batch, rows.num_items);
  if (rows.candidate_weight == nullptr) return;
  require(HASHGCN_RUN(all_finite(rows.candidate_weight, 0, rows.num_candidates)), op,
          "candidate_weight finite, got NaN or infinity");
}

template <class T>
void check_finite(const char* op, const char* argument, const T* x, int64_t rows, int64_t width) {
  if (parallel_all(rows * width, cpu::kElementGrain, [&](int64_t begin, int64_t end) {
        return HASHGCN_RUN(all_finite(x, begin, end));
      })) {
    return;
  }
  raise_bad_number(op, argument, " finite, without NaN or infinity", x, width,
                   [](T number) { return number - number == 0; });
}

// Runs task(0), ..., task(count - 1) on torch's threads.
struct RunTasks {
  template <class Task>
  void operator()(int64_t count, const Task& task) const {
    parallel(count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) task(t);
    });
  }
};

}  // namespace hashgcn

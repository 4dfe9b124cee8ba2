#include <torch/csrc/stable/library.h>

#include <algorithm>

#include "../cpu/propagate.h"
#include "cpu.h"
#include "memory.h"

namespace hashgcn {

// Rows are handed to threads in parts of about equal numbers of pairs: popular items stand first.
constexpr int64_t kEdgeParts = 64;

static int64_t part_begin(const int64_t* ptr, int64_t rows, int64_t part) {
  if (part >= kEdgeParts) return rows;
  // A row costs its pairs and one for itself; the rule needs ptr to rise, the kernel checks it.
  int64_t low = 0, high = rows;
  const int64_t wanted = (ptr[rows] + rows) / kEdgeParts * part;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (ptr[middle] + middle < wanted) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

template <class T>
static Tensor run(const PropagateInput& input, int64_t layers) {
  const char* op = "propagate";
  const int64_t m = input.num_users, n = input.num_items, width = input.width;
  const int64_t count = (m + n) * width;
  Tensor out = torch::stable::clone(input.x);
  const T* scale = data<T>(input.scale);
  check_finite(op, "x", data<T>(input.x), count);
  check_finite(op, "scale", scale, m + n);
  const int64_t *user_ptr = data<int64_t>(input.user_ptr),
                *item_ptr = data<int64_t>(input.item_ptr);
  require(
      HASHGCN_RUN(non_decreasing(user_ptr, 0, m)) && HASHGCN_RUN(non_decreasing(item_ptr, 0, n)),
      op, "user_ptr and item_ptr that do not decrease, got one that does");
  T* sum = mutable_data<T>(out);
  if (layers > 0) {
    const int64_t stride = cpu::propagate_stride(width);
    const Tensor buffers[2] = {torch::stable::new_empty(out, {m + n, stride}),
                               torch::stable::new_empty(out, {m + n, stride})};
    for (const Tensor& buffer : buffers) advise_huge_pages(buffer);
    T *y = mutable_data<T>(buffers[0]), *next = mutable_data<T>(buffers[1]);
    parallel(m + n, 1 + kElementGrain / (width + 1), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        for (int64_t k = 0; k < width; ++k) {
          y[row * stride + k] = scale[row] * sum[row * width + k];
        }
        for (int64_t k = width; k < stride; ++k) y[row * stride + k] = 0;
      }
    });
    const auto half = [&](const int64_t* ptr, const Tensor& ids, int64_t rows, int64_t first_row,
                          int64_t sources, int64_t first_source) {
      return parallel_all(kEdgeParts, 1, [&](int64_t begin, int64_t end) {
        return HASHGCN_RUN(
            propagate_rows(ptr, data<int64_t>(ids), ids.size(0), sources, y + first_source * stride,
                           scale + first_row, next + first_row * stride, sum + first_row * width,
                           width, part_begin(ptr, rows, begin), part_begin(ptr, rows, end)));
      });
    };
    for (int64_t layer = 0; layer < layers; ++layer) {
      require(half(user_ptr, input.user_items, m, 0, n, m), op, "user_items in [0, ", n,
              ") and user_ptr inside them, got others");
      require(half(item_ptr, input.item_users, n, m, m, 0), op, "item_users in [0, ", m,
              ") and item_ptr inside them, got others");
      std::swap(y, next);
    }
  }
  const T mean = T(1) / T(layers + 1);
  parallel(count, kElementGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) sum[i] *= mean;
  });
  return out;
}

static Tensor propagate(const Tensor& x, const Tensor& user_ptr, const Tensor& user_items,
                        const Tensor& item_ptr, const Tensor& item_users, const Tensor& scale,
                        int64_t layers) {
  const PropagateInput input =
      check_propagate("propagate", x, user_ptr, user_items, item_ptr, item_users, scale, layers);
  return x.scalar_type() == ScalarType::Double ? run<double>(input, layers)
                                               : run<float>(input, layers);
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) { m.impl("propagate", TORCH_BOX(&hashgcn::propagate)); }

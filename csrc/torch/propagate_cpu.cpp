#include <algorithm>

#include "../cpu/propagate.h"
#include "checks/rows.h"
#include "cpu.h"
#include "memory.h"

namespace hashgcn {

// Rows are handed to threads in parts of about equal numbers of pairs: popular items stand first.
constexpr int64_t kEdgeParts = 64;

static int64_t part_begin(const int64_t* ptr, int64_t rows, int64_t part) {
  if (part >= kEdgeParts) return rows;
  // A row costs its pairs and one for itself.
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

// Checked ids in 32 bits (half the memory traffic), with what the kernel reads past them.
static Tensor narrow(const char* op, const char* argument, const Tensor& ids, int64_t bound) {
  const int64_t count = ids.size(0);
  Tensor narrowed = torch::stable::new_empty(ids, {count + cpu::kPropagateAhead}, ScalarType::Int);
  int32_t* out = mutable_data<int32_t>(narrowed);
  const int64_t* in = data<int64_t>(ids);
  if (!parallel_all(count, cpu::kElementGrain, [&](int64_t begin, int64_t end) {
        return HASHGCN_RUN(narrow_ids(in, bound, out, begin, end));
      })) {
    cpu::check_ids(op, argument, in, bound, count);
  }
  std::fill_n(out + count, cpu::kPropagateAhead, 0);
  return narrowed;
}

// One of the two sides: its rows of x, y and out, and its half of the graph.
struct Side {
  int64_t first_row, rows;
  const int64_t* ptr;
  const int32_t* ids;
};

template <class T>
static Tensor run(const PropagateInput& input, int64_t first, int64_t layers) {
  const char* op = "propagate";
  const int64_t m = input.num_users, n = input.num_items, width = input.width;
  const T *x = data<T>(input.x), *scale = data<T>(input.scale);
  if (layers == 0) {
    check_finite(op, "x", x, m + n, width);
    return torch::stable::clone(input.x);
  }
  check_finite(op, "scale", scale, m + n, 1);
  require(m < INT32_MAX && n < INT32_MAX, op, "fewer than 2^31 - 1 users and items, got ", m,
          " and ", n);
  const Tensor user_items = narrow(op, "user_items", input.user_items, n);
  const Tensor item_users = narrow(op, "item_users", input.item_users, m);
  const Side sides[2] = {{0, m, data<int64_t>(input.user_ptr), data<int32_t>(user_items)},
                         {m, n, data<int64_t>(input.item_ptr), data<int32_t>(item_users)}};
  const int64_t num_pairs = input.user_items.size(0);
  for (const Side& side : sides) {
    require(side.ptr[0] >= 0 && side.ptr[side.rows] <= num_pairs &&
                HASHGCN_RUN(non_decreasing(side.ptr, 0, side.rows)),
            op, side.first_row == 0 ? "user_ptr" : "item_ptr",
            " that does not decrease and stays in [0, ", num_pairs, "], got one that does not");
  }

  constexpr int64_t kColumns = cpu::kPropagateColumns<T>;
  const int64_t added_layers = layers - std::max<int64_t>(first, 1) + 1;
  const T zeros[kColumns] = {};
  const T factor = T(1) / T(layers - first + 1);
  Tensor out = torch::stable::new_empty(input.x, {m + n, width});
  const Tensor buffer = torch::stable::new_empty(input.x, {m + n, kColumns});
  advise_huge_pages(out);
  advise_huge_pages(buffer);
  T *sum = mutable_data<T>(out), *y = mutable_data<T>(buffer);
  for (int64_t column = 0; column < width; column += kColumns) {
    const int64_t columns = std::min(kColumns, width - column);
    // Odd layers of one side come from even layers of the other: two walks, one from each side,
    // each of which overwrites what it has read.
    int64_t added[2] = {0, 0};
    for (int start = 0; start < 2; ++start) {
      const int64_t first_row = sides[start].first_row;
      require(parallel_all(sides[start].rows, cpu::kElementGrain / kColumns,
                           [&](int64_t begin, int64_t end) {
                             return HASHGCN_RUN(
                                 scale_rows(x + first_row * width + column, scale + first_row,
                                            y + first_row * kColumns, width, columns, begin, end));
                           }),
              op, "x finite, without NaN or infinity, got others");
      for (int64_t layer = 1; layer <= layers; ++layer) {
        const int64_t to = (start + layer) % 2;
        const Side &side = sides[to], &source = sides[1 - to];
        const int64_t offset = side.first_row * width + column;
        const bool in_mean = layer >= first;
        const bool from_zero = added[to] == 0 && first > 0;
        const T* base = from_zero ? zeros : (added[to] > 0 ? sum : x) + offset;
        if (in_mean) ++added[to];
        const cpu::PropagateHalf<T> half{side.ptr,
                                         side.ids,
                                         y + source.first_row * kColumns,
                                         scale + side.first_row,
                                         y + side.first_row * kColumns,
                                         base,
                                         in_mean ? sum + offset : nullptr,
                                         from_zero ? 0 : width,
                                         width,
                                         columns,
                                         added[to] == added_layers ? factor : T(1)};
        parallel(kEdgeParts, 1, [&](int64_t begin, int64_t end) {
          HASHGCN_RUN(propagate_rows(half, part_begin(side.ptr, side.rows, begin),
                                     part_begin(side.ptr, side.rows, end)));
        });
      }
    }
  }
  return out;
}

static Tensor propagate(const Tensor& x, const Tensor& user_ptr, const Tensor& user_items,
                        const Tensor& item_ptr, const Tensor& item_users, const Tensor& scale,
                        int64_t first, int64_t layers) {
  const PropagateInput input = check_propagate("propagate", x, user_ptr, user_items, item_ptr,
                                               item_users, scale, first, layers);
  return with_float_type(x.scalar_type(), "propagate", "x",
                         [&](auto zero) { return run<decltype(zero)>(input, first, layers); });
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) { m.impl("propagate", TORCH_BOX(&hashgcn::propagate)); }

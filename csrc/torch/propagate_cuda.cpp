#include "../cuda/propagate.h"
#include "checks/rows.h"
#include "cuda.h"

namespace hashgcn {

template <class T>
static Tensor run(const Device& device, const PropagateInput& input, int64_t first,
                  int64_t layers) {
  const int64_t num_rows = input.num_users + input.num_items, width = input.width;
  const cuda::Graph<T> graph{input.num_users,
                             input.num_items,
                             input.user_items.size(0),
                             data<int64_t>(input.user_ptr),
                             data<int64_t>(input.user_items),
                             data<int64_t>(input.item_ptr),
                             data<int64_t>(input.item_users),
                             data<T>(input.scale)};
  cuda::check_finite(data<T>(input.x), num_rows * width, device.errors, device.stream);
  cuda::check_finite(graph.scale, num_rows, device.errors, device.stream);
  Tensor out = torch::stable::clone(input.x);
  const int64_t scratch_rows = layers > 0 ? num_rows : 0;
  Tensor y = torch::stable::new_empty(out, {scratch_rows, width});
  Tensor next = torch::stable::new_empty(out, {scratch_rows, width});
  cuda::propagate(graph, mutable_data<T>(out), mutable_data<T>(y), mutable_data<T>(next), width,
                  first, layers, device.errors, device.stream);
  device.finish();
  return out;
}

static Tensor propagate(const Tensor& x, const Tensor& user_ptr, const Tensor& user_items,
                        const Tensor& item_ptr, const Tensor& item_users, const Tensor& scale,
                        int64_t first, int64_t layers) {
  const char* op = "propagate";
  const Device device(op, x);
  const PropagateInput input =
      check_propagate(op, x, user_ptr, user_items, item_ptr, item_users, scale, first, layers);
  return with_float_type(x.scalar_type(), op, "x", [&](auto zero) {
    return run<decltype(zero)>(device, input, first, layers);
  });
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) { m.impl("propagate", TORCH_BOX(&hashgcn::propagate)); }

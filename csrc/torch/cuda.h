// What the CUDA glue shares: device and stream, error flag, order of candidates.
#pragma once

#include "../cuda/errors.h"
#include "../cuda/launch.h"
#include "checks/tensors.h"
#include "device.h"

namespace hashgcn {

// Raises what kernels found wrong so far, if HASHGCN_CHECK is 1 and no capture is under way.
void raise_errors(const char* op, unsigned int* errors, cudaStream_t stream);

// An op's device, current while this lives, and the stream that torch uses there.
class Device {
 public:
  Device(const char* op, const Tensor& anchor)
      : op_(checked(op, anchor)),
        anchor_(anchor),
        guard_(anchor.get_device_index()),
        errors(cuda::error_flag()),
        stream(current_stream(anchor.get_device_index())) {}

  Tensor scratch(int64_t bytes) const {
    return torch::stable::new_empty(anchor_, {bytes}, ScalarType::Byte);
  }

  // To be called after the op's launches.
  void finish() const { raise_errors(op_, errors, stream); }

 private:
  static const char* checked(const char* op, const Tensor& anchor) {
    require(is_on_device(anchor), op, "all tensors on one device, got some on another");
    cuda::check_earlier_work(op);
    return op;
  }

  const char* op_;
  const Tensor& anchor_;
  DeviceGuard guard_;

 public:
  unsigned int* const errors;
  const cudaStream_t stream;
};

// Codes whose distances a block counts; their values are checked on the device.
inline void check_codes(const Device& device, const char* op, const core::Codes& codes) {
  const int64_t longest = cuda::kMaxCountedLength / core::largest_weight(codes.planes);
  require(codes.code_length <= longest, op, "code_length up to ", longest,
          " on CUDA for queries of ", codes.planes, " plane(s), got ", codes.code_length);
  require(codes.num_items <= cuda::kMaxCountedItems, op, "up to ", cuda::kMaxCountedItems,
          " items on CUDA, got ", codes.num_items);
  cuda::check_codes(codes, device.errors, device.stream);
}

// The order of candidates by item, which gradients of candidate lists need.
inline MaybeTensor check_order(const Checker& check, const MaybeTensor& candidate_ids,
                               const MaybeTensor& candidate_order) {
  require(candidate_ids.has_value() == candidate_order.has_value(), check.op,
          "candidate_order if there are candidate_ids, got one of them");
  if (!candidate_order) return std::nullopt;
  return check.vector(*candidate_order, "candidate_order", candidate_ids->size(0));
}

}  // namespace hashgcn

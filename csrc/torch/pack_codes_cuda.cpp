#include "../cuda/pack_codes.h"
#include "checks/topk.h"
#include "cuda.h"

namespace hashgcn {

static Tensor pack_codes(const Tensor& x_in) {
  const char* op = "pack_codes";
  const Device device(op, x_in);
  const Tensor x = check_packable(op, x_in);
  const int64_t rows = x.size(0), code_length = x.size(1);
  Tensor words =
      torch::stable::new_empty(x, {rows, core::words_per_code(code_length)}, ScalarType::Long);
  with_element_type(x.scalar_type(), op, "x", [&](auto zero) {
    using T = decltype(zero);
    cuda::pack_codes(data<T>(x), mutable_data<uint64_t>(words), rows, code_length, false,
                     device.errors, device.stream);
  });
  device.finish();
  return words;
}

static Tensor unpack_codes(const Tensor& words_in, int64_t code_length, ScalarType dtype) {
  const char* op = "unpack_codes";
  const Device device(op, words_in);
  check_code_length(op, code_length);
  const Tensor words = check_words({op, words_in}, words_in, "words", code_length);
  const int64_t rows = words.size(0);
  const uint64_t* in = data<uint64_t>(words);
  cuda::check_tails(in, rows, code_length, device.errors, device.stream);
  Tensor x = torch::stable::new_empty(words, {rows, code_length}, dtype);
  with_element_type(dtype, op, "dtype", [&](auto zero) {
    using T = decltype(zero);
    cuda::unpack_codes(in, mutable_data<T>(x), rows, code_length, device.stream);
  });
  device.finish();
  return x;
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CUDA, m) {
  m.impl("pack_codes", TORCH_BOX(&hashgcn::pack_codes));
  m.impl("unpack_codes", TORCH_BOX(&hashgcn::unpack_codes));
}

#include <torch/csrc/stable/library.h>

#include "../cpu/pack_codes.h"
#include "cpu.h"

namespace hashgcn {

static Tensor pack_codes(const Tensor& x_in) {
  const char* op = "pack_codes";
  const Tensor x = check_packable(op, x_in);
  const int64_t rows = x.size(0), code_length = x.size(1);
  Tensor words =
      torch::stable::new_empty(x, {rows, core::words_per_code(code_length)}, ScalarType::Long);
  with_element_type(x.scalar_type(), op, "x", [&](auto* null) {
    using T = std::remove_pointer_t<decltype(null)>;
    const T* in = data<T>(x);
    uint64_t* out = mutable_data<uint64_t>(words);
    require(parallel_all(rows, 1 + kElementGrain / code_length,
                         [&](int64_t begin, int64_t end) {
                           return HASHGCN_RUN(pack_codes(in, out, code_length, begin, end));
                         }),
            op, "x without NaN, got NaN");
  });
  return words;
}

static Tensor unpack_codes(const Tensor& words_in, int64_t code_length, ScalarType dtype) {
  const char* op = "unpack_codes";
  require(code_length >= 1 && code_length <= core::kMaxCodeLength, op, "code_length in [1, ",
          core::kMaxCodeLength, "], got ", code_length);
  const Checker check{op, words_in};
  const Tensor words =
      check.matrix(words_in, "words", ScalarType::Long, -1, core::words_per_code(code_length));
  const int64_t rows = words.size(0);
  const uint64_t* in = data<uint64_t>(words);
  check_tails(op, "words", in, rows, code_length);
  Tensor x = torch::stable::new_empty(words, {rows, code_length}, dtype);
  with_element_type(dtype, op, "dtype", [&](auto* null) {
    using T = std::remove_pointer_t<decltype(null)>;
    T* out = mutable_data<T>(x);
    parallel(rows, 1 + kElementGrain / code_length, [&](int64_t begin, int64_t end) {
      HASHGCN_RUN(unpack_codes(in, out, code_length, begin, end));
    });
  });
  return x;
}

}  // namespace hashgcn

STABLE_TORCH_LIBRARY_IMPL(hashgcn, CPU, m) {
  m.impl("pack_codes", TORCH_BOX(&hashgcn::pack_codes));
  m.impl("unpack_codes", TORCH_BOX(&hashgcn::unpack_codes));
}

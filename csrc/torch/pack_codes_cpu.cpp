#include "../cpu/pack_codes.h"
#include "checks/topk.h"
#include "cpu.h"

namespace hashgcn {

static Tensor pack_codes(const Tensor& x_in) {
  const char* op = "pack_codes";
  const Tensor x = check_packable(op, x_in);
  const int64_t rows = x.size(0), code_length = x.size(1);
  Tensor words =
      torch::stable::new_empty(x, {rows, core::words_per_code(code_length)}, ScalarType::Long);
  with_element_type(x.scalar_type(), op, "x", [&](auto zero) {
    using T = decltype(zero);
    const T* in = data<T>(x);
    uint64_t* out = mutable_data<uint64_t>(words);
    require(parallel_all(rows, 1 + cpu::kElementGrain / code_length,
                         [&](int64_t begin, int64_t end) {
                           return HASHGCN_RUN(pack_codes(in, out, code_length, begin, end));
                         }),
            op, "x without NaN, got NaN");
  });
  return words;
}

static Tensor unpack_codes(const Tensor& words_in, int64_t code_length, ScalarType dtype) {
  const char* op = "unpack_codes";
  check_code_length(op, code_length);
  const Tensor words = check_words({op, words_in}, words_in, "words", code_length);
  const int64_t rows = words.size(0);
  const uint64_t* in = data<uint64_t>(words);
  cpu::check_tails(op, "words", in, rows, code_length, parallel_all);
  Tensor x = torch::stable::new_empty(words, {rows, code_length}, dtype);
  with_element_type(dtype, op, "dtype", [&](auto zero) {
    using T = decltype(zero);
    T* out = mutable_data<T>(x);
    parallel(rows, 1 + cpu::kElementGrain / code_length, [&](int64_t begin, int64_t end) {
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

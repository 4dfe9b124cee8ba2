#include "hamming_histogram.h"

#include "tiles.h"

namespace hashgcn::cpu::HASHGCN_ISA {

void hamming_histogram(const core::Codes& codes, const core::Lists& lists, int64_t* counts,
                       int64_t begin, int64_t end) {
  const int64_t words = core::words_per_code(codes.code_length),
                bins = core::longest_distance(codes) + 1;
  const bool all = lists.ptr == nullptr;
  for (int64_t query = begin; query < end; ++query) {
    const uint64_t* code = codes.queries + query * codes.planes * words;
    int64_t* row = counts + query * bins;
    fill<int64_t>(row, bins, 0);
    const core::Span list = all ? core::Span{nullptr, nullptr} : core::list_of(lists, query);
    const int64_t count = all ? codes.num_items : list.end - list.begin;
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t* item = codes.items + (all ? i : list.begin[i]) * words;
      ++row[core::graded_distance(code, item, words, codes.planes)];
    }
  }
}

}  // namespace hashgcn::cpu::HASHGCN_ISA

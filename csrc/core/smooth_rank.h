// Arguments of the smooth-rank kernels.
#pragma once

#include "rows.h"
#include "sigmoid.h"

namespace hashgcn::core {

template <class T>
struct SmoothRank {
  Rows<T> rows;
  const int64_t* offsets;  // [batch + 1]: where each row's positives stand among the ranks
  int64_t size;            // number of ranks; those past offsets[batch] are padding
  int64_t width;
  bool exclude_positives;
};

}  // namespace hashgcn::core

#include "propagate.h"

#include "vectors.h"

namespace hashgcn::cpu::HASHGCN_ISA {

namespace {

// Vectors as the instruction set has them: compilers split wider ones through memory.
constexpr int64_t kVectors = 64 / kRegisterBytes;

template <class T>
struct Vector;
template <>
struct Vector<float> {
  typedef float type __attribute__((vector_size(kRegisterBytes), aligned(4), may_alias));
};
template <>
struct Vector<double> {
  typedef double type __attribute__((vector_size(kRegisterBytes), aligned(8), may_alias));
};

// A block's columns of one row.
template <class T>
struct Line {
  static constexpr int64_t kLanes = kRegisterBytes / int64_t(sizeof(T));
  using V = typename Vector<T>::type;
  V part[kVectors];

  void load(const T* x) {
    for (int64_t p = 0; p < kVectors; ++p) part[p] = *reinterpret_cast<const V*>(x + p * kLanes);
  }
  void store(T* x) const {
    for (int64_t p = 0; p < kVectors; ++p) *reinterpret_cast<V*>(x + p * kLanes) = part[p];
  }
  void add(const T* x) {
    for (int64_t p = 0; p < kVectors; ++p) part[p] += *reinterpret_cast<const V*>(x + p * kLanes);
  }
  void add(const Line& other) {
    for (int64_t p = 0; p < kVectors; ++p) part[p] += other.part[p];
  }
  void scale(T factor) {
    for (int64_t p = 0; p < kVectors; ++p) part[p] *= factor;
  }
};

// x's rows are asked for this many ahead: their stride is not the caches' to guess (41 ms without,
// 30 ms with it, for three layers of Gowalla at 50 columns, one thread).
constexpr int64_t kRowsAhead = 4;

template <class T>
void prefetch_line(const T* x) {
  __builtin_prefetch(x);
  __builtin_prefetch(x + kPropagateColumns<T> - 1);
}

}  // namespace

bool narrow_ids(const int64_t* ids, int64_t bound, int32_t* narrow, int64_t begin, int64_t end) {
  int bad = 0;
  for (int64_t i = begin; i < end; ++i) {
    bad |= uint64_t(ids[i]) >= uint64_t(bound);
    narrow[i] = int32_t(ids[i]);
  }
  return !bad;
}

template <class T>
bool scale_rows(const T* x, const T* scale, T* y, int64_t width, int64_t columns, int64_t begin,
                int64_t end) {
  constexpr int64_t kColumns = kPropagateColumns<T>;
  Line<T> nothing = {};  // 0 as long as all values are finite, then NaN
  for (int64_t row = begin; row < end; ++row) {
    const T* in = x + row * width;
    prefetch_line(in + kRowsAhead * width);
    Line<T> value;
    if (columns == kColumns) {
      value.load(in);
    } else {
      T padded[kColumns] = {};
      for (int64_t k = 0; k < columns; ++k) padded[k] = in[k];
      value.load(padded);
    }
    for (int64_t p = 0; p < kVectors; ++p) nothing.part[p] += value.part[p] - value.part[p];
    value.scale(scale[row]);
    value.store(y + row * kColumns);
  }
  T total = 0, nothings[kColumns];
  nothing.store(nothings);
  for (int64_t k = 0; k < kColumns; ++k) total += nothings[k];
  return total == 0;
}

template <class T>
void propagate_rows(const PropagateHalf<T>& half_layer, int64_t begin, int64_t end) {
  constexpr int64_t kColumns = kPropagateColumns<T>;
  const PropagateHalf<T> half = half_layer;
  const auto neighbour = [&](int64_t e) { return half.source + half.ids[e] * kColumns; };
  for (int64_t row = begin; row < end; ++row) {
    const T* base = half.base + row * half.base_width;
    prefetch_line(base + kRowsAhead * half.base_width);
    const int64_t last = half.ptr[row + 1];
    int64_t e = half.ptr[row];
    // Two sums: one would wait for each addition before the next.
    Line<T> total = {}, odd = {};
    for (; e + 2 <= last; e += 2) {
      __builtin_prefetch(neighbour(e + kPropagateAhead));
      __builtin_prefetch(neighbour(e + kPropagateAhead + 1));
      total.add(neighbour(e));
      odd.add(neighbour(e + 1));
    }
    if (e < last) {
      __builtin_prefetch(neighbour(e + kPropagateAhead));
      total.add(neighbour(e));
    }
    total.add(odd);
    total.scale(half.scale[row]);
    Line<T> y = total;
    y.scale(half.scale[row]);
    y.store(half.y + row * kColumns);
    if (half.sum == nullptr) continue;
    T* sum = half.sum + row * half.width;
    if (half.columns == kColumns) {
      total.add(base);
      total.scale(half.factor);
      total.store(sum);
    } else {
      T totals[kColumns];
      total.store(totals);
      for (int64_t k = 0; k < half.columns; ++k) sum[k] = half.factor * (base[k] + totals[k]);
    }
  }
}

HASHGCN_FOR_FLOATS(scale_rows)
HASHGCN_FOR_FLOATS(propagate_rows)

}  // namespace hashgcn::cpu::HASHGCN_ISA

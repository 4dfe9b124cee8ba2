#include <utility>

#include "../core/errors.h"
#include "launch.h"
#include "propagate.h"

namespace hashgcn::cuda {

template <class T>
static __global__ void scale_rows(const T* x, const T* scale, T* y, int64_t count, int64_t width) {
  const int64_t i = element_index();
  if (i < count) y[i] = scale[i / width] * x[i];
}

template <class T>
static __global__ void scale_all(T* x, T factor, int64_t count) {
  const int64_t i = element_index();
  if (i < count) x[i] *= factor;
}

// What a layer does to the mean: `start` overwrites it, which so far holds x.
enum class InMean { kNot, kStart, kAdd };

// A thread sums one column of one row in the order of its neighbours; the threads of a row read
// each neighbour's row together.
template <class T>
static __global__ void propagate_layer(Graph<T> graph, const T* y, T* next, T* sum, int64_t width,
                                       InMean in_mean, unsigned int* errors) {
  const int64_t i = element_index();
  if (i >= (graph.num_users + graph.num_items) * width) return;
  const int64_t row = i / width, column = i % width;
  const bool user = row < graph.num_users;
  const int64_t* ptr = user ? graph.user_ptr + row : graph.item_ptr + (row - graph.num_users);
  const int64_t* ids = user ? graph.user_items : graph.item_users;
  const int64_t num_sources = user ? graph.num_items : graph.num_users;
  const T* source = y + (user ? graph.num_users : 0) * width + column;
  int64_t begin = ptr[0], end = ptr[1];
  bool bad = begin < 0 || end < begin || end > graph.num_pairs;
  if (bad) begin = end = 0;
  T total = 0;
#pragma unroll 4
  for (int64_t e = begin; e < end; ++e) {
    const int64_t id = ids[e];
    const bool known = id >= 0 && id < num_sources;
    bad |= !known;
    total += known ? source[id * width] : T(0);
  }
  if (bad) atomicOr(errors, core::kBadGraph);
  const T x = graph.scale[row] * total;
  if (in_mean == InMean::kAdd) sum[i] += x;
  if (in_mean == InMean::kStart) sum[i] = x;
  next[i] = graph.scale[row] * x;
}

template <class T>
void propagate(const Graph<T>& graph, T* sum, T* y, T* next, int64_t width, int64_t first,
               int64_t layers, unsigned int* errors, cudaStream_t stream) {
  const int64_t count = (graph.num_users + graph.num_items) * width;
  if (count == 0 || layers == 0) return;
  const unsigned blocks = element_grid(count);
  scale_rows<<<blocks, kThreads, 0, stream>>>(sum, graph.scale, y, count, width);
  check_launch();
  for (int64_t layer = 1; layer <= layers; ++layer) {
    const InMean in_mean = layer < first    ? InMean::kNot
                           : layer == first ? InMean::kStart
                                            : InMean::kAdd;
    propagate_layer<<<blocks, kThreads, 0, stream>>>(graph, y, next, sum, width, in_mean, errors);
    check_launch();
    std::swap(y, next);
  }
  scale_all<<<blocks, kThreads, 0, stream>>>(sum, T(1) / T(layers - first + 1), count);
  check_launch();
}

template void propagate<float>(const Graph<float>&, float*, float*, float*, int64_t, int64_t,
                               int64_t, unsigned int*, cudaStream_t);
template void propagate<double>(const Graph<double>&, double*, double*, double*, int64_t, int64_t,
                                int64_t, unsigned int*, cudaStream_t);

}  // namespace hashgcn::cuda

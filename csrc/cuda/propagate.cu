#include <utility>

#include "../core/errors.h"
#include "launch.h"
#include "packs.cuh"
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

// A thread sums a pack of columns of one row in the order of its neighbours; the threads of a row
// read each neighbour's row together.
template <int kCount, class T>
static __global__ void propagate_layer(Graph<T> graph, const T* y, T* next, T* sum, int64_t width,
                                       InMean in_mean, unsigned int* errors) {
  const int64_t i = element_index() * kCount;
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
  Pack<T, kCount> x{};
#pragma unroll 4
  for (int64_t e = begin; e < end; ++e) {
    const int64_t id = ids[e];
    const bool known = id >= 0 && id < num_sources;
    bad |= !known;
    const auto neighbour = load_pack<kCount>(source + (known ? id * width : 0), known ? kCount : 0);
#pragma unroll
    for (int c = 0; c < kCount; ++c) x.values[c] += neighbour.values[c];
  }
  if (bad) atomicOr(errors, core::kBadGraph);
  const T scale = graph.scale[row];
  Pack<T, kCount> mean{}, onwards;
  if (in_mean == InMean::kAdd) mean = load_pack<kCount>(sum + i, kCount);
#pragma unroll
  for (int c = 0; c < kCount; ++c) {
    x.values[c] *= scale;
    mean.values[c] += x.values[c];
    onwards.values[c] = scale * x.values[c];
  }
  if (in_mean != InMean::kNot) store_pack(mean, sum + i, kCount);
  store_pack(onwards, next + i, kCount);
}

template <int kCount, class T>
static void propagate_in_packs(const Graph<T>& graph, T* sum, T* y, T* next, int64_t width,
                               int64_t first, int64_t layers, unsigned int* errors,
                               cudaStream_t stream) {
  const unsigned blocks = element_grid((graph.num_users + graph.num_items) * (width / kCount));
  const auto kernel = propagate_layer<kCount, T>;
  for (int64_t layer = 1; layer <= layers; ++layer) {
    const InMean in_mean = layer < first    ? InMean::kNot
                           : layer == first ? InMean::kStart
                                            : InMean::kAdd;
    kernel<<<blocks, kThreads, 0, stream>>>(graph, y, next, sum, width, in_mean, errors);
    check_launch();
    std::swap(y, next);
  }
}

template <class T>
void propagate(const Graph<T>& graph, T* sum, T* y, T* next, int64_t width, int64_t first,
               int64_t layers, unsigned int* errors, cudaStream_t stream) {
  const int64_t count = (graph.num_users + graph.num_items) * width;
  if (count == 0 || layers == 0) return;
  const unsigned blocks = element_grid(count);
  scale_rows<<<blocks, kThreads, 0, stream>>>(sum, graph.scale, y, count, width);
  check_launch();
  // Rows of whole packs, so that a pack lies in one row: of 16 bytes, of two columns, of one.
  const bool aligned = begin_at_16_bytes(sum, y, next);
  const auto layers_of = aligned && width % kWide<T> == 0 ? propagate_in_packs<kWide<T>, T>
                         : aligned && width % 2 == 0      ? propagate_in_packs<2, T>
                                                          : propagate_in_packs<1, T>;
  layers_of(graph, sum, y, next, width, first, layers, errors, stream);
  scale_all<<<blocks, kThreads, 0, stream>>>(sum, T(1) / T(layers - first + 1), count);
  check_launch();
}

HASHGCN_FOR_FLOATS(propagate)

}  // namespace hashgcn::cuda

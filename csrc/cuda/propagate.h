#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace hashgcn::cuda {

// Both halves of the bipartite graph; rows of x are the users', then the items'.
template <class T>
struct Graph {
  int64_t num_users, num_items, num_pairs;
  const int64_t* user_ptr;    // [num_users + 1]
  const int64_t* user_items;  // [num_pairs]
  const int64_t* item_ptr;    // [num_items + 1]
  const int64_t* item_users;  // [num_pairs]
  const T* scale;             // [num_users + num_items]
};

// `sum` [num_users + num_items, width] holds x and becomes the mean of layers first to `layers`;
// `y` and `next` are scratch of its shape, not touched if `layers` is 0. The recurrence is the one
// of cpu/propagate.h.
template <class T>
void propagate(const Graph<T>& graph, T* sum, T* y, T* next, int64_t width, int64_t first,
               int64_t layers, unsigned int* errors, cudaStream_t stream);

}  // namespace hashgcn::cuda

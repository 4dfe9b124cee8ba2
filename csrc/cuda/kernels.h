// Which of its kernels an op launches: the plain ones, or others that are meant to be faster. Names
// and numbers are those of hashgcn/ops/_cuda_kernels.py.
#pragma once

#include <atomic>

namespace hashgcn::cuda {

enum Family { kElementwise, kHammingTopk, kPropagate, kScoreTables, kFamilies };

constexpr int kPlain = 0;

// Of the whole process: backward passes run on threads of their own.
inline std::atomic<int> chosen_kernels[kFamilies];

inline int chosen(Family family) { return chosen_kernels[family].load(); }

}  // namespace hashgcn::cuda

// What hashgcn/ops/_cuda_kernels.py calls: chooses the kernels of a family of ops, returns what was
// chosen before.
#include "../cuda/kernels.h"

extern "C" __attribute__((visibility("default"))) int hashgcn_choose_cuda_kernels(int family,
                                                                                  int kernels) {
  return hashgcn::cuda::chosen_kernels[family].exchange(kernels);
}

#include <atomic>

#include "../core/codes.h"
#include "../core/errors.h"
#include "errors.h"
#include "launch.h"

namespace hashgcn::cuda {

constexpr int kRowThreads = 64;
constexpr int kMaxDevices = 64;

static __device__ unsigned int device_errors;

unsigned int* error_flag() {
  // Kept for each device: a stream capture then meets no call but launches.
  static std::atomic<unsigned int*> flags[kMaxDevices];
  int device = 0;
  check_cuda(cudaGetDevice(&device));
  if (device >= kMaxDevices) throw std::runtime_error("hashgcn: expected at most 64 CUDA devices");
  if (flags[device] == nullptr) {
    // The first use loads the module, which a capture that is under way forbids unless this thread
    // says that it may.
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    check_cuda(cudaThreadExchangeStreamCaptureMode(&mode));
    void* address = nullptr;
    const cudaError_t error = cudaGetSymbolAddress(&address, device_errors);
    check_cuda(cudaThreadExchangeStreamCaptureMode(&mode));
    check_cuda(error);
    flags[device] = static_cast<unsigned int*>(address);
  }
  return flags[device];
}

static __global__ void take_error_flag_kernel(unsigned int* errors, int32_t* out) {
  *out = int32_t(atomicExch(errors, 0u));
}

void take_error_flag(unsigned int* errors, int32_t* out, cudaStream_t stream) {
  take_error_flag_kernel<<<1, 1, 0, stream>>>(errors, out);
  check_launch();
}

template <class T>
static __global__ void check_finite_kernel(const T* x, int64_t count, unsigned int* errors) {
  const int64_t i = element_index();
  if (i < count && x[i] - x[i] != 0) atomicOr(errors, core::kNotFinite);
}

template <class T>
void check_finite(const T* x, int64_t count, unsigned int* errors, cudaStream_t stream) {
  if (count == 0) return;
  check_finite_kernel<<<element_grid(count), kThreads, 0, stream>>>(x, count, errors);
  check_launch();
}

template <class T>
static __global__ void check_positive_kernel(const T* number, unsigned int* errors) {
  if (!(*number > 0 && *number - *number == 0)) atomicOr(errors, core::kNotPositive);
}

template <class T>
void check_positive(const T* number, unsigned int* errors, cudaStream_t stream) {
  check_positive_kernel<<<1, 1, 0, stream>>>(number, errors);
  check_launch();
}

static __global__ void check_tails_kernel(const uint64_t* words, int64_t rows, int64_t code_length,
                                          unsigned int* errors) {
  const int64_t row = element_index(), row_words = core::words_per_code(code_length);
  if (row >= rows) return;
  if (words[row * row_words + row_words - 1] & ~core::last_word_mask(code_length)) {
    atomicOr(errors, core::kBadTail);
  }
}

void check_tails(const uint64_t* words, int64_t rows, int64_t code_length, unsigned int* errors,
                 cudaStream_t stream) {
  if (rows == 0 || code_length % 64 == 0) return;
  check_tails_kernel<<<element_grid(rows), kThreads, 0, stream>>>(words, rows, code_length, errors);
  check_launch();
}

void check_codes(const core::Codes& codes, unsigned int* errors, cudaStream_t stream) {
  check_tails(codes.queries, codes.num_queries * codes.planes, codes.code_length, errors, stream);
  check_tails(codes.items, codes.num_items, codes.code_length, errors, stream);
}

template <class T>
static __global__ void check_rows_kernel(core::Rows<T> rows, unsigned int* errors) {
  for (int64_t row = blockIdx.x; row < rows.batch; row += gridDim.x) {
    const int64_t user = rows.users[row];
    if (user == -1) continue;
    unsigned int bad = 0;
    if (user < 0 || user >= rows.num_users) {
      bad = core::kBadUsers;
    } else {
      const int64_t begin = rows.ptr[user], end = rows.ptr[user + 1];
      if (begin < 0 || end < begin || end > rows.num_pairs) bad = core::kBadPtr;
    }
    const core::Span liked = core::positives(rows, row);
    for (const int64_t* id = liked.begin + threadIdx.x; id < liked.end; id += kRowThreads) {
      if (*id < 0 || *id >= rows.num_items) bad |= core::kBadIds;
      if (id > liked.begin && id[-1] >= *id) bad |= core::kNotIncreasing;
    }
    if (bad) atomicOr(errors, bad);
  }
}

template <class T>
static __global__ void check_candidates_kernel(core::Rows<T> rows, const int64_t* order,
                                               unsigned int* errors) {
  const int64_t i = element_index(), count = rows.num_candidates;
  bool bad = false;
  if (i <= rows.batch) {
    const int64_t at = rows.candidate_ptr[i];
    bad |= i == 0 && at != 0;
    bad |= i == rows.batch ? at != count : at > rows.candidate_ptr[i + 1];
  }
  if (i < count) {
    const int64_t id = rows.candidate_ids[i];
    bad |= id < 0 || id >= rows.num_items;
    if (rows.candidate_weight != nullptr) {
      bad |= rows.candidate_weight[i] - rows.candidate_weight[i] != 0;
    }
    if (order != nullptr) {
      const int64_t at = order[i], before = i == 0 ? -1 : order[i - 1];
      bad |= at < 0 || at >= count;
      if (!bad && before >= 0 && before < count) {
        const int64_t id_at = rows.candidate_ids[at], id_before = rows.candidate_ids[before];
        bad |= id_at < id_before || (id_at == id_before && at <= before);
      }
    }
  }
  if (bad) atomicOr(errors, core::kBadCandidates);
}

template <class T>
static __global__ void check_item_weights_kernel(core::Rows<T> rows, unsigned int* errors) {
  const int64_t i = element_index();
  if (i >= rows.num_items) return;
  const T weight = rows.item_weight[i];
  if (!(weight >= 0 && weight - weight == 0)) atomicOr(errors, core::kBadItemWeights);
}

template <class T>
void check_rows(const core::Rows<T>& rows, const int64_t* candidate_order, unsigned int* errors,
                cudaStream_t stream) {
  if (rows.batch > 0) {
    check_rows_kernel<<<row_grid(rows.batch), kRowThreads, 0, stream>>>(rows, errors);
    check_launch();
  }
  if (rows.candidate_ptr != nullptr) {
    const int64_t count =
        rows.batch + 1 > rows.num_candidates ? rows.batch + 1 : rows.num_candidates;
    check_candidates_kernel<<<element_grid(count), kThreads, 0, stream>>>(rows, candidate_order,
                                                                          errors);
    check_launch();
  }
  if (rows.item_weight != nullptr && rows.num_items > 0) {
    check_item_weights_kernel<<<element_grid(rows.num_items), kThreads, 0, stream>>>(rows, errors);
    check_launch();
  }
}

HASHGCN_FOR_FLOATS(check_finite)
HASHGCN_FOR_FLOATS(check_positive)
HASHGCN_FOR_FLOATS(check_rows)

}  // namespace hashgcn::cuda

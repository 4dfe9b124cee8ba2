// Checks of tensors, used by the CPU and the CUDA glue. Each message names the op, the argument,
// what was expected and what came.
#pragma once

#include <torch/csrc/stable/device.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <sstream>
#include <string>
#include <type_traits>

#include "../../core/checks.h"
#include "../../core/rows.h"
#include "../../core/scalar.h"

namespace hashgcn {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using MaybeTensor = std::optional<Tensor>;

inline const char* name(ScalarType type) {
  switch (type) {
    case ScalarType::Float:
      return "float32";
    case ScalarType::Double:
      return "float64";
    case ScalarType::Half:
      return "float16";
    case ScalarType::BFloat16:
      return "bfloat16";
    case ScalarType::Long:
      return "int64";
    case ScalarType::Int:
      return "int32";
    case ScalarType::Short:
      return "int16";
    case ScalarType::Char:
      return "int8";
    case ScalarType::Byte:
      return "uint8";
    case ScalarType::Bool:
      return "bool";
    case ScalarType::ComplexFloat:
      return "complex64";
    case ScalarType::ComplexDouble:
      return "complex128";
    default:
      return "another dtype";
  }
}

// What to do with bytes and bool, where another dtype is wanted.
inline const char* advice(bool wants_floats, ScalarType got) {
  if (wants_floats && got == ScalarType::Bool) return "; 2 * x.float() - 1 is +1 for True, -1 else";
  if (wants_floats && got == ScalarType::Byte) {
    return "; of packed bits, unpack_codes makes floats; of 0 and 1, 2 * x.float() - 1";
  }
  if (wants_floats && got == ScalarType::Char) return "; x.float() holds the same numbers";
  if (!wants_floats && got == ScalarType::Byte) {
    return "; pack_codes makes them of +1 and -1, and of packed bytes, lowest bit first and padded "
           "to a multiple of 8 bytes a row, x.view(torch.int64)";
  }
  return "";
}

inline std::string shape(const Tensor& tensor) {
  std::ostringstream text;
  text << "[";
  for (int64_t d = 0; d < tensor.dim(); ++d) text << (d ? ", " : "") << tensor.size(d);
  text << "]";
  return text.str();
}

template <class T>
const T* data(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

// Null if there is no tensor.
template <class T>
const T* data(const MaybeTensor& tensor) {
  return tensor ? data<T>(*tensor) : nullptr;
}

template <class T>
T* mutable_data(const Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

// Calls body with a zero of the kernel's element type.
template <class Body>
auto with_element_type(ScalarType type, const char* op, const char* argument, const Body& body) {
  switch (type) {
    case ScalarType::Float:
      return body(float{});
    case ScalarType::Double:
      return body(double{});
    case ScalarType::Half:
      return body(core::float16{});
    default:
      require(type == ScalarType::BFloat16, op, argument,
              " of dtype float32, float64, float16 or bfloat16, got ", name(type),
              advice(true, type));
      return body(core::bfloat16{});
  }
}

// The same for what sums are taken in.
template <class Body>
auto with_float_type(ScalarType type, const char* op, const char* argument, const Body& body) {
  require(type == ScalarType::Float || type == ScalarType::Double, op, argument,
          " of dtype float32 or float64, got ", name(type), advice(true, type));
  return type == ScalarType::Double ? body(double{}) : body(float{});
}

template <class T>
constexpr ScalarType kFloatType = sizeof(T) == 8 ? ScalarType::Double : ScalarType::Float;

inline ScalarType compute_type(ScalarType type) {
  return type == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

// The op's name and the device all of its tensors must share; each accessor checks one argument and
// returns it contiguous.
struct Checker {
  const char* op;
  const Tensor& anchor;

  Tensor tensor(const Tensor& t, const char* argument, int64_t dims, ScalarType type) const {
    require(t.scalar_type() == type, op, argument, " of dtype ", name(type), ", got ",
            name(t.scalar_type()));
    require(t.dim() == dims, op, argument, " with ", dims, " dimension(s), got shape ", shape(t));
    require(t.is_cuda() == anchor.is_cuda() && t.get_device_index() == anchor.get_device_index(),
            op, argument, " on the same device as the other tensors");
    return torch::stable::contiguous(t);
  }

  // A size below 0 may be any.
  Tensor vector(const Tensor& t, const char* argument, int64_t size,
                ScalarType type = ScalarType::Long) const {
    Tensor checked = tensor(t, argument, 1, type);
    require(size < 0 || t.size(0) == size, op, argument, " of shape [", size, "], got ", shape(t));
    return checked;
  }

  Tensor matrix(const Tensor& t, const char* argument, ScalarType type, int64_t num_rows,
                int64_t width) const {
    const auto wanted = [](int64_t size) { return size < 0 ? "*" : std::to_string(size); };
    Tensor checked = tensor(t, argument, 2, type);
    require((num_rows < 0 || t.size(0) == num_rows) && (width < 0 || t.size(1) == width), op,
            argument, " of shape [", wanted(num_rows), ", ", wanted(width), "], got ", shape(t));
    return checked;
  }

  // beta and temperatures: 0-d, float32 (float64 where the op computes in float64).
  Tensor scalar(const Tensor& t, const char* argument, ScalarType type) const {
    return tensor(t, argument, 0, type);
  }
};

// Optional lists, one for each of `rows`, contiguous. The arguments are called <prefix>ptr and
// <prefix>ids.
struct ListTensors {
  MaybeTensor ptr, ids;

  ListTensors() = default;
  ListTensors(const Checker& check, const std::string& prefix, const MaybeTensor& ptr_in,
              const MaybeTensor& ids_in, int64_t rows) {
    require(ptr_in.has_value() == ids_in.has_value(), check.op, prefix, "ptr and ", prefix,
            "ids together, got one of them");
    if (!ptr_in) return;
    ptr = check.vector(*ptr_in, (prefix + "ptr").c_str(), rows + 1);
    ids = check.vector(*ids_in, (prefix + "ids").c_str(), -1);
  }

  core::Lists lists() const {
    return {data<int64_t>(ptr), data<int64_t>(ids), ids ? ids->size(0) : 0};
  }
};

}  // namespace hashgcn

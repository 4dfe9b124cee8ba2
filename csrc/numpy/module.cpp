// The NumPy face of the CPU kernels: arrays in, arrays out, no torch.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "../cpu/check_values.h"
#include "../cpu/hamming_topk_tasks.h"
#include "../cpu/pack_codes.h"
#include "../cpu/processors.h"
#include "find_texts.h"

namespace py = pybind11;

namespace hashgcn {
namespace {

std::string shape(const py::array& array) {
  std::ostringstream text;
  text << "[";
  for (py::ssize_t d = 0; d < array.ndim(); ++d) text << (d ? ", " : "") << array.shape(d);
  text << "]";
  return text.str();
}

template <class T>
bool has_dtype(const py::array& array) {
  return py::isinstance<py::array_t<T, 0>>(array);
}

py::array as_array(const char* op, const char* argument, const py::object& object) {
  require(py::isinstance<py::array>(object), op, argument, " as a NumPy array, got ",
          std::string(py::str(py::type::of(object).attr("__name__"))));
  return py::reinterpret_borrow<py::array>(object);
}

std::string dtype(const py::array& array) { return py::str(array.dtype()); }

int64_t integer(const char* op, const char* argument, const py::object& object) {
  require(PyIndex_Check(object.ptr()), op, argument, " that is an int, got ",
          std::string(py::str(py::type::of(object).attr("__name__"))));
  const py::object number = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
  if (!number) throw py::error_already_set();
  int overflow = 0;
  const int64_t value = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  require(overflow == 0, op, argument, " that is an int of 64 bits, got a larger one");
  return value;
}

// The array itself where a kernel can read it, else a copy of it.
py::array contiguous(const py::array& array) {
  const int flags = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  py::array result = py::array::ensure(array, flags);
  if (!result) throw py::error_already_set();
  return result;
}

template <class T>
const T* data(const py::array& array) {
  return static_cast<const T*>(array.data());
}

py::array words(const char* op, const char* argument, const py::object& object,
                int64_t code_length) {
  const py::array array = as_array(op, argument, object);
  require(has_dtype<int64_t>(array) || has_dtype<uint64_t>(array), op, argument,
          " of dtype int64 or uint64, got ", dtype(array));
  const int64_t width = core::words_per_code(code_length);
  require(array.ndim() == 2 && array.shape(1) == width, op, argument, " of shape [*, ", width,
          "] (codes of ", code_length, " bits), got ", shape(array));
  return contiguous(array);
}

// Codes of queries, which may have planes.
py::array planes(const char* op, const py::object& object, int64_t code_length) {
  const py::array array = as_array(op, "queries", object);
  if (array.ndim() != 3) return words(op, "queries", object, code_length);
  require(has_dtype<int64_t>(array) || has_dtype<uint64_t>(array), op,
          "queries of dtype int64 or uint64, got ", dtype(array));
  const int64_t width = core::words_per_code(code_length), count = array.shape(1);
  require(count >= 1 && count <= core::kMaxPlanes && array.shape(2) == width, op,
          "queries of shape [*, ", width, "] or [*, 1 to ", core::kMaxPlanes, " planes, ", width,
          "] (codes of ", code_length, " bits), got ", shape(array));
  check_planes(op, count, code_length);
  return contiguous(array);
}

template <class T>
py::array vector(const char* op, const char* argument, const char* type, const py::object& object,
                 int64_t size) {
  const py::array array = as_array(op, argument, object);
  require(has_dtype<T>(array), op, argument, " of dtype ", type, ", got ", dtype(array));
  require(array.ndim() == 1 && (size < 0 || array.shape(0) == size), op, argument, " of shape [",
          size < 0 ? std::string("*") : std::to_string(size), "], got ", shape(array));
  return contiguous(array);
}

// The threads of a call; all(count, grain, work) runs work(begin, end) over contiguous parts of [0,
// count), one for each thread, of at least `grain`, and says whether every one returned true. The
// last part, and any for which the system gives no thread, runs here.
class Threads {
 public:
  Threads(const char* op, const py::object& threads) {
    const int64_t num_threads = integer(op, "num_threads", threads);
    require(num_threads >= 0, op, "num_threads >= 0, got ", num_threads);
    // An unknown instruction set throws: here, since no exception may leave a thread.
    cpu::instruction_set();
    count_ = cpu::num_threads(num_threads);
  }

  int64_t count() const { return count_; }

  template <class Work>
  bool operator()(int64_t count, int64_t grain, const Work& work) const {
    const int64_t parts = std::min(count_, (count + grain - 1) / grain);
    std::atomic<bool> good{true};
    const auto run = [&](int64_t part) {
      // Not count * part / parts: the product could overflow.
      const auto start = [&](int64_t p) { return count / parts * p + std::min(p, count % parts); };
      if (!work(start(part), start(part + 1))) good = false;
    };
    std::vector<std::thread> threads;
    threads.reserve(size_t(std::max<int64_t>(parts, 1)));
    for (int64_t part = 0; part < parts; ++part) {
      if (part + 1 < parts) {
        try {
          threads.emplace_back(run, part);
          continue;
        } catch (const std::exception&) {
        }
      }
      run(part);
    }
    for (std::thread& thread : threads) thread.join();
    return good;
  }

 private:
  int64_t count_;
};

template <class T>
py::array pack_as(const char* op, const py::array& x, const Threads& threads) {
  const int64_t rows = x.shape(0), code_length = x.shape(1);
  py::array_t<int64_t> result({rows, core::words_per_code(code_length)});
  // NumPy's half is the bit pattern that the kernel's element type has.
  const T* in = data<T>(x);
  uint64_t* out = reinterpret_cast<uint64_t*>(result.mutable_data());
  {
    py::gil_scoped_release release;
    require(threads(rows, 1 + cpu::kElementGrain / code_length,
                    [&](int64_t begin, int64_t end) {
                      return HASHGCN_RUN(pack_codes(in, out, code_length, begin, end));
                    }),
            op, "x without NaN, got NaN");
  }
  return result;
}

py::array pack_codes(const py::object& x_in, const py::object& num_threads) {
  const char* op = "pack_codes";
  const Threads threads(op, num_threads);
  const py::array given = as_array(op, "x", x_in);
  require(given.ndim() == 2 && given.shape(1) >= 1 && given.shape(1) <= core::kMaxCodeLength, op,
          "x of shape [rows, code_length >= 1], got ", shape(given));
  const bool half = given.dtype().equal(py::dtype("float16"));
  require(half || has_dtype<float>(given) || has_dtype<double>(given), op,
          "x of dtype float32, float64 or float16, got ", dtype(given));
  const py::array x = contiguous(given);
  if (half) return pack_as<core::float16>(op, x, threads);
  return has_dtype<float>(x) ? pack_as<float>(op, x, threads) : pack_as<double>(op, x, threads);
}

py::array unpack_codes(const py::object& words_in, const py::object& code_length_in,
                       const py::object& num_threads) {
  const char* op = "unpack_codes";
  const int64_t code_length = integer(op, "code_length", code_length_in);
  const Threads threads(op, num_threads);
  check_code_length(op, code_length);
  const py::array checked = words(op, "words", words_in, code_length);
  const int64_t rows = checked.shape(0);
  py::array_t<float> x({rows, code_length});
  const uint64_t* in = data<uint64_t>(checked);
  float* out = x.mutable_data();
  {
    py::gil_scoped_release release;
    cpu::check_tails(op, "words", in, rows, code_length, threads);
    threads(rows, 1 + cpu::kElementGrain / code_length, [&](int64_t begin, int64_t end) {
      HASHGCN_RUN(unpack_codes(in, out, code_length, begin, end));
      return true;
    });
  }
  return x;
}

std::pair<py::array, py::array> hamming_topk(
    const py::object& queries_in, const py::object& items_in, const py::object& k_in,
    const py::object& code_length_in, const py::object& exclude_ptr_in,
    const py::object& exclude_ids_in, const py::object& allow_in, const py::object& num_threads) {
  const char* op = "hamming_topk";
  const Threads threads(op, num_threads);
  const int64_t k = integer(op, "k", k_in);
  const int64_t code_length = integer(op, "code_length", code_length_in);
  check_k(op, k);
  check_code_length(op, code_length);
  const py::array queries = planes(op, queries_in, code_length);
  const py::array items = words(op, "items", items_in, code_length);
  const int64_t num_queries = queries.shape(0), num_items = items.shape(0);
  require(exclude_ptr_in.is_none() == exclude_ids_in.is_none(), op,
          "exclude_ptr and exclude_ids together, got one of them");
  std::optional<py::array> exclude_ptr, exclude_ids, allow;
  if (!exclude_ptr_in.is_none()) {
    exclude_ptr = vector<int64_t>(op, "exclude_ptr", "int64", exclude_ptr_in, num_queries + 1);
    exclude_ids = vector<int64_t>(op, "exclude_ids", "int64", exclude_ids_in, -1);
  }
  if (!allow_in.is_none()) allow = vector<bool>(op, "allow", "bool", allow_in, num_items);
  const core::Lists excluded = {exclude_ptr ? data<int64_t>(*exclude_ptr) : nullptr,
                                exclude_ids ? data<int64_t>(*exclude_ids) : nullptr,
                                exclude_ids ? exclude_ids->shape(0) : 0};
  const core::HammingTopk problem = {
      {num_queries, num_items, code_length, queries.ndim() == 3 ? queries.shape(1) : 1,
       data<uint64_t>(queries), data<uint64_t>(items)},
      k,
      excluded,
      allow ? data<bool>(*allow) : nullptr};
  py::array_t<int64_t> ids({num_queries, k});
  py::array_t<int32_t> distances({num_queries, k});
  int64_t* id_out = ids.mutable_data();
  int32_t* distance_out = distances.mutable_data();
  {
    py::gil_scoped_release release;
    cpu::check_codes(op, problem, threads);
    cpu::check_lists(op, "exclude_", excluded, num_queries, num_items);
    cpu::hamming_topk(problem, threads.count(), id_out, distance_out,
                      [&](int64_t count, const auto& task) {
                        threads(count, 1, [&](int64_t begin, int64_t end) {
                          for (int64_t t = begin; t < end; ++t) task(t);
                          return true;
                        });
                      });
  }
  return {ids, distances};
}

// Texts as uint8 bytes and int64 offsets [n + 1].
Texts texts(const py::array& bytes, const py::array& offsets) {
  return {data<char>(bytes), bytes.shape(0), data<int64_t>(offsets), offsets.shape(0) - 1};
}

std::pair<py::array, py::array> find_texts(const py::object& text_in, const py::object& offsets_in,
                                           const py::object& order_in,
                                           const py::object& wanted_text_in,
                                           const py::object& wanted_offsets_in) {
  const char* op = "find_texts";
  const py::array text = vector<uint8_t>(op, "text", "uint8", text_in, -1);
  const py::array offsets = vector<int64_t>(op, "offsets", "int64", offsets_in, -1);
  const py::array wanted_text = vector<uint8_t>(op, "wanted_text", "uint8", wanted_text_in, -1);
  const py::array wanted_offsets =
      vector<int64_t>(op, "wanted_offsets", "int64", wanted_offsets_in, -1);
  require(offsets.shape(0) >= 1 && wanted_offsets.shape(0) >= 1, op,
          "offsets and wanted_offsets not to be empty, got an empty one");
  const Texts known = texts(text, offsets), wanted = texts(wanted_text, wanted_offsets);
  const py::array order = vector<int64_t>(op, "order", "int64", order_in, known.count);
  py::array_t<int64_t> places(wanted.count), rows(wanted.count);
  const int64_t* sorted = data<int64_t>(order);
  int64_t* place_out = places.mutable_data();
  int64_t* row_out = rows.mutable_data();
  {
    py::gil_scoped_release release;
    search_texts(known, sorted, wanted, place_out, row_out);
  }
  return {places, rows};
}

const char* instruction_set() { return cpu::name(cpu::instruction_set()); }

py::list instruction_sets() {
  py::list names;
  for (const auto set : cpu::kInstructionSets) {
    if (cpu::supported(set)) names.append(cpu::name(set));
  }
  return names;
}

}  // namespace
}  // namespace hashgcn

PYBIND11_MODULE(_numpy, m) {
  m.doc() = "The CPU kernels over NumPy arrays; hashgcn.retrieval is their public face.";
  m.def("pack_codes", &hashgcn::pack_codes, py::arg("x"), py::arg("num_threads") = 0);
  m.def("unpack_codes", &hashgcn::unpack_codes, py::arg("words"), py::arg("code_length"),
        py::arg("num_threads") = 0);
  m.def("hamming_topk", &hashgcn::hamming_topk, py::arg("queries"), py::arg("items"), py::arg("k"),
        py::arg("code_length"), py::arg("exclude_ptr") = py::none(),
        py::arg("exclude_ids") = py::none(), py::arg("allow") = py::none(),
        py::arg("num_threads") = 0);
  m.def("find_texts", &hashgcn::find_texts, py::arg("text"), py::arg("offsets"), py::arg("order"),
        py::arg("wanted_text"), py::arg("wanted_offsets"));
  m.def("instruction_set", &hashgcn::instruction_set,
        "The instruction set in use: the best one, or the one that HASHGCN_CPU names.");
  m.def("processors", &hashgcn::cpu::processors, py::arg("root") = "",
        "Those that this process may use; `root` is where /proc and /sys lie.");
  m.def("instruction_sets", &hashgcn::instruction_sets,
        "Those that this processor has, best first.");
}

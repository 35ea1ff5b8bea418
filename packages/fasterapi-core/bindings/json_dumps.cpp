// json_dumps() and json_dump(): the encoder's Python functions and options.
#include <fasterapi/core/platform.hpp>

#include "buffer.hpp"
#include "json.hpp"
#include "json_fragment.hpp"
#include "json_ref.hpp"

namespace fasterapi::core::py {
namespace {

// json_dumps writes into one buffer; while user code of an outer call runs, inner calls (and, with
// the GIL given away, nobody else) get their own.
struct Scratch {
  OutBuffer buffer;
  bool busy = false;
};
#ifdef Py_GIL_DISABLED
thread_local Scratch scratch;
#else
Scratch scratch;  // the GIL guards it
#endif
constexpr std::size_t kKeepBytes = 256 * 1024;

/// The keyword arguments of json_dumps and json_dump.
bool read_options(const char* function, PyObject* const* given_args, PyObject* kwnames, PyObject*& fallback,
                  std::uint32_t& options) {
  const Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t i = 0; i < nkw; ++i) {
    PyObject* name = PyTuple_GET_ITEM(kwnames, i);
    PyObject* given = given_args[i];
    if (PyUnicode_CompareWithASCIIString(name, "default") == 0) {
      fallback = given;
    } else if (PyUnicode_CompareWithASCIIString(name, "option") == 0) {
      if (given == Py_None) continue;
      if (!PyLong_Check(given)) {
        PyErr_Format(PyExc_TypeError, "option must be an int of OPT_ flags, not %.100s", Py_TYPE(given)->tp_name);
        return false;
      }
      const unsigned long wanted = PyLong_AsUnsignedLong(given);
      if ((wanted & ~static_cast<unsigned long>(kJsonAllOptions)) != 0) {
        PyErr_Clear();
        PyErr_SetString(PyExc_ValueError, "option has bits that no OPT_ flag has");
        return false;
      }
      options = static_cast<std::uint32_t>(wanted);
    } else {
      PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, name);
      return false;
    }
  }
  return true;
}

PyObject* dumps(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  if (nargs != 1) {
    PyErr_Format(PyExc_TypeError, "json_dumps() takes 1 positional argument, %zd given", nargs);
    return nullptr;
  }
  PyObject* fallback = nullptr;
  std::uint32_t options = 0;
  if (FASTERAPI_UNLIKELY(kwnames != nullptr) &&
      !read_options("json_dumps", args + nargs, kwnames, fallback, options)) {
    return nullptr;
  }
  if (scratch.busy) {
    OutBuffer own;
    if (json_encode(args[0], &own, fallback, options) < 0) return nullptr;
    return PyBytes_FromStringAndSize(own.data(), static_cast<Py_ssize_t>(own.size()));
  }
  Scratch& mine = scratch;
  mine.busy = true;
  PyObject* result = nullptr;
  if (json_encode(args[0], &mine.buffer, fallback, options) == 0)
    result = PyBytes_FromStringAndSize(mine.buffer.data(), static_cast<Py_ssize_t>(mine.buffer.size()));
  mine.buffer.clear();
  mine.buffer.shrink(kKeepBytes);
  mine.busy = false;
  return result;
}

PyObject* dump(PyObject*, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  if (nargs != 2) {
    PyErr_Format(PyExc_TypeError, "json_dump() takes 2 positional arguments, %zd given", nargs);
    return nullptr;
  }
  PyObject* fallback = nullptr;
  std::uint32_t options = 0;
  if (!read_options("json_dump", args + nargs, kwnames, fallback, options)) return nullptr;
  const JsonSink write = [](void* arg, const char* data, std::size_t size) -> int {
    Ref piece(PyBytes_FromStringAndSize(data, static_cast<Py_ssize_t>(size)));
    Ref done(piece ? PyObject_CallOneArg(static_cast<PyObject*>(arg), piece.get()) : nullptr);
    return done ? 0 : -1;
  };
  if (json_encode_to(args[0], write, args[1], fallback, options) < 0) return nullptr;
  Py_RETURN_NONE;
}

/// For the tests of json_encode_chain(): the slices as Buffers.
PyObject* chain(PyObject*, PyObject* object) {
  SlabPool pool;
  Chain text;
  if (json_encode_chain(object, &text, &pool, nullptr, 0) < 0) return nullptr;
  Ref list(PyList_New(static_cast<Py_ssize_t>(text.slices())));
  for (std::size_t i = 0; list && i < text.slices(); ++i) {
    PyObject* buffer = slice_to_python(text[i]);
    if (!buffer) return nullptr;
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), buffer);
  }
  return list.release();
}

PyMethodDef dumps_methods[] = {
    {"json_dumps", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(dumps)),
     METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR(
         "json_dumps(obj, *, default=None, option=0)\n--\n\nEncode obj as JSON in UTF-8 bytes.\n\n"
         "default is called with every object that has no JSON form. option is a sum of OPT_ flags.\n"
         "Raises TypeError for objects and keys without a JSON form, ValueError for NaN and infinities\n"
         "(unless OPT_ALLOW_NAN, which writes null), for lone surrogates, and for nesting beyond 254 levels.")},
    {"json_dump", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(dump)), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("json_dump(obj, write, *, default=None, option=0)\n--\n\n"
               "Encode obj and call write(bytes) with pieces of the text, about 64 KiB each: a large value never\n"
               "needs its whole text in memory. Raises what json_dumps() raises, and what write raises; pieces\n"
               "before an error have been written.")},
    {"_json_chain", chain, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

namespace detail {

bool add_json_encoder(PyObject* module) {
  if (!init_json_encoder() || !add_json_fragment(module) || PyModule_AddFunctions(module, dumps_methods) < 0)
    return false;
  static constexpr struct {
    const char* name;
    std::uint32_t value;
  } kOptions[] = {
      {"OPT_ALLOW_NAN", kJsonAllowNan},
      {"OPT_APPEND_NEWLINE", kJsonAppendNewline},
      {"OPT_ENSURE_ASCII", kJsonEnsureAscii},
      {"OPT_INDENT_2", kJsonIndent2},
      {"OPT_NAIVE_UTC", kJsonNaiveUtc},
      {"OPT_NON_STR_KEYS", kJsonNonStringKeys},
      {"OPT_OMIT_MICROSECONDS", kJsonOmitMicroseconds},
      {"OPT_PASSTHROUGH_DATACLASS", kJsonPassthroughDataclass},
      {"OPT_PASSTHROUGH_DATETIME", kJsonPassthroughDatetime},
      {"OPT_PASSTHROUGH_SUBCLASS", kJsonPassthroughSubclass},
      {"OPT_SERIALIZE_NUMPY", kJsonSerializeNumpy},
      {"OPT_SORT_KEYS", kJsonSortKeys},
      {"OPT_STRICT_INTEGER", kJsonStrictInteger},
      {"OPT_UTC_Z", kJsonUtcZ},
  };
  for (const auto& option : kOptions) {
    if (PyModule_AddIntConstant(module, option.name, static_cast<long>(option.value)) < 0) return false;
  }
  return true;
}

}  // namespace detail
}  // namespace fasterapi::core::py

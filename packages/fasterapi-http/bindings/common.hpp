#pragma once
// What the binding files share: small reference helpers, the classes that live in Python, string conversions.
// All of it needs the GIL.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string_view>
#include <utility>

#include <fasterapi/core/pyapi.hpp>
#include <fasterapi/core/stream.hpp>

namespace fasterapi::http::py {

/// An owned reference.
class Ref {
 public:
  Ref() noexcept = default;
  explicit Ref(PyObject* owned) noexcept : object_(owned) {}
  static Ref borrow(PyObject* object) noexcept { return Ref(Py_XNewRef(object)); }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  Ref(const Ref&) = delete;
  Ref& operator=(const Ref&) = delete;
  ~Ref() { Py_XDECREF(object_); }
  PyObject* get() const noexcept { return object_; }
  PyObject* release() noexcept { return std::exchange(object_, nullptr); }
  void reset(PyObject* owned = nullptr) noexcept { Py_XDECREF(std::exchange(object_, owned)); }
  explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

/// Objects of the Python half of the package, set once by _http.configure(); borrowed for the process's life.
struct PythonSide {
  PyObject* http_exception = nullptr;     // class
  PyObject* route_conflict = nullptr;     // class
  PyObject* client_disconnect = nullptr;  // class
  PyObject* ws_disconnected = nullptr;    // class
  PyObject* tls_error = nullptr;          // class
  PyObject* address = nullptr;            // namedtuple class (host, port)
  PyObject* url = nullptr;                // class URL(str)
  PyObject* state = nullptr;              // class State()
  PyObject* file_response = nullptr;      // class
  PyObject* form_error = nullptr;         // class
  PyObject* read_form = nullptr;          // async (request, **limits) -> FormData
  PyObject* drive_stream = nullptr;       // async (writer, response) -> None
  PyObject* identity = nullptr;           // lambda x: x
  PyObject* cancelled = nullptr;          // asyncio.CancelledError
  PyObject* report = nullptr;             // (request, exception) -> None: logs an unhandled exception
  PyObject* uuid = nullptr;               // uuid.UUID
  PyObject* make_executor = nullptr;      // () -> ThreadPoolExecutor
  PyObject* format_cookie = nullptr;      // (key, value, ...) -> str
  PyObject* format_deletion = nullptr;    // (key, ...) -> str
};
inline PythonSide python;

inline PyObject* latin1(std::string_view text) noexcept {
  return PyUnicode_DecodeLatin1(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr);
}
/// Field names: lower case, as Python sees them.
PyObject* lower_latin1(std::string_view text) noexcept;
/// Decoded path or query text; bytes that are not UTF-8 become U+FFFD, as Starlette does.
inline PyObject* utf8_lossy(std::string_view text) noexcept {
  return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
}
inline PyObject* to_bytes(std::string_view text) noexcept {
  return PyBytes_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
}
/// A header name as ASGI has it: bytes in lower case (A-Z only). The bytes object is new or the interpreter's
/// shared one of that letter, so it is never written to after it was given a value.
inline PyObject* to_lower_bytes(std::string_view name) noexcept {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  if (name.size() == 1) {
    const char letter = lower(name[0]);
    return PyBytes_FromStringAndSize(&letter, 1);
  }
  PyObject* bytes = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(name.size()));
  if (!bytes) return nullptr;
  char* at = PyBytes_AS_STRING(bytes);
  for (std::size_t i = 0; i < name.size(); ++i) at[i] = lower(name[i]);
  return bytes;
}
/// UTF-8 view of a str, valid while the str lives; data() null with an exception set.
inline std::string_view as_utf8(PyObject* text) noexcept {
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(text, &size);
  return data ? std::string_view{data, static_cast<std::size_t>(size)} : std::string_view{};
}
inline std::string_view bytes_view(PyObject* bytes) noexcept {
  return {PyBytes_AS_STRING(bytes), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes))};
}

/// Bodies of at least this size are kept while they are sent, instead of being copied for a client that is slow.
inline constexpr Py_ssize_t kKeptBody = 64 * 1024;
/// The bytes as a source that keeps them.
inline core::StreamSource kept_bytes(PyObject* bytes) noexcept {
  core::StreamSource source;
  source.data = PyBytes_AS_STRING(bytes);
  source.size = static_cast<std::uint64_t>(PyBytes_GET_SIZE(bytes));
  source.arg = Py_NewRef(bytes);
  source.release = [](void* kept) noexcept { Py_DECREF(static_cast<PyObject*>(kept)); };
  return source;
}

/// An awaitable that is done: `await` gives the value without suspending. Steals `value`.
PyObject* ready(PyObject* value) noexcept;
/// The same, raising. Steals `exception`.
PyObject* ready_exception(PyObject* exception) noexcept;

/// Adds a heap type to the module; returns it (borrowed from the module) or nullptr.
PyTypeObject* add_type(PyObject* module, PyType_Spec& spec, PyTypeObject* base = nullptr) noexcept;

// Each file's part of module initialisation: false with an exception set.
bool init_awaitables(PyObject* module) noexcept;
bool init_headers(PyObject* module) noexcept;
bool init_query(PyObject* module) noexcept;
bool init_request(PyObject* module) noexcept;
bool init_response(PyObject* module) noexcept;
bool init_writer(PyObject* module) noexcept;

}  // namespace fasterapi::http::py

#pragma once
// What every binding file needs: owned references and the exceptions and classes that Python has registered.
//   Threads  everything here needs the GIL
#include <Python.h>
#include <structmember.h>  // PyMemberDef: part of Python.h from 3.12 on

#include <string>
#include <string_view>
#include <utility>

#include <fasterapi/core/pyapi.hpp>

namespace fasterapi::pg::py {

namespace core_py = fasterapi::core::py;

class Ref {
 public:
  Ref() noexcept = default;
  explicit Ref(PyObject* owned) noexcept : p_(owned) {}
  static Ref borrow(PyObject* p) noexcept { return Ref(Py_XNewRef(p)); }
  Ref(const Ref& o) noexcept : p_(Py_XNewRef(o.p_)) {}
  Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Ref& operator=(Ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Ref() { Py_XDECREF(p_); }
  PyObject* get() const noexcept { return p_; }
  PyObject* release() noexcept { return std::exchange(p_, nullptr); }
  explicit operator bool() const noexcept { return p_ != nullptr; }

 private:
  PyObject* p_ = nullptr;
};

/// Exceptions by the names of set_exception_types(); built-in stand-ins until set.
struct Errors {
  PyObject* interface = nullptr;
  PyObject* data = nullptr;
  PyObject* protocol = nullptr;
  PyObject* connection_lost = nullptr;
  PyObject* connection_missing = nullptr;
  PyObject* cannot_connect = nullptr;
  PyObject* authentication = nullptr;
  PyObject* target = nullptr;
  PyObject* timeout = nullptr;
  PyObject* pool_closed = nullptr;
  PyObject* pool_timeout = nullptr;
  PyObject* no_result = nullptr;
  PyObject* multiple_results = nullptr;
  PyObject* factory = nullptr;  // set_error_factory()
};
extern Errors errors;

/// Classes by the names of set_value_types(); nullptr when not set.
struct ValueTypes {
  PyObject* range = nullptr;
  PyObject* bit_string = nullptr;
  PyObject* point = nullptr;
  PyObject* path = nullptr;
  PyObject* polygon = nullptr;
  PyObject* box = nullptr;
  PyObject* line = nullptr;
  PyObject* line_segment = nullptr;
  PyObject* circle = nullptr;
};
extern ValueTypes value_types;

bool init_errors();
PyObject* set_exception_types(PyObject*, PyObject* mapping);
PyObject* set_error_factory(PyObject*, PyObject* factory);
PyObject* set_value_types(PyObject*, PyObject* mapping);

/// The exception that is set right now, taken; never null.
inline Ref take_error() {
  PyObject* e = core_py::take_exception();
  if (!e) {
    PyErr_SetString(PyExc_SystemError, "an error was reported without an exception");
    e = core_py::take_exception();
  }
  return Ref(e);
}
/// A new instance of `type` with one message.
Ref make_error(PyObject* type, const std::string& message);

inline PyObject* to_str(std::string_view s) {
  return PyUnicode_DecodeUTF8(s.data(), static_cast<Py_ssize_t>(s.size()), "replace");
}

}  // namespace fasterapi::pg::py

#pragma once
// PyRef: an owned reference. Everything here needs the GIL.
#include <Python.h>

#include <string_view>
#include <utility>

namespace fasterapi::mcp {

class PyRef {
 public:
  PyRef() noexcept = default;
  explicit PyRef(PyObject* owned) noexcept : object_(owned) {}
  static PyRef borrow(PyObject* object) noexcept { return PyRef(Py_XNewRef(object)); }
  PyRef(const PyRef& other) noexcept : object_(Py_XNewRef(other.object_)) {}
  PyRef(PyRef&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  PyRef& operator=(PyRef other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~PyRef() { Py_XDECREF(object_); }
  PyObject* get() const noexcept { return object_; }
  PyObject* release() noexcept { return std::exchange(object_, nullptr); }
  explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

inline PyObject* py_string(std::string_view text) noexcept {
  return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
}

/// Text of a str or bytes object; empty (and no exception) for anything else.
inline std::string_view py_view(PyObject* object) noexcept {
  if (object && PyBytes_Check(object)) {
    return {PyBytes_AS_STRING(object), static_cast<std::size_t>(PyBytes_GET_SIZE(object))};
  }
  if (object && PyUnicode_Check(object)) {
    Py_ssize_t size;
    if (const char* text = PyUnicode_AsUTF8AndSize(object, &size)) return {text, static_cast<std::size_t>(size)};
    PyErr_Clear();
  }
  return {};
}

}  // namespace fasterapi::mcp

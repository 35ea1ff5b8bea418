// Ready: what `await request.body()` awaits. Buffered values need no coroutine and no suspension.
#include "common.hpp"

namespace fasterapi::http::py {
namespace {

struct ReadyObject {
  PyObject ob_base;  // PyObject_HEAD
  PyObject* value;
  PyObject* exception;
};

PyTypeObject* ready_type = nullptr;
constexpr int kFree = 64;
ReadyObject* free_list[kFree];
int free_count = 0;

PyObject* make(PyObject* value, PyObject* exception) noexcept {
  ReadyObject* self;
  if (free_count > 0) {
    self = free_list[--free_count];
    PyObject_Init(reinterpret_cast<PyObject*>(self), ready_type);
  } else {
    self = PyObject_New(ReadyObject, ready_type);
  }
  if (!self) {
    Py_XDECREF(value);
    Py_XDECREF(exception);
    return nullptr;
  }
  self->value = value;
  self->exception = exception;
  return reinterpret_cast<PyObject*>(self);
}

void ready_dealloc(PyObject* object) {
  auto* self = reinterpret_cast<ReadyObject*>(object);
  Py_CLEAR(self->value);
  Py_CLEAR(self->exception);
  PyTypeObject* type = Py_TYPE(object);
  if (free_count < kFree)
    free_list[free_count++] = self;
  else
    PyObject_Free(self);
  Py_DECREF(type);
}

PyObject* ready_self(PyObject* self) { return Py_NewRef(self); }

/// The value, or nullptr with the exception set.
PyObject* take(ReadyObject* self) {
  if (self->exception) {
    PyObject* exception = std::exchange(self->exception, nullptr);
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception)), exception);
    Py_DECREF(exception);
    return nullptr;
  }
  if (!self->value) {
    PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited object");
    return nullptr;
  }
  return std::exchange(self->value, nullptr);
}

PyObject* ready_next(PyObject* object) {
  PyObject* value = take(reinterpret_cast<ReadyObject*>(object));
  if (!value) return nullptr;
  core::py::stop_iteration(value);
  Py_DECREF(value);
  return nullptr;
}

PySendResult ready_send(PyObject* object, PyObject*, PyObject** result) {
  *result = take(reinterpret_cast<ReadyObject*>(object));
  return *result ? PYGEN_RETURN : PYGEN_ERROR;
}

PyType_Slot ready_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(ready_dealloc)}, {Py_tp_iter, reinterpret_cast<void*>(ready_self)},
    {Py_tp_iternext, reinterpret_cast<void*>(ready_next)},   {Py_am_await, reinterpret_cast<void*>(ready_self)},
    {Py_am_send, reinterpret_cast<void*>(ready_send)},       {0, nullptr},
};
PyType_Spec ready_spec = {"fasterapi_http._http.Ready", sizeof(ReadyObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, ready_slots};

}  // namespace

PyObject* ready(PyObject* value) noexcept { return value ? make(value, nullptr) : nullptr; }
PyObject* ready_exception(PyObject* exception) noexcept { return make(nullptr, exception); }

PyTypeObject* add_type(PyObject* module, PyType_Spec& spec, PyTypeObject* base) noexcept {
  PyObject* type = PyType_FromModuleAndSpec(module, &spec, reinterpret_cast<PyObject*>(base));
  if (!type) return nullptr;
  if (PyModule_AddType(module, reinterpret_cast<PyTypeObject*>(type)) < 0) {
    Py_DECREF(type);
    return nullptr;
  }
  return reinterpret_cast<PyTypeObject*>(type);  // its own reference: types live as long as the process
}

bool init_awaitables(PyObject* module) noexcept {
  ready_type = add_type(module, ready_spec);
  return ready_type != nullptr;
}

PyObject* lower_latin1(std::string_view text) noexcept {
  char small[128];
  if (text.size() > sizeof small) {
    Ref mixed(latin1(text));
    return mixed ? PyObject_CallMethod(mixed.get(), "lower", nullptr) : nullptr;
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    small[i] = static_cast<char>(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
  }
  return latin1({small, text.size()});
}

}  // namespace fasterapi::http::py

#include "python.hpp"

namespace fasterapi::pg::py {

Errors errors;
ValueTypes value_types;

namespace {

struct Slot {
  const char* name;
  PyObject** where;
};

Slot* error_slots() {
  static Slot slots[] = {{"InterfaceError", &errors.interface},
                         {"DataError", &errors.data},
                         {"ProtocolError", &errors.protocol},
                         {"ConnectionLost", &errors.connection_lost},
                         {"ConnectionDoesNotExist", &errors.connection_missing},
                         {"CannotConnect", &errors.cannot_connect},
                         {"AuthenticationError", &errors.authentication},
                         {"TargetServerMismatch", &errors.target},
                         {"TimeoutError", &errors.timeout},
                         {"PoolClosed", &errors.pool_closed},
                         {"PoolTimeout", &errors.pool_timeout},
                         {"NoResult", &errors.no_result},
                         {"MultipleResults", &errors.multiple_results},
                         {nullptr, nullptr}};
  return slots;
}

Slot* value_slots() {
  static Slot slots[] = {{"Range", &value_types.range},     {"BitString", &value_types.bit_string},
                         {"Point", &value_types.point},     {"Path", &value_types.path},
                         {"Polygon", &value_types.polygon}, {"Box", &value_types.box},
                         {"Line", &value_types.line},       {"LineSegment", &value_types.line_segment},
                         {"Circle", &value_types.circle},   {nullptr, nullptr}};
  return slots;
}

PyObject* assign(PyObject* mapping, Slot* slots, bool classes) {
  Ref items(PyMapping_Items(mapping));
  if (!items) return nullptr;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.get()); ++i) {
    PyObject* pair = PyList_GET_ITEM(items.get(), i);
    PyObject *key = PyTuple_GET_ITEM(pair, 0), *value = PyTuple_GET_ITEM(pair, 1);
    const char* name = PyUnicode_AsUTF8(key);
    if (!name) return nullptr;
    Slot* slot = slots;
    while (slot->name && std::string_view(slot->name) != name) ++slot;
    if (!slot->name) return PyErr_Format(PyExc_KeyError, "unknown name %R", key);
    if (classes && !PyExceptionClass_Check(value)) {
      return PyErr_Format(PyExc_TypeError, "%R is not an exception class", value);
    }
    Py_XSETREF(*slot->where, Py_NewRef(value));
  }
  Py_RETURN_NONE;
}

}  // namespace

bool init_errors() {
  for (Slot* slot = error_slots(); slot->name; ++slot) *slot->where = Py_NewRef(PyExc_RuntimeError);
  Py_XSETREF(errors.data, Py_NewRef(PyExc_ValueError));
  Py_XSETREF(errors.timeout, Py_NewRef(PyExc_TimeoutError));
  Py_XSETREF(errors.pool_timeout, Py_NewRef(PyExc_TimeoutError));
  Py_XSETREF(errors.connection_lost, Py_NewRef(PyExc_ConnectionError));
  Py_XSETREF(errors.cannot_connect, Py_NewRef(PyExc_ConnectionError));
  Py_XSETREF(errors.no_result, Py_NewRef(PyExc_LookupError));
  Py_XSETREF(errors.multiple_results, Py_NewRef(PyExc_LookupError));
  return true;
}

PyObject* set_exception_types(PyObject*, PyObject* mapping) { return assign(mapping, error_slots(), true); }
PyObject* set_value_types(PyObject*, PyObject* mapping) { return assign(mapping, value_slots(), false); }

PyObject* set_error_factory(PyObject*, PyObject* factory) {
  if (!PyCallable_Check(factory)) return PyErr_Format(PyExc_TypeError, "%R is not callable", factory);
  Py_XSETREF(errors.factory, Py_NewRef(factory));
  Py_RETURN_NONE;
}

Ref make_error(PyObject* type, const std::string& message) {
  Ref text(to_str(message));
  if (!text) return take_error();
  Ref error(PyObject_CallOneArg(type, text.get()));
  if (!error) return take_error();
  if (!PyExceptionInstance_Check(error.get())) {
    PyErr_SetString(PyExc_TypeError, "an exception class made something else");
    return take_error();
  }
  return error;
}

}  // namespace fasterapi::pg::py

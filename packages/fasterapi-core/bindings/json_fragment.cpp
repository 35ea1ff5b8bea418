#include "json_fragment.hpp"

#include <structmember.h>

#include <cstddef>

namespace fasterapi::core::py {

PyTypeObject* FragmentType = nullptr;

namespace {

struct FragmentObject {
  PyObject_HEAD PyObject* contents;  // bytes or str
};

PyObject* tp_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"contents", nullptr};
  PyObject* contents;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Fragment", const_cast<char**>(names), &contents))
    return nullptr;
  if (!PyBytes_Check(contents) && !PyUnicode_Check(contents)) {
    PyErr_Format(PyExc_TypeError, "Fragment() takes bytes or str, not %.100s", Py_TYPE(contents)->tp_name);
    return nullptr;
  }
  PyObject* self = type->tp_alloc(type, 0);
  if (self) reinterpret_cast<FragmentObject*>(self)->contents = Py_NewRef(contents);
  return self;
}

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  Py_XDECREF(reinterpret_cast<FragmentObject*>(self)->contents);
  type->tp_free(self);
  Py_DECREF(type);
}

PyMemberDef members[] = {{"contents", T_OBJECT, offsetof(FragmentObject, contents), READONLY, nullptr}, {}};
PyType_Slot slots[] = {
    {Py_tp_doc,
     const_cast<char*>("Fragment(contents)\n--\n\nJSON text, bytes or str, that json_dumps() writes as it "
                       "is: neither checked nor indented.")},
    {Py_tp_new, reinterpret_cast<void*>(tp_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_members, members},
    {0, nullptr}};
PyType_Spec spec = {"fasterapi_core.Fragment", sizeof(FragmentObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, slots};

}  // namespace

bool fragment_text(PyObject* fragment, std::string_view& text) {
  PyObject* contents = reinterpret_cast<FragmentObject*>(fragment)->contents;
  if (PyBytes_Check(contents)) {
    text = {PyBytes_AS_STRING(contents), static_cast<std::size_t>(PyBytes_GET_SIZE(contents))};
    return true;
  }
  Py_ssize_t size = 0;
  const char* utf8 = PyUnicode_AsUTF8AndSize(contents, &size);
  if (!utf8) return false;
  text = {utf8, static_cast<std::size_t>(size)};
  return true;
}

bool add_json_fragment(PyObject* module) {
  FragmentType = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
  return FragmentType && PyModule_AddType(module, FragmentType) == 0;
}

}  // namespace fasterapi::core::py

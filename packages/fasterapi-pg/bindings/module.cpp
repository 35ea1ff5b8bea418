// The extension module fasterapi_pg._pg.
#include <nanobind/nanobind.h>

#include "objects.hpp"

namespace nb = nanobind;

namespace fasterapi::pg::py {
namespace {

PyObject* classify_sql(PyObject*, PyObject* sql) {
  Py_ssize_t size;
  const char* text = PyUnicode_AsUTF8AndSize(sql, &size);
  if (!text) return nullptr;
  static constexpr const char* kNames[] = {"shared", "transaction", "exclusive"};
  return PyUnicode_FromString(kNames[static_cast<int>(classify({text, static_cast<std::size_t>(size)}))]);
}

PyMethodDef functions[] = {
    {"set_error_factory", set_error_factory, METH_O, "Sets the factory of server errors."},
    {"set_exception_types", set_exception_types, METH_O, "Sets the classes of client-side errors."},
    {"set_value_types", set_value_types, METH_O, "Sets the classes of values without a built-in class."},
    {"set_result_class", set_result_class, METH_O, "Sets the class of lazy results."},
    {"classify", classify_sql, METH_O, "What the pool may do with a statement."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace
}  // namespace fasterapi::pg::py

NB_MODULE(_pg, m) {
  namespace py = fasterapi::pg::py;
  if (!fasterapi::core::py::import_core()) nb::raise_python_error();
  PyObject* module = m.ptr();
  if (!py::init_errors() || !py::init_types() || !py::init_statement() || !py::init_hub() ||
      !py::init_record(module) || !py::init_config(module) || !py::init_result(module) ||
      !py::init_connection(module) || !py::init_prepared(module) || !py::init_pool(module) ||
      PyModule_AddFunctions(module, py::functions) != 0) {
    nb::raise_python_error();
  }
}

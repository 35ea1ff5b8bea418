// fasterapi_core._core: puts the parts together and publishes the C table.
#include <nanobind/nanobind.h>

#include <fasterapi/core/error.hpp>
#include <fasterapi/core/tls.hpp>

#include "buffer.hpp"
#include "future.hpp"
#include "json.hpp"
#include "log.hpp"
#include "metrics.hpp"
#include "native_task.hpp"
#include "runtime.hpp"
#include "transport.hpp"

namespace nb = nanobind;

namespace fasterapi::core::py {

PyObject* api_current_loop();
Reactor* api_current_reactor();

namespace {

Api table{
    sizeof(Api), FASTERAPI_CORE_ABI, api_current_reactor,  api_current_loop, nullptr,
    future_new,  future_set_result,  future_set_exception, future_done,      future_on_cancel,
    task_call,   task_cancel,        json_encode,          json_decode,      kLayout,
    call_new,    slice_to_python,    json_encode_chain,
};

PyObject* python_task_call(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  // For tests: task_call(callable, *args) -> Future with the outcome.
  if (nargs < 1) {
    PyErr_SetString(PyExc_TypeError, "task_call(callable, *args)");
    return nullptr;
  }
  PyObject* future = future_new(nullptr);
  if (!future) return nullptr;
  Py_INCREF(future);
  auto done = [](void* arg, PyObject* value, PyObject* exception) noexcept {
    auto* target = static_cast<PyObject*>(arg);
    int rc = value ? future_set_result(target, value) : future_set_exception(target, exception);
    if (rc < 0) PyErr_WriteUnraisable(target);
    Py_DECREF(target);
  };
  PyObject* task = task_call(args[0], args + 1, static_cast<std::size_t>(nargs - 1), nullptr, done, future);
  if (!task) {
    Py_DECREF(future);
    return nullptr;
  }
  PyObject* pair = PyTuple_Pack(2, task, future);
  Py_DECREF(task);
  Py_DECREF(future);
  return pair;
}
PyMethodDef functions[] = {{"task_call", as_function(python_task_call), METH_FASTCALL, nullptr},
                           {"_set_native_tasks", set_native_tasks, METH_O, nullptr},
                           {"_loops_after_fork", loops_after_fork, METH_NOARGS, nullptr},
                           {}};

}  // namespace
}  // namespace fasterapi::core::py

NB_MODULE(_core, m) {
  using namespace fasterapi::core;
  using namespace fasterapi::core::py;
  nb::set_leak_warnings(false);  // they would print on a user's stderr at exit
  m.attr("ABI") = abi();
  m.attr("VERSION") = FASTERAPI_CORE_VERSION;
  nb::exception<Error>(m, "NativeError", PyExc_RuntimeError);
  api = &table;
  PyObject* module = m.ptr();
  if (!init_runtime() || !add_log(module) || !add_handles(module) || !add_loop(module) || !add_future(module) ||
      !add_native_task(module) || !add_bridge(module) || !add_json(module) || !add_buffer(module) ||
      !add_transports(module) ||
      PyModule_AddFunctions(module, functions) < 0)
    nb::raise_python_error();
  bind_metrics(m);
  table.future_type = FutureType;
  m.attr("_C_API") = nb::steal(PyCapsule_New(&table, "fasterapi_core._core._C_API", nullptr));
}

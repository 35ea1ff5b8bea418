#include "runtime.hpp"

namespace fasterapi::core::py {

Runtime rt;

namespace {

bool optional(PyObject** slot, PyObject* from, const char* name) {
  *slot = PyObject_GetAttrString(from, name);
  if (!*slot) PyErr_Clear();
  return true;
}

bool required(PyObject** slot, PyObject* from, const char* name) {
  *slot = PyObject_GetAttrString(from, name);
  return *slot != nullptr;
}

}  // namespace

bool init_runtime() {
  struct {
    PyObject** slot;
    const char* text;
  } const names[] = {
      {&rt.add_done_callback, "add_done_callback"},
      {&rt.future_blocking, "_asyncio_future_blocking"},
      {&rt.result, "result"},
      {&rt.exception, "exception"},
      {&rt.cancelled, "cancelled"},
      {&rt.cancel, "cancel"},
      {&rt.get_loop, "get_loop"},
      {&rt.throw_, "throw"},
      {&rt.call_soon, "call_soon"},
      {&rt.call_exception_handler, "call_exception_handler"},
      {&rt.create_task, "create_task"},
      {&rt.fileno, "fileno"},
      {&rt.context, "context"},
      {&rt.msg, "msg"},
      {&rt.finished, "FINISHED"},
      {&rt.debug_run, "_debug_run"},
      {&rt.check_call, "_debug_check"},
      {&rt.task_factory, "_task_factory"},
      {&rt.call_soon_threadsafe, "call_soon_threadsafe"},
      {&rt.loop, "loop"},
  };
  for (auto& name : names)
    if (!(*name.slot = PyUnicode_InternFromString(name.text))) return false;
  rt.kw_context = PyTuple_Pack(1, rt.context);
  rt.kw_msg = PyTuple_Pack(1, rt.msg);
  rt.empty_tuple = PyTuple_New(0);

  // asyncio first: its C accelerator binds to the package while that is being imported, and alone it would
  // be initialised twice.
  PyObject* package = PyImport_ImportModule("asyncio");
  if (!package) return false;
  Py_DECREF(package);
  PyObject* native = PyImport_ImportModule("_asyncio");
  PyObject* tasks = native ? PyImport_ImportModule("asyncio.tasks") : nullptr;
  PyObject* events = tasks ? PyImport_ImportModule("asyncio.events") : nullptr;
  PyObject* errors = events ? PyImport_ImportModule("asyncio.exceptions") : nullptr;
  PyObject* base = errors ? PyImport_ImportModule("asyncio.base_tasks") : nullptr;
  if (!base) return false;
  bool ok = required(reinterpret_cast<PyObject**>(&rt.asyncio_future), native, "Future") &&
            required(reinterpret_cast<PyObject**>(&rt.asyncio_task), native, "Task") &&
            required(&rt.get_running_loop, native, "_get_running_loop") &&
            required(&rt.asyncio_handle, events, "Handle") &&
            required(&rt.asyncio_timer_handle, events, "TimerHandle") &&
            required(&rt.cancelled_error, errors, "CancelledError") &&
            required(&rt.invalid_state_error, errors, "InvalidStateError") &&
            required(&rt.task_get_stack, base, "_task_get_stack") &&
            required(&rt.task_print_stack, base, "_task_print_stack") && rt.kw_context && rt.kw_msg && rt.empty_tuple;
  if (!ok) return false;
  PyObject* loops = PyImport_ImportModule("asyncio.base_events");
  PyObject* loop_class = loops ? PyObject_GetAttrString(loops, "BaseEventLoop") : nullptr;
  ok = loop_class && required(&rt.base_create_task, loop_class, "create_task") &&
       required(&rt.base_set_task_factory, loop_class, "set_task_factory");
  Py_XDECREF(loop_class);
  Py_XDECREF(loops);
  if (!ok) return false;
  optional(&rt.current_tasks, native, "_current_tasks");
  optional(&rt.swap_current_task, native, "_swap_current_task");
  optional(&rt.eager_tasks, native, "_eager_tasks");
  optional(&rt.register_eager, native, "_register_eager_task");
  optional(&rt.unregister_eager, native, "_unregister_eager_task");
  optional(&rt.eager_task_factory, tasks, "eager_task_factory");
  if (!rt.eager_tasks && !rt.register_eager) {  // 3.11
    PyObject* all = PyObject_GetAttrString(tasks, "_all_tasks");
    if (!all) return false;
    ok = required(&rt.weak_tasks_data, all, "data") && required(&rt.weak_tasks_remove, all, "_remove");
    Py_DECREF(all);
  }
  for (PyObject* module : {native, tasks, events, errors, base}) Py_DECREF(module);
  return ok;
}

PyObject* support(const char* name) {
  if (!rt.support) rt.support = PyImport_ImportModule("fasterapi_core._support");
  return rt.support ? PyObject_GetAttrString(rt.support, name) : nullptr;
}

}  // namespace fasterapi::core::py

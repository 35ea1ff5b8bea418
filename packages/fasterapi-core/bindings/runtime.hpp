#pragma once
// Shared by the loop's hot objects: interned names, asyncio's own objects, small helpers.
// One copy per process; filled by init_runtime(), read with the GIL held.
#include <Python.h>
#include <structmember.h>

#include <fasterapi/core/platform.hpp>
#include <fasterapi/core/pyapi.hpp>
#include <fasterapi/core/reactor.hpp>

namespace fasterapi::core::py {

struct Runtime {
  // asyncio
  PyTypeObject* asyncio_future = nullptr;  // _asyncio.Future
  PyTypeObject* asyncio_task = nullptr;    // _asyncio.Task
  PyObject* asyncio_handle = nullptr;
  PyObject* asyncio_timer_handle = nullptr;
  PyObject* cancelled_error = nullptr;
  PyObject* invalid_state_error = nullptr;
  PyObject* eager_task_factory = nullptr;  // 3.12+
  PyObject* get_running_loop = nullptr;    // _asyncio._get_running_loop
  PyObject* current_tasks = nullptr;       // _asyncio._current_tasks, up to 3.13
  PyObject* swap_current_task = nullptr;   // _asyncio._swap_current_task, 3.14+
  PyObject* eager_tasks = nullptr;         // the set behind all_tasks(), 3.12 and 3.13
  PyObject* register_eager = nullptr;      // 3.14+
  PyObject* unregister_eager = nullptr;
  PyObject* weak_tasks_data = nullptr;     // 3.11: asyncio.tasks._all_tasks.data
  PyObject* weak_tasks_remove = nullptr;
  PyObject* task_get_stack = nullptr;
  PyObject* task_print_stack = nullptr;
  PyObject* support = nullptr;  // fasterapi_core._support
  // names
  PyObject *add_done_callback, *future_blocking, *result, *exception, *cancelled, *cancel, *get_loop, *throw_, *call_soon,
      *call_exception_handler, *create_task, *fileno, *context, *msg, *finished, *debug_run, *check_call, *task_factory,
      *call_soon_threadsafe, *loop;
  PyObject* empty_tuple = nullptr;
  PyObject* base_create_task = nullptr;       // asyncio.BaseEventLoop.create_task
  PyObject* base_set_task_factory = nullptr;  // asyncio.BaseEventLoop.set_task_factory
  PyObject* kw_context = nullptr;  // ("context",)
  PyObject* kw_msg = nullptr;      // ("msg",)
};
extern Runtime rt;

bool init_runtime();

/// fasterapi_core._support.<name>(...), imported on first use (cold paths live in Python).
PyObject* support(const char* name);

/// Thread's running EventLoop (ours), or nullptr.
[[gnu::tls_model("initial-exec")]] extern thread_local struct LoopCore* tl_loop;

inline PyObject* none() { return Py_NewRef(Py_None); }

template <class F>
PyCFunction as_function(F* f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}

/// Runs its body with the pending exception set aside.
class ErrorGuard {
 public:
  ErrorGuard() { PyErr_Fetch(&type_, &value_, &traceback_); }
  ~ErrorGuard() { PyErr_Restore(type_, value_, traceback_); }
  ErrorGuard(const ErrorGuard&) = delete;
  ErrorGuard& operator=(const ErrorGuard&) = delete;

 private:
  PyObject *type_, *value_, *traceback_;
};

// ---- module parts
bool add_handles(PyObject* module);
bool add_loop(PyObject* module);
/// In the child of a fork: no loop runs, and none shares its kernel objects with the parent's.
PyObject* loops_after_fork(PyObject*, PyObject*);
bool add_future(PyObject* module);
bool add_native_task(PyObject* module);
bool add_bridge(PyObject* module);

extern PyTypeObject* FutureType;
extern PyTypeObject* CallType;  // a Future that create_task() takes for a coroutine

inline bool is_future(PyObject* object) { return Py_IS_TYPE(object, FutureType) || Py_IS_TYPE(object, CallType); }

}  // namespace fasterapi::core::py

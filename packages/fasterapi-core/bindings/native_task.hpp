#pragma once
// NativeTask: what asyncio.current_task() is inside a coroutine that native code runs, without the cost of
// an asyncio.Task: pooled memory, no registration and no handle until the coroutine really suspends.
//   Sound    current_task, all_tasks (once suspended), cancel/uncancel, timeouts, TaskGroup, anyio scopes
//   Limits   type(task) is not asyncio.Task (isinstance is), asyncio.Task.cancel(task) unbound does not work
//   Real tasks are used instead when the loop is in debug mode or has a task factory of its own, and when the
//   self-test at import fails (_native_tasks.py)
#include "runtime.hpp"

namespace fasterapi::core::py {

PyObject* task_call(PyObject* callable, PyObject* const* args, std::size_t nargsf, PyObject* kwnames, TaskDone done,
                    void* arg);
int task_cancel(PyObject* task, PyObject* message);
/// Python: _set_native_tasks(on) -> what it was.
PyObject* set_native_tasks(PyObject*, PyObject* value);

}  // namespace fasterapi::core::py

#pragma once
// The native task's object and what its two files share: native_task.cpp runs it (steps, wake-ups,
// task_call), task_type.cpp is its Python face (methods and attributes of asyncio.Task).
#include "future.hpp"
#include "loop.hpp"
#include "native_task.hpp"

namespace fasterapi::core::py {

struct Task {
  PyObject_HEAD
  PyObject* weakrefs;
  PyObject* dict;
  PyObject* loop;
  PyObject* coroutine;
  PyObject* context;
  PyObject* name;
  PyObject* waiter;  // what it waits for
  PyObject* value;
  PyObject* exception;
  PyObject* cancel_message;
  PyObject* callbacks;  // list of (callback, context)
  TaskDone done;
  void* done_arg;
  std::uint64_t id;
  int cancel_requests;
  Outcome state;
  bool must_cancel, blocking, registered;
};

/// Iterator of `await task`.
struct TaskIter {
  PyObject_HEAD
  Task* task;
};

extern PyTypeObject* TaskType;
extern PyTypeObject* TaskIterType;

inline Task* as_task(PyObject* self) { return reinterpret_cast<Task*>(self); }
inline PyObject* as_object(Task* task) { return reinterpret_cast<PyObject*>(task); }

/// 1 requested, 0 done already, -1 raised.
int request_cancel(Task* task, PyObject* message);
int task_clear(PyObject* self);
void task_dealloc(PyObject* self);
bool add_task_type(PyObject* module);
PyTypeObject* make_task_helper_type(PyObject* module, const char* name, std::size_t size, unsigned long flags,
                                    PyType_Slot* slots);

}  // namespace fasterapi::core::py

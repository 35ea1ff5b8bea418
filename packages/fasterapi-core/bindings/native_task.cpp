#include "native_task.hpp"

#include "future.hpp"
#include "loop.hpp"

namespace fasterapi::core::py {
namespace {

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

/// The callback that a future gets: vectorcall into the task's next step.
struct Wake {
  PyObject_HEAD
  Task* task;
  PyObject* throw_exception;  // set: the step throws it
  vectorcallfunc call;
};

/// Iterator of `await task`.
struct TaskIter {
  PyObject_HEAD
  Task* task;
};

/// Done-callback of a real asyncio.Task that stands in.
struct RealDone {
  PyObject_HEAD
  TaskDone done;
  void* arg;
  vectorcallfunc call;
};

PyTypeObject *TaskType, *WakeType, *TaskIterType, *RealDoneType;

constexpr int kPoolSize = 1024;
Task* task_pool[kPoolSize];
int tasks_pooled = 0;
Wake* wake_pool[kPoolSize];
int wakes_pooled = 0;
std::uint64_t next_id = 0;

Task* cast(PyObject* self) { return reinterpret_cast<Task*>(self); }
PyObject* as_object(Task* task) { return reinterpret_cast<PyObject*>(task); }

// ---------------------------------------------------------------- exact asyncio futures without lookups

/// The C getters of an exact _asyncio.Future or Task, taken from its own type once.
struct FastFuture {
  PyTypeObject* type = nullptr;
  PyGetSetDef *blocking, *loop, *exception, *state;
  PyObject* add_done_callback;
};
FastFuture fast_futures[2];

PyGetSetDef* getset_of(PyTypeObject* type, const char* name) {
  PyObject* descriptor = PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), name);
  if (!descriptor) {
    PyErr_Clear();
    return nullptr;
  }
  PyGetSetDef* found = Py_IS_TYPE(descriptor, &PyGetSetDescr_Type)
                           ? reinterpret_cast<PyGetSetDescrObject*>(descriptor)->d_getset
                           : nullptr;
  Py_DECREF(descriptor);  // the type keeps it
  return found;
}

void init_fast_future(FastFuture& fast, PyTypeObject* type) {
  fast.blocking = getset_of(type, "_asyncio_future_blocking");
  fast.loop = getset_of(type, "_loop");
  fast.exception = getset_of(type, "_exception");
  fast.state = getset_of(type, "_state");
  fast.add_done_callback = PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "add_done_callback");
  if (!fast.add_done_callback) PyErr_Clear();
  if (fast.blocking && fast.loop && fast.exception && fast.state && fast.add_done_callback) fast.type = type;
}

FastFuture* fast_of(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  return type == fast_futures[0].type ? &fast_futures[0] : type == fast_futures[1].type ? &fast_futures[1] : nullptr;
}

PyObject* get(PyGetSetDef* attribute, PyObject* object) { return attribute->get(object, attribute->closure); }

// ---------------------------------------------------------------- asyncio's bookkeeping

/// Makes `task` the current task of its loop for the life of this object.
class CurrentTask {
 public:
  explicit CurrentTask(Task* task) : loop_(task->loop) {
    if (rt.current_tasks) {  // up to 3.13: a dict by loop
      previous_ = Py_XNewRef(PyDict_GetItemWithError(rt.current_tasks, loop_));
      ok_ = PyDict_SetItem(rt.current_tasks, loop_, as_object(task)) == 0;
    } else {
      previous_ = swap(as_object(task));
      ok_ = previous_ != nullptr;
    }
  }
  ~CurrentTask() {
    if (!ok_) {
      Py_XDECREF(previous_);
      return;
    }
    if (FASTERAPI_UNLIKELY(PyErr_Occurred() != nullptr)) {
      ErrorGuard keep;
      restore();
    } else {
      restore();
    }
  }
  CurrentTask(const CurrentTask&) = delete;
  CurrentTask& operator=(const CurrentTask&) = delete;
  bool ok() const noexcept { return ok_; }

 private:
  PyObject* swap(PyObject* task) {
    PyObject* stack[3] = {nullptr, loop_, task};
    return PyObject_Vectorcall(rt.swap_current_task, stack + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
  }
  void restore() {
    int rc = 0;
    if (!rt.current_tasks) {
      PyObject* mine = swap(previous_);
      rc = mine ? 0 : -1;
      Py_XDECREF(mine);
    } else if (previous_) {
      rc = PyDict_SetItem(rt.current_tasks, loop_, previous_);
    } else {
      rc = PyDict_DelItem(rt.current_tasks, loop_);
    }
    if (rc < 0) PyErr_WriteUnraisable(loop_);
    Py_XDECREF(previous_);
  }
  PyObject* loop_;
  PyObject* previous_;
  bool ok_;
};

/// Puts a task that suspends where asyncio.all_tasks() finds it.
int register_task(Task* task) {
  if (task->registered) return 0;
  task->registered = true;
  if (rt.eager_tasks) return PySet_Add(rt.eager_tasks, as_object(task));
  if (rt.register_eager) {
    PyObject* done = PyObject_CallOneArg(rt.register_eager, as_object(task));
    Py_XDECREF(done);
    return done ? 0 : -1;
  }
  PyObject* reference = PyWeakref_NewRef(as_object(task), rt.weak_tasks_remove);  // 3.11: WeakSet.add
  if (!reference) return -1;
  int rc = PySet_Add(rt.weak_tasks_data, reference);
  Py_DECREF(reference);
  return rc;
}

void unregister_task(Task* task) {
  if (!task->registered) return;
  task->registered = false;
  int rc = 0;
  if (rt.eager_tasks) {
    rc = PySet_Discard(rt.eager_tasks, as_object(task));
  } else if (rt.unregister_eager) {
    PyObject* done = PyObject_CallOneArg(rt.unregister_eager, as_object(task));
    rc = done ? 0 : -1;
    Py_XDECREF(done);
  }  // 3.11: the weak entry goes with the object; all_tasks() skips what is done
  if (rc < 0) PyErr_WriteUnraisable(as_object(task));
}

// ---------------------------------------------------------------- life

Task* task_new(PyObject* loop, PyObject* context) {
  Task* task;
  if (tasks_pooled) {
    task = task_pool[--tasks_pooled];
    PyObject_Init(as_object(task), TaskType);
  } else if (!(task = PyObject_GC_New(Task, TaskType))) {
    return nullptr;
  }
  std::memset(reinterpret_cast<char*>(task) + sizeof(PyObject), 0, sizeof(Task) - sizeof(PyObject));
  task->loop = Py_NewRef(loop);
  task->context = Py_NewRef(context);
  task->id = ++next_id;
  PyObject_GC_Track(as_object(task));
  return task;
}

int task_traverse(PyObject* self, visitproc visit, void* arg) {
  Task* task = cast(self);
  Py_VISIT(Py_TYPE(self));
  for (PyObject* member : {task->dict, task->loop, task->coroutine, task->context, task->name, task->waiter, task->value,
                           task->exception, task->cancel_message, task->callbacks})
    Py_VISIT(member);
  return 0;
}
int task_clear(PyObject* self) {
  Task* task = cast(self);
  for (PyObject** member : {&task->dict, &task->loop, &task->coroutine, &task->context, &task->name, &task->waiter,
                            &task->value, &task->exception, &task->cancel_message, &task->callbacks})
    Py_CLEAR(*member);
  return 0;
}
void task_dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  if (cast(self)->weakrefs) PyObject_ClearWeakRefs(self);
  task_clear(self);
  if (tasks_pooled < kPoolSize)
    task_pool[tasks_pooled++] = cast(self);
  else
    PyObject_GC_Del(self);
  Py_DECREF(TaskType);
}

// ---------------------------------------------------------------- steps

int step(Task* task, PyObject* exception);

PyObject* make_cancelled(Task* task) {
  return task->cancel_message && task->cancel_message != Py_None
             ? PyObject_CallOneArg(rt.cancelled_error, task->cancel_message)
             : PyObject_CallNoArgs(rt.cancelled_error);
}

/// The outcome is in the task: tells asyncio, the callbacks and the native owner.
int finish(Task* task) {
  unregister_task(task);
  int rc = 0;
  if (PyObject* callbacks = std::exchange(task->callbacks, nullptr)) {
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(callbacks); ++i) {
      PyObject* pair = PyList_GET_ITEM(callbacks, i);
      rc = loop_call_soon(task->loop, PyTuple_GET_ITEM(pair, 0), as_object(task), PyTuple_GET_ITEM(pair, 1));
    }
    Py_DECREF(callbacks);
  }
  if (TaskDone done = std::exchange(task->done, nullptr)) done(task->done_arg, task->value, task->exception);
  return rc;
}

/// Records the exception that is set; -1 when it must also end the loop.
int fail(Task* task) {
  PyObject* exception = take_exception();
  bool cancelled = PyErr_GivenExceptionMatches(exception, rt.cancelled_error);
  bool fatal = PyErr_GivenExceptionMatches(exception, PyExc_KeyboardInterrupt) ||
               PyErr_GivenExceptionMatches(exception, PyExc_SystemExit);
  task->exception = exception;
  task->state = cancelled ? Outcome::cancelled : Outcome::finished;
  Py_INCREF(exception);
  int rc = finish(task);
  if (rc == 0 && fatal) {
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception)), exception);
    rc = -1;
  }
  Py_DECREF(exception);
  return rc;
}

Wake* wake_new(Task* task, PyObject* exception);

int step_later(Task* task, PyObject* exception) {
  Wake* wake = wake_new(task, exception);
  if (!wake) return -1;
  int rc = loop_call_soon(task->loop, reinterpret_cast<PyObject*>(wake), nullptr, task->context);
  Py_DECREF(wake);
  return rc;
}

int bad_yield(Task* task, const char* format, PyObject* yielded) {
  PyObject* text = PyUnicode_FromFormat(format, as_object(task), yielded);
  PyObject* error = text ? PyObject_CallOneArg(PyExc_RuntimeError, text) : nullptr;
  Py_XDECREF(text);
  if (!error) return -1;
  int rc = step_later(task, error);
  Py_DECREF(error);
  return rc;
}

/// Takes the cancellation that came before there was something to wait for to what it waits for now.
int forward_cancel(Task* task) {
  if (!task->must_cancel) return 0;
  PyObject* stack[2] = {task->waiter, task->cancel_message ? task->cancel_message : Py_None};
  PyObject* done = PyObject_VectorcallMethod(rt.cancel, stack, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, rt.kw_msg);
  if (!done) return -1;
  if (PyObject_IsTrue(done) == 1) task->must_cancel = false;
  Py_DECREF(done);
  return 0;
}

int wait_for(Task* task, PyObject* future, FastFuture* fast) {
  Wake* wake = wake_new(task, nullptr);
  if (!wake) return -1;
  PyObject* callback = reinterpret_cast<PyObject*>(wake);
  int rc;
  if (Py_IS_TYPE(future, FutureType)) {
    rc = future_add_callback(reinterpret_cast<FutureObject*>(future), callback, task->context);
  } else {
    PyObject* stack[3] = {future, callback, task->context};
    PyObject* done = fast ? PyObject_Vectorcall(fast->add_done_callback, stack, 2, rt.kw_context)
                          : PyObject_VectorcallMethod(rt.add_done_callback, stack, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                                      rt.kw_context);
    rc = done ? 0 : -1;
    Py_XDECREF(done);
  }
  Py_DECREF(wake);
  if (rc < 0) return -1;
  task->waiter = Py_NewRef(future);
  return forward_cancel(task);
}

/// The coroutine yielded: schedule its next step, or wait for the future that it yielded.
int yielded(Task* task, PyObject* value) {
  if (register_task(task) < 0) return -1;
  if (value == Py_None) return step_later(task, nullptr);
  if (value == as_object(task)) return bad_yield(task, "Task cannot await on itself: %R", value);
  if (Py_IS_TYPE(value, FutureType)) {
    auto* future = reinterpret_cast<FutureObject*>(value);
    if (!future->blocking) return bad_yield(task, "yield was used instead of yield from in task %R with %R", value);
    if (future->loop != task->loop)
      return bad_yield(task, "Task %R got Future %R attached to a different loop", value);
    future->blocking = false;
    return wait_for(task, value, nullptr);
  }
  FastFuture* fast = fast_of(value);
  PyObject* blocking = fast ? get(fast->blocking, value) : PyObject_GetAttr(value, rt.future_blocking);
  if (!blocking) PyErr_Clear();
  bool is_future = blocking && blocking != Py_None, awaited = blocking == Py_True;
  Py_XDECREF(blocking);
  if (!is_future) return bad_yield(task, "Task %R got bad yield: %R", value);
  if (!awaited) return bad_yield(task, "yield was used instead of yield from in task %R with %R", value);
  PyObject* loop = fast ? get(fast->loop, value)
                        : PyObject_VectorcallMethod(rt.get_loop, &value, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
  if (!loop) return -1;
  bool same = loop == task->loop;
  Py_DECREF(loop);
  if (!same) return bad_yield(task, "Task %R got Future %R attached to a different loop", value);
  int rc = fast ? fast->blocking->set(value, Py_False, fast->blocking->closure)
                : PyObject_SetAttr(value, rt.future_blocking, Py_False);
  return rc < 0 ? -1 : wait_for(task, value, fast);
}

PySendResult resume(Task* task, PyObject* exception, PyObject** value) {
  if (!exception) return PyIter_Send(task->coroutine, Py_None, value);
  *value = PyObject_CallMethodOneArg(task->coroutine, rt.throw_, exception);
  if (*value) return PYGEN_NEXT;
  if (!PyErr_ExceptionMatches(PyExc_StopIteration)) return PYGEN_ERROR;
  PyObject* stop = take_exception();
  *value = Py_NewRef(reinterpret_cast<PyStopIterationObject*>(stop)->value);
  Py_DECREF(stop);
  return PYGEN_RETURN;
}

/// Deals with what one resumption gave (`value` is stolen).
int settle(Task* task, PySendResult sent, PyObject* value) {
  if (sent == PYGEN_ERROR) return fail(task);
  if (sent == PYGEN_NEXT) {
    int rc = yielded(task, value);
    Py_DECREF(value);
    return rc;
  }
  if (task->must_cancel) {  // cancel() came during the last step and was never delivered
    task->must_cancel = false;
    Py_DECREF(value);
    task->state = Outcome::cancelled;
    if (!(task->exception = make_cancelled(task))) return -1;
  } else {
    task->state = Outcome::finished;
    task->value = value;
  }
  return finish(task);
}

/// One step inside the task's context; `exception` is borrowed. -1: an exception must reach the loop.
int step(Task* task, PyObject* exception) {
  if (task->state != Outcome::pending) return 0;
  PyObject* made = nullptr;
  if (task->must_cancel) {
    if (!exception || !PyErr_GivenExceptionMatches(exception, rt.cancelled_error)) {
      if (!(exception = made = make_cancelled(task))) return -1;
    }
    task->must_cancel = false;
  }
  Py_INCREF(task);
  Py_CLEAR(task->waiter);
  PySendResult sent = PYGEN_ERROR;
  PyObject* value = nullptr;
  {
    CurrentTask current(task);
    if (current.ok()) sent = resume(task, exception, &value);
  }
  Py_XDECREF(made);
  int rc = settle(task, sent, value);
  Py_DECREF(task);
  return rc;
}

// ---------------------------------------------------------------- Wake

PyObject* wake_call(PyObject* self, PyObject* const* args, std::size_t nargsf, PyObject*) {
  auto* wake = reinterpret_cast<Wake*>(self);
  Task* task = wake->task;
  int rc;
  if (PyVectorcall_NARGS(nargsf) == 0) {
    rc = step(task, wake->throw_exception);
  } else if (PyObject* future = args[0]; Py_IS_TYPE(future, FutureType)) {
    auto* ours = reinterpret_cast<FutureObject*>(future);
    // the coroutine asks the future for its outcome when it is resumed; a cancelled one is thrown, as asyncio does
    PyObject* error = nullptr;
    if (ours->state == Outcome::cancelled || ours->exception) {
      PyObject* nothing = PyObject_CallMethodNoArgs(future, rt.result);
      Py_XDECREF(nothing);
      error = take_exception();
    }
    rc = step(task, error);
    Py_XDECREF(error);
  } else {
    FastFuture* fast = fast_of(future);
    bool plain = false;
    if (fast) {
      PyObject* state = get(fast->state, future);
      PyObject* error = state == rt.finished ? get(fast->exception, future) : nullptr;
      plain = error == Py_None;
      Py_XDECREF(error);
      Py_XDECREF(state);
      if (!plain) PyErr_Clear();
    }
    PyObject* error = nullptr;
    if (!plain) {
      PyObject* result = PyObject_CallMethodNoArgs(future, rt.result);
      if (!result) error = take_exception();
      Py_XDECREF(result);
    }
    rc = step(task, error);
    Py_XDECREF(error);
  }
  if (rc < 0) return nullptr;
  Py_RETURN_NONE;
}

Wake* wake_new(Task* task, PyObject* exception) {
  Wake* wake;
  if (wakes_pooled) {
    wake = wake_pool[--wakes_pooled];
    PyObject_Init(reinterpret_cast<PyObject*>(wake), WakeType);
  } else if (!(wake = PyObject_GC_New(Wake, WakeType))) {
    return nullptr;
  }
  wake->task = task;
  Py_INCREF(task);
  wake->throw_exception = Py_XNewRef(exception);
  wake->call = wake_call;
  PyObject_GC_Track(reinterpret_cast<PyObject*>(wake));
  return wake;
}
int wake_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(reinterpret_cast<Wake*>(self)->task);
  Py_VISIT(reinterpret_cast<Wake*>(self)->throw_exception);
  return 0;
}
int wake_clear(PyObject* self) {
  Py_CLEAR(reinterpret_cast<Wake*>(self)->task);
  Py_CLEAR(reinterpret_cast<Wake*>(self)->throw_exception);
  return 0;
}
void wake_dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  wake_clear(self);
  if (wakes_pooled < kPoolSize)
    wake_pool[wakes_pooled++] = reinterpret_cast<Wake*>(self);
  else
    PyObject_GC_Del(self);
  Py_DECREF(WakeType);
}

// ---------------------------------------------------------------- awaiting the task itself

PyObject* raise_outcome(Task* task) {
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(task->exception)), task->exception);
  return nullptr;
}
PyObject* iter_next(PyObject* self) {
  Task* task = reinterpret_cast<TaskIter*>(self)->task;
  if (task->state == Outcome::pending) {
    if (task->blocking) {
      PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
      return nullptr;
    }
    task->blocking = true;
    return Py_NewRef(as_object(task));
  }
  return task->exception ? raise_outcome(task) : stop_iteration(task->value);
}
int iter_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(reinterpret_cast<TaskIter*>(self)->task);
  return 0;
}
int iter_clear(PyObject* self) {
  Py_CLEAR(reinterpret_cast<TaskIter*>(self)->task);
  return 0;
}
void iter_dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  iter_clear(self);
  PyObject_GC_Del(self);
  Py_DECREF(TaskIterType);
}
PyObject* task_iter(PyObject* self) {
  TaskIter* iter = PyObject_GC_New(TaskIter, TaskIterType);
  if (!iter) return nullptr;
  iter->task = cast(Py_NewRef(self));
  PyObject_GC_Track(reinterpret_cast<PyObject*>(iter));
  return reinterpret_cast<PyObject*>(iter);
}

// ---------------------------------------------------------------- Task's methods

PyObject* invalid_state(const char* text) {
  PyErr_SetString(rt.invalid_state_error, text);
  return nullptr;
}

int request_cancel(Task* task, PyObject* message) {  // 1 requested, 0 done already, -1 raised
  if (task->state != Outcome::pending) return 0;
  ++task->cancel_requests;
  if (task->waiter) {
    PyObject* stack[2] = {task->waiter, message};
    PyObject* done = PyObject_VectorcallMethod(rt.cancel, stack, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, rt.kw_msg);
    if (!done) return -1;
    int taken = PyObject_IsTrue(done);
    Py_DECREF(done);
    if (taken) return taken;
  }
  task->must_cancel = true;
  Py_XSETREF(task->cancel_message, Py_NewRef(message));
  return 1;
}

PyObject* method_cancel(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* keywords[] = {"msg", nullptr};
  PyObject* message = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:cancel", const_cast<char**>(keywords), &message)) return nullptr;
  int rc = request_cancel(cast(self), message);
  return rc < 0 ? nullptr : PyBool_FromLong(rc);
}
PyObject* method_cancelling(PyObject* self, PyObject*) { return PyLong_FromLong(cast(self)->cancel_requests); }
PyObject* method_uncancel(PyObject* self, PyObject*) {
  Task* task = cast(self);
  if (task->cancel_requests > 0 && --task->cancel_requests == 0) {
#if PY_VERSION_HEX >= 0x030d0000
    task->must_cancel = false;  // asyncio's rule since 3.13
#endif
  }
  return PyLong_FromLong(task->cancel_requests);
}
PyObject* method_done(PyObject* self, PyObject*) { return PyBool_FromLong(cast(self)->state != Outcome::pending); }
PyObject* method_cancelled(PyObject* self, PyObject*) {
  return PyBool_FromLong(cast(self)->state == Outcome::cancelled);
}
PyObject* method_result(PyObject* self, PyObject*) {
  Task* task = cast(self);
  if (task->state == Outcome::pending) return invalid_state("Result is not set.");
  return task->exception ? raise_outcome(task) : Py_NewRef(task->value);
}
PyObject* method_exception(PyObject* self, PyObject*) {
  Task* task = cast(self);
  if (task->state == Outcome::pending) return invalid_state("Exception is not set.");
  if (task->state == Outcome::cancelled) return raise_outcome(task);
  return Py_NewRef(task->exception ? task->exception : Py_None);
}
PyObject* method_add_done_callback(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* keywords[] = {"fn", "context", nullptr};
  PyObject *callback, *context = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$O:add_done_callback", const_cast<char**>(keywords), &callback,
                                   &context))
    return nullptr;
  Task* task = cast(self);
  context = context == Py_None ? PyContext_CopyCurrent() : Py_NewRef(context);
  if (!context) return nullptr;
  int rc;
  if (task->state != Outcome::pending) {
    rc = loop_call_soon(task->loop, callback, self, context);
  } else {
    PyObject* pair = PyTuple_Pack(2, callback, context);
    if (!task->callbacks) task->callbacks = PyList_New(0);
    rc = pair && task->callbacks ? PyList_Append(task->callbacks, pair) : -1;
    Py_XDECREF(pair);
  }
  Py_DECREF(context);
  if (rc < 0) return nullptr;
  Py_RETURN_NONE;
}
PyObject* method_remove_done_callback(PyObject* self, PyObject* callback) {
  Task* task = cast(self);
  long removed = 0;
  for (Py_ssize_t i = task->callbacks ? PyList_GET_SIZE(task->callbacks) : 0; i-- > 0;) {
    int equal =
        PyObject_RichCompareBool(PyTuple_GET_ITEM(PyList_GET_ITEM(task->callbacks, i), 0), callback, Py_EQ);
    if (equal < 0 || (equal && PySequence_DelItem(task->callbacks, i) < 0)) return nullptr;
    removed += equal;
  }
  return PyLong_FromLong(removed);
}
PyObject* or_none(PyObject* object) { return Py_NewRef(object ? object : Py_None); }
PyObject* method_get_coro(PyObject* self, PyObject*) { return or_none(cast(self)->coroutine); }
PyObject* method_get_context(PyObject* self, PyObject*) { return or_none(cast(self)->context); }
PyObject* method_get_loop(PyObject* self, PyObject*) { return or_none(cast(self)->loop); }
PyObject* method_get_name(PyObject* self, PyObject*) {
  Task* task = cast(self);
  if (!task->name)
    task->name = PyUnicode_FromFormat("Request-%llu", static_cast<unsigned long long>(task->id));
  return Py_XNewRef(task->name);
}
PyObject* method_set_name(PyObject* self, PyObject* name) {
  PyObject* text = PyObject_Str(name);
  if (!text) return nullptr;
  Py_XSETREF(cast(self)->name, text);
  Py_RETURN_NONE;
}
PyObject* method_forbidden(PyObject*, PyObject*) {
  PyErr_SetString(PyExc_RuntimeError, "Task does not support set_result and set_exception operations");
  return nullptr;
}
PyObject* method_get_stack(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* keywords[] = {"limit", nullptr};
  PyObject* limit = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O", const_cast<char**>(keywords), &limit)) return nullptr;
  return PyObject_CallFunctionObjArgs(rt.task_get_stack, self, limit, nullptr);
}
PyObject* method_print_stack(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* keywords[] = {"limit", "file", nullptr};
  PyObject *limit = Py_None, *file = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OO", const_cast<char**>(keywords), &limit, &file)) return nullptr;
  return PyObject_CallFunctionObjArgs(rt.task_print_stack, self, limit, file, nullptr);
}
PyObject* repr(PyObject* self) {
  static const char* const names[] = {"pending", "cancelled", "finished"};
  PyObject* name = method_get_name(self, nullptr);
  if (!name) return nullptr;
  PyObject* coroutine = cast(self)->coroutine;
  PyObject* text = PyUnicode_FromFormat("<Task %s name=%R coro=%R>", names[static_cast<int>(cast(self)->state)], name,
                                        coroutine ? coroutine : Py_None);
  Py_DECREF(name);
  return text;
}

PyObject* get_class(PyObject*, void*) { return Py_NewRef(reinterpret_cast<PyObject*>(rt.asyncio_task)); }
PyObject* get_blocking(PyObject* self, void*) { return PyBool_FromLong(cast(self)->blocking); }
int set_blocking(PyObject* self, PyObject* value, void*) {
  cast(self)->blocking = value && PyObject_IsTrue(value) == 1;
  return 0;
}
PyObject* get_must_cancel(PyObject* self, void*) { return PyBool_FromLong(cast(self)->must_cancel); }
int set_must_cancel(PyObject* self, PyObject* value, void*) {  // anyio writes it
  cast(self)->must_cancel = value && PyObject_IsTrue(value) == 1;
  return 0;
}
PyObject* get_waiter(PyObject* self, void*) { return or_none(cast(self)->waiter); }
PyObject* get_callbacks(PyObject* self, void*) {
  PyObject* list = cast(self)->callbacks;
  return list ? PyList_GetSlice(list, 0, PyList_GET_SIZE(list)) : none();
}
PyObject* get_exception(PyObject* self, void*) {
  return or_none(cast(self)->state == Outcome::finished ? cast(self)->exception : nullptr);
}
PyObject* get_result(PyObject* self, void*) { return or_none(cast(self)->value); }
PyObject* get_cancel_message(PyObject* self, void*) { return or_none(cast(self)->cancel_message); }
PyObject* get_none(PyObject*, void*) { return none(); }
PyObject* get_false(PyObject*, void*) { Py_RETURN_FALSE; }
int set_ignored(PyObject*, PyObject*, void*) { return 0; }  // asyncio writes these flags; they have no meaning here
PyObject* get_state(PyObject* self, void*) {
  static const char* const names[] = {"PENDING", "CANCELLED", "FINISHED"};
  return PyUnicode_FromString(names[static_cast<int>(cast(self)->state)]);
}
PyObject* get_coro_attr(PyObject* self, void*) { return method_get_coro(self, nullptr); }
PyObject* get_loop_attr(PyObject* self, void*) { return method_get_loop(self, nullptr); }

PyMethodDef task_methods[] = {{"cancel", as_function(method_cancel), METH_VARARGS | METH_KEYWORDS, nullptr},
                              {"cancelling", method_cancelling, METH_NOARGS, nullptr},
                              {"uncancel", method_uncancel, METH_NOARGS, nullptr},
                              {"done", method_done, METH_NOARGS, nullptr},
                              {"cancelled", method_cancelled, METH_NOARGS, nullptr},
                              {"result", method_result, METH_NOARGS, nullptr},
                              {"exception", method_exception, METH_NOARGS, nullptr},
                              {"add_done_callback", as_function(method_add_done_callback),
                               METH_VARARGS | METH_KEYWORDS, nullptr},
                              {"remove_done_callback", method_remove_done_callback, METH_O, nullptr},
                              {"get_coro", method_get_coro, METH_NOARGS, nullptr},
                              {"get_context", method_get_context, METH_NOARGS, nullptr},
                              {"get_loop", method_get_loop, METH_NOARGS, nullptr},
                              {"get_name", method_get_name, METH_NOARGS, nullptr},
                              {"set_name", method_set_name, METH_O, nullptr},
                              {"set_result", method_forbidden, METH_O, nullptr},
                              {"set_exception", method_forbidden, METH_O, nullptr},
                              {"get_stack", as_function(method_get_stack), METH_VARARGS | METH_KEYWORDS, nullptr},
                              {"print_stack", as_function(method_print_stack), METH_VARARGS | METH_KEYWORDS, nullptr},
                              {}};
PyGetSetDef task_getset[] = {{"__class__", get_class, nullptr, nullptr, nullptr},
                             {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
                             {"_asyncio_future_blocking", get_blocking, set_blocking, nullptr, nullptr},
                             {"_must_cancel", get_must_cancel, set_must_cancel, nullptr, nullptr},
                             {"_fut_waiter", get_waiter, nullptr, nullptr, nullptr},
                             {"_callbacks", get_callbacks, nullptr, nullptr, nullptr},
                             {"_exception", get_exception, nullptr, nullptr, nullptr},
                             {"_result", get_result, nullptr, nullptr, nullptr},
                             {"_state", get_state, nullptr, nullptr, nullptr},
                             {"_coro", get_coro_attr, nullptr, nullptr, nullptr},
                             {"_loop", get_loop_attr, nullptr, nullptr, nullptr},
                             {"_source_traceback", get_none, nullptr, nullptr, nullptr},
                             {"_cancel_message", get_cancel_message, set_ignored, nullptr, nullptr},
                             {"_log_traceback", get_false, set_ignored, nullptr, nullptr},
                             {"_log_destroy_pending", get_false, set_ignored, nullptr, nullptr},
                             {"_asyncio_awaited_by", get_none, nullptr, nullptr, nullptr},
                             {}};
PyMemberDef task_members[] = {{"__weaklistoffset__", T_PYSSIZET, offsetof(Task, weakrefs), READONLY, nullptr},
                              {"__dictoffset__", T_PYSSIZET, offsetof(Task, dict), READONLY, nullptr},
                              {}};
PyType_Slot task_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(task_dealloc)},
                            {Py_tp_traverse, reinterpret_cast<void*>(task_traverse)},
                            {Py_tp_clear, reinterpret_cast<void*>(task_clear)},
                            {Py_tp_repr, reinterpret_cast<void*>(repr)},
                            {Py_tp_iter, reinterpret_cast<void*>(task_iter)},
                            {Py_am_await, reinterpret_cast<void*>(task_iter)},
                            {Py_tp_methods, task_methods},
                            {Py_tp_getset, task_getset},
                            {Py_tp_members, task_members},
                            {0, nullptr}};

// ---------------------------------------------------------------- real tasks standing in

PyObject* real_done_call(PyObject* self, PyObject* const* args, std::size_t, PyObject*) {
  auto* callback = reinterpret_cast<RealDone*>(self);
  PyObject* value = PyObject_CallMethodNoArgs(args[0], rt.result);
  PyObject* exception = value ? nullptr : take_exception();
  callback->done(callback->arg, value, exception);
  Py_XDECREF(value);
  Py_XDECREF(exception);
  Py_RETURN_NONE;
}
void real_done_dealloc(PyObject* self) {
  PyObject_Free(self);
  Py_DECREF(RealDoneType);
}

/// The coroutine in an asyncio.Task (steals it): for loops whose tasks somebody else wants to see.
PyObject* start_real_task(PyObject* loop, PyObject* coroutine, PyObject* context, TaskDone done, void* arg) {
  PyObject* stack[3] = {loop, coroutine, context};
  PyObject* task =
      PyObject_VectorcallMethod(rt.create_task, stack, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, rt.kw_context);
  Py_DECREF(coroutine);
  auto* callback = task ? PyObject_New(RealDone, RealDoneType) : nullptr;
  if (!callback) {
    Py_XDECREF(task);
    return nullptr;
  }
  callback->done = done;
  callback->arg = arg;
  callback->call = real_done_call;
  PyObject* added =
      PyObject_CallMethodOneArg(task, rt.add_done_callback, reinterpret_cast<PyObject*>(callback));
  Py_DECREF(callback);
  if (!added) Py_CLEAR(task);
  Py_XDECREF(added);
  return task;
}

bool wants_real_tasks(PyObject* loop) {
  LoopCore* core = as_loop_core(loop);
  if (core && core->debug) return true;
  PyObject* factory = PyObject_GetAttr(loop, rt.task_factory);
  if (!factory) {
    PyErr_Clear();
    return false;
  }
  bool custom = factory != Py_None && factory != rt.eager_task_factory;
  Py_DECREF(factory);
  return custom;
}

PyMemberDef vectorcall_member(std::size_t offset) {
  return {"__vectorcalloffset__", T_PYSSIZET, static_cast<Py_ssize_t>(offset), READONLY, nullptr};
}

PyTypeObject* make_type(PyObject* module, const char* name, std::size_t size, unsigned long flags, PyType_Slot* slots) {
  PyType_Spec spec = {name, static_cast<int>(size), 0,
                      static_cast<unsigned int>(Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | flags), slots};
  return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

}  // namespace

PyObject* task_call(PyObject* callable, PyObject* const* args, std::size_t nargsf, PyObject* kwnames, TaskDone done,
                    void* arg) {
  PyObject* loop = api->current_loop();
  if (!loop) return nullptr;
  PyObject* context = PyContext_CopyCurrent();
  if (!context) return nullptr;
  Task* task = nullptr;
  if (PyContext_Enter(context) < 0) {
    Py_DECREF(context);
    return nullptr;
  }
  PyObject* answer = nullptr;
  int rc = 0;
  if (FASTERAPI_UNLIKELY(wants_real_tasks(loop))) {
    PyObject* coroutine = PyObject_Vectorcall(callable, args, nargsf, kwnames);
    if (coroutine) {
      answer = start_real_task(loop, coroutine, context, done, arg);
    } else {
      PyObject* exception = take_exception();
      done(arg, nullptr, exception);
      Py_DECREF(exception);
      answer = none();
    }
  } else if ((task = task_new(loop, context))) {
    task->done = done;
    task->done_arg = arg;
    // The call itself is inside too: a decorator that returns a coroutine is already the handler's code.
    PySendResult sent = PYGEN_ERROR;
    PyObject* value = nullptr;
    {
      CurrentTask current(task);
      if (current.ok() && (task->coroutine = PyObject_Vectorcall(callable, args, nargsf, kwnames))) {
        if (FASTERAPI_LIKELY(PyCoro_CheckExact(task->coroutine))) {
          sent = PyIter_Send(task->coroutine, Py_None, &value);
        } else if (Py_TYPE(task->coroutine)->tp_as_async && Py_TYPE(task->coroutine)->tp_as_async->am_await) {
          PyObject* iterator = Py_TYPE(task->coroutine)->tp_as_async->am_await(task->coroutine);
          if (iterator) {
            Py_SETREF(task->coroutine, iterator);
            sent = PyIter_Send(task->coroutine, Py_None, &value);
          }
        } else if (PyIter_Check(task->coroutine)) {  // a generator based coroutine
          sent = PyIter_Send(task->coroutine, Py_None, &value);
        } else {  // not a coroutine: its value is the result
          value = Py_NewRef(task->coroutine);
          sent = PYGEN_RETURN;
        }
      }
    }
    rc = settle(task, sent, value);
    answer = as_object(task);
  }
  if (rc < 0 || !answer) {
    ErrorGuard keep;
    if (PyContext_Exit(context) < 0) PyErr_Clear();
  } else if (PyContext_Exit(context) < 0) {
    rc = -1;
  }
  Py_DECREF(context);
  if (rc < 0) Py_CLEAR(answer);
  return answer;
}

int task_cancel(PyObject* task, PyObject* message) {
  if (Py_IS_TYPE(task, TaskType)) return request_cancel(cast(task), message ? message : Py_None) < 0 ? -1 : 0;
  if (task == Py_None) return 0;
  PyObject* stack[2] = {task, message ? message : Py_None};
  PyObject* done = PyObject_VectorcallMethod(rt.cancel, stack, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, rt.kw_msg);
  Py_XDECREF(done);
  return done ? 0 : -1;
}

bool add_native_task(PyObject* module) {
  init_fast_future(fast_futures[0], rt.asyncio_future);
  init_fast_future(fast_futures[1], rt.asyncio_task);
  static PyMemberDef wake_members[] = {vectorcall_member(offsetof(Wake, call)),
                                       {"__self__", T_OBJECT, offsetof(Wake, task), READONLY, nullptr},
                                       {}};
  static PyMemberDef real_done_members[] = {vectorcall_member(offsetof(RealDone, call)), {}};
  PyType_Slot wake_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(wake_dealloc)},
                              {Py_tp_traverse, reinterpret_cast<void*>(wake_traverse)},
                              {Py_tp_clear, reinterpret_cast<void*>(wake_clear)},
                              {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                              {Py_tp_members, wake_members},
                              {0, nullptr}};
  PyType_Slot iter_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(iter_dealloc)},
                              {Py_tp_traverse, reinterpret_cast<void*>(iter_traverse)},
                              {Py_tp_clear, reinterpret_cast<void*>(iter_clear)},
                              {Py_tp_iter, reinterpret_cast<void*>(PyObject_SelfIter)},
                              {Py_tp_iternext, reinterpret_cast<void*>(iter_next)},
                              {0, nullptr}};
  PyType_Slot real_done_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(real_done_dealloc)},
                                   {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                                   {Py_tp_members, real_done_members},
                                   {0, nullptr}};
  TaskType =
      make_type(module, "fasterapi_core._core.NativeTask", sizeof(Task), Py_TPFLAGS_HAVE_GC, task_slots);
  WakeType = make_type(module, "fasterapi_core._core.TaskWakeup", sizeof(Wake),
                       Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL, wake_slots);
  TaskIterType =
      make_type(module, "fasterapi_core._core.TaskIterator", sizeof(TaskIter), Py_TPFLAGS_HAVE_GC, iter_slots);
  RealDoneType = make_type(module, "fasterapi_core._core.TaskDone", sizeof(RealDone), Py_TPFLAGS_HAVE_VECTORCALL,
                           real_done_slots);
  return TaskType && WakeType && TaskIterType && RealDoneType && PyModule_AddType(module, TaskType) == 0;
}

}  // namespace fasterapi::core::py

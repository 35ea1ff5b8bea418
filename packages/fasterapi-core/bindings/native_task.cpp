#include "native_task.hpp"

#include "task_object.hpp"

namespace fasterapi::core::py {
namespace {

/// The callback that a future gets: vectorcall into the task's next step.
struct Wake {
  PyObject_HEAD
  Task* task;
  PyObject* throw_exception;  // set: the step throws it
  vectorcallfunc call;
};

/// Done-callback of a real asyncio.Task that stands in.
struct RealDone {
  PyObject_HEAD
  TaskDone done;
  void* arg;
  vectorcallfunc call;
};

PyTypeObject *WakeType, *RealDoneType;

constexpr int kPoolSize = 1024;
Task* task_pool[kPoolSize];
int tasks_pooled = 0;
Wake* wake_pool[kPoolSize];
int wakes_pooled = 0;
std::uint64_t next_id = 0;


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
  if (is_future(future)) {
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
  if (is_future(value)) {
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
  } else if (PyObject* future = args[0]; is_future(future)) {
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

bool native_tasks = true;  // see _native_tasks.py: off when the self-test fails or the user says so

bool wants_real_tasks(PyObject* loop) {
  if (FASTERAPI_UNLIKELY(!native_tasks)) return true;
  if (LoopCore* core = as_loop_core(loop))
    return core->debug || (core->task_factory && core->task_factory != rt.eager_task_factory);
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

}  // namespace

void task_dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  if (as_task(self)->weakrefs) PyObject_ClearWeakRefs(self);
  task_clear(self);
  if (tasks_pooled < kPoolSize)
    task_pool[tasks_pooled++] = as_task(self);
  else
    PyObject_GC_Del(self);
  Py_DECREF(TaskType);
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

PyObject* set_native_tasks(PyObject*, PyObject* value) {
  int on = PyObject_IsTrue(value);
  if (on < 0) return nullptr;
  return PyBool_FromLong(std::exchange(native_tasks, on == 1));
}

int task_cancel(PyObject* task, PyObject* message) {
  if (Py_IS_TYPE(task, TaskType)) return request_cancel(as_task(task), message ? message : Py_None) < 0 ? -1 : 0;
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
  PyType_Slot real_done_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(real_done_dealloc)},
                                   {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                                   {Py_tp_members, real_done_members},
                                   {0, nullptr}};
  WakeType = make_task_helper_type(module, "fasterapi_core._core.TaskWakeup", sizeof(Wake),
                                   Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL, wake_slots);
  RealDoneType = make_task_helper_type(module, "fasterapi_core._core.TaskDone", sizeof(RealDone),
                                       Py_TPFLAGS_HAVE_VECTORCALL, real_done_slots);
  return WakeType && RealDoneType && add_task_type(module);
}

}  // namespace fasterapi::core::py

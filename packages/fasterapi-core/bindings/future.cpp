#include "future.hpp"

#include "loop.hpp"

namespace fasterapi::core::py {

PyTypeObject* FutureType = nullptr;
PyTypeObject* CallType = nullptr;

namespace {

constexpr int kPoolSize = 512;
FutureObject* pool[kPoolSize];
int pooled = 0;

FutureObject* cast(PyObject* self) { return reinterpret_cast<FutureObject*>(self); }

PyObject* invalid_state(const char* text) {
  PyErr_SetString(rt.invalid_state_error, text);
  return nullptr;
}

int schedule(FutureObject* future, PyObject* callback, PyObject* context) {
  return loop_call_soon(future->loop, callback, reinterpret_cast<PyObject*>(future), context);
}

/// The outcome is known: every callback goes to the loop, in order.
int schedule_callbacks(FutureObject* future) {
  future->on_cancel = nullptr;
  int rc = 0;
  if (PyObject* callback = std::exchange(future->callback, nullptr)) {
    PyObject* context = std::exchange(future->callback_context, nullptr);
    rc = schedule(future, callback, context);
    Py_DECREF(callback);
    Py_DECREF(context);
  }
  if (PyObject* more = std::exchange(future->more, nullptr)) {
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(more); ++i) {
      PyObject* pair = PyList_GET_ITEM(more, i);
      rc = schedule(future, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
    }
    Py_DECREF(more);
  }
  return rc;
}

PyObject* make_cancelled(FutureObject* future) {
  return future->cancel_message && future->cancel_message != Py_None
             ? PyObject_CallOneArg(rt.cancelled_error, future->cancel_message)
             : PyObject_CallNoArgs(rt.cancelled_error);
}

bool cancel(FutureObject* future, PyObject* message) {
  future->log_exception = false;
  if (future->state != Outcome::pending) return false;
  future->state = Outcome::cancelled;
  Py_XSETREF(future->cancel_message, Py_XNewRef(message));
  if (auto* fn = std::exchange(future->on_cancel, nullptr)) fn(future->on_cancel_arg);
  if (schedule_callbacks(future) < 0) PyErr_WriteUnraisable(reinterpret_cast<PyObject*>(future));
  return true;
}

PyObject* raise_outcome(FutureObject* future) {
  if (future->state == Outcome::cancelled) {
    if (PyObject* error = make_cancelled(future)) {
      PyErr_SetObject(rt.cancelled_error, error);
      Py_DECREF(error);
    }
    return nullptr;
  }
  future->log_exception = false;
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(future->exception)), future->exception);
  return nullptr;
}

// ---- awaiting

PyObject* self_iter(PyObject* self) { return Py_NewRef(self); }

/// 1 done with a result, 0 must yield, -1 raised.
int step(FutureObject* future) {
  if (future->state == Outcome::pending) {
    if (future->blocking) {
      PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
      return -1;
    }
    future->blocking = true;
    return 0;
  }
  if (future->state == Outcome::finished && !future->exception) return 1;
  raise_outcome(future);
  return -1;
}

PyObject* iter_next(PyObject* self) {
  int rc = step(cast(self));
  if (rc == 0) return Py_NewRef(self);
  return rc < 0 ? nullptr : stop_iteration(cast(self)->value);
}

PySendResult send(PyObject* self, PyObject*, PyObject** out) {
  int rc = step(cast(self));
  *out = rc < 0 ? nullptr : Py_NewRef(rc == 0 ? self : cast(self)->value);
  return rc < 0 ? PYGEN_ERROR : rc == 0 ? PYGEN_NEXT : PYGEN_RETURN;
}

PyObject* method_throw(PyObject*, PyObject* const* args, Py_ssize_t nargs) {
  PyObject* type = nargs > 0 ? args[0] : nullptr;
  if (type && PyExceptionInstance_Check(type)) {
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(type)), type);
  } else if (type && PyExceptionClass_Check(type)) {
    PyErr_SetObject(type, nargs > 1 ? args[1] : nullptr);
  } else {
    PyErr_SetString(PyExc_TypeError, "exceptions must be classes deriving BaseException or instances");
  }
  return nullptr;
}

PyObject* method_send(PyObject* self, PyObject*) {
  PyObject* value;
  PySendResult sent = send(self, nullptr, &value);
  if (sent != PYGEN_RETURN) return value;
  PyObject* nothing = stop_iteration(value);
  if (!nothing && !PyErr_Occurred()) PyErr_SetNone(PyExc_StopIteration);
  Py_DECREF(value);
  return nullptr;
}
PyObject* method_close(PyObject* self, PyObject*) {
  cancel(cast(self), nullptr);
  Py_RETURN_NONE;
}

// ---- methods

PyObject* method_result(PyObject* self, PyObject*) {
  FutureObject* future = cast(self);
  if (future->state == Outcome::pending) return invalid_state("Result is not ready.");
  if (future->state == Outcome::finished && !future->exception) return Py_NewRef(future->value);
  return raise_outcome(future);
}
PyObject* method_exception(PyObject* self, PyObject*) {
  FutureObject* future = cast(self);
  if (future->state == Outcome::pending) return invalid_state("Exception is not set.");
  if (future->state == Outcome::cancelled) return raise_outcome(future);
  future->log_exception = false;
  return Py_NewRef(future->exception ? future->exception : Py_None);
}
PyObject* method_done(PyObject* self, PyObject*) { return PyBool_FromLong(cast(self)->state != Outcome::pending); }
PyObject* method_cancelled(PyObject* self, PyObject*) {
  return PyBool_FromLong(cast(self)->state == Outcome::cancelled);
}
PyObject* method_cancel(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* keywords[] = {"msg", nullptr};
  PyObject* message = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:cancel", const_cast<char**>(keywords), &message)) return nullptr;
  return PyBool_FromLong(cancel(cast(self), message));
}
PyObject* method_get_loop(PyObject* self, PyObject*) { return Py_NewRef(cast(self)->loop); }
PyObject* method_set_result(PyObject* self, PyObject* value) {
  if (cast(self)->state != Outcome::pending) return invalid_state("invalid state: the future is done");
  if (future_set_result(self, value) < 0) return nullptr;
  Py_RETURN_NONE;
}
PyObject* method_set_exception(PyObject* self, PyObject* value) {
  if (cast(self)->state != Outcome::pending) return invalid_state("invalid state: the future is done");
  PyObject* exception = PyExceptionClass_Check(value) ? PyObject_CallNoArgs(value) : Py_NewRef(value);
  if (!exception) return nullptr;
  int rc = -1;
  if (!PyExceptionInstance_Check(exception))
    PyErr_SetString(PyExc_TypeError, "invalid exception object");
  else if (PyErr_GivenExceptionMatches(exception, PyExc_StopIteration))
    PyErr_SetString(PyExc_TypeError, "StopIteration interacts badly with generators and cannot be raised into a Future");
  else
    rc = future_set_exception(self, exception);
  Py_DECREF(exception);
  if (rc < 0) return nullptr;
  Py_RETURN_NONE;
}
PyObject* method_add_done_callback(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  if (nargs != 1 || (kwnames && PyTuple_GET_SIZE(kwnames) > 1)) {
    PyErr_SetString(PyExc_TypeError, "add_done_callback(fn, *, context=None)");
    return nullptr;
  }
  PyObject* context = nullptr;
  if (kwnames && PyTuple_GET_SIZE(kwnames) == 1) {
    if (PyUnicode_Compare(PyTuple_GET_ITEM(kwnames, 0), rt.context) != 0) {
      if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "add_done_callback() takes fn and context");
      return nullptr;
    }
    if (args[1] != Py_None) context = args[1];
  }
  if (future_add_callback(cast(self), args[0], context) < 0) return nullptr;
  Py_RETURN_NONE;
}
PyObject* method_remove_done_callback(PyObject* self, PyObject* callback) {
  FutureObject* future = cast(self);
  long removed = 0;
  if (future->callback) {
    int equal = PyObject_RichCompareBool(future->callback, callback, Py_EQ);
    if (equal < 0) return nullptr;
    if (equal) {
      Py_CLEAR(future->callback);
      Py_CLEAR(future->callback_context);
      ++removed;
    }
  }
  for (Py_ssize_t i = future->more ? PyList_GET_SIZE(future->more) : 0; i-- > 0;) {
    PyObject* pair = PyList_GET_ITEM(future->more, i);
    int equal = PyObject_RichCompareBool(PyTuple_GET_ITEM(pair, 0), callback, Py_EQ);
    if (equal < 0 || (equal && PySequence_DelItem(future->more, i) < 0)) return nullptr;
    if (!future->more) break;
    removed += equal;
  }
  return PyLong_FromLong(removed);
}
PyObject* method_get(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* keywords[] = {"timeout", nullptr};
  PyObject* timeout = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:get", const_cast<char**>(keywords), &timeout)) return nullptr;
  if (cast(self)->state != Outcome::pending) return method_result(self, nullptr);
  PyObject* function = support("future_get");
  if (!function) return nullptr;
  PyObject* value = PyObject_CallFunctionObjArgs(function, self, timeout, nullptr);
  Py_DECREF(function);
  return value;
}
PyObject* method_then(PyObject* self, PyObject* callable) {
  if (!PyCallable_Check(callable)) {
    PyErr_SetString(PyExc_TypeError, "then() needs a callable");
    return nullptr;
  }
  PyObject* target = future_new(cast(self)->loop);
  PyObject* function = target ? support("future_then") : nullptr;
  PyObject* done = function ? PyObject_CallFunctionObjArgs(function, self, target, callable, nullptr) : nullptr;
  Py_XDECREF(function);
  if (!done) Py_CLEAR(target);
  Py_XDECREF(done);
  return target;
}
PyObject* method_class_getitem(PyObject* type, PyObject* item) { return Py_GenericAlias(type, item); }

// ---- attributes that asyncio looks at

PyObject* get_blocking(PyObject* self, void*) { return PyBool_FromLong(cast(self)->blocking); }
int set_blocking(PyObject* self, PyObject* value, void*) {
  if (!value) {
    PyErr_SetString(PyExc_AttributeError, "cannot delete attribute");
    return -1;
  }
  int truth = PyObject_IsTrue(value);
  if (truth < 0) return -1;
  cast(self)->blocking = truth;
  return 0;
}
PyObject* get_state(PyObject* self, void*) {
  static const char* const names[] = {"PENDING", "CANCELLED", "FINISHED"};
  return PyUnicode_FromString(names[static_cast<int>(cast(self)->state)]);
}
PyObject* get_loop_attr(PyObject* self, void*) { return Py_NewRef(cast(self)->loop); }
PyObject* get_exception_attr(PyObject* self, void*) {
  return Py_NewRef(cast(self)->exception ? cast(self)->exception : Py_None);
}
PyObject* get_result_attr(PyObject* self, void*) { return Py_NewRef(cast(self)->value ? cast(self)->value : Py_None); }
PyObject* get_callbacks(PyObject* self, void*) {
  FutureObject* future = cast(self);
  if (!future->callback && !future->more) return none();
  PyObject* list = PyList_New(0);
  if (list && future->callback) {
    PyObject* pair = PyTuple_Pack(2, future->callback, future->callback_context);
    if (!pair || PyList_Append(list, pair) < 0) Py_CLEAR(list);
    Py_XDECREF(pair);
  }
  if (list && future->more && PyList_SetSlice(list, PyList_GET_SIZE(list), PyList_GET_SIZE(list), future->more) < 0)
    Py_CLEAR(list);
  return list;
}
PyObject* get_none(PyObject*, void*) { return none(); }
PyObject* get_cancel_message(PyObject* self, void*) {
  return Py_NewRef(cast(self)->cancel_message ? cast(self)->cancel_message : Py_None);
}
PyObject* get_log(PyObject* self, void*) { return PyBool_FromLong(cast(self)->log_exception); }
int set_log(PyObject* self, PyObject* value, void*) {
  if (!value || PyObject_IsTrue(value) != 0) {
    PyErr_SetString(PyExc_ValueError, "_log_traceback can only be set to False");
    return -1;
  }
  cast(self)->log_exception = false;
  return 0;
}

PyObject* repr(PyObject* self) {
  FutureObject* future = cast(self);
  if (future->state == Outcome::pending) return PyUnicode_FromString("<Future pending>");
  if (future->state == Outcome::cancelled) return PyUnicode_FromString("<Future cancelled>");
  return future->exception ? PyUnicode_FromFormat("<Future finished exception=%R>", future->exception)
                           : PyUnicode_FromFormat("<Future finished result=%R>", future->value);
}

// ---- life

PyObject* tp_new(PyTypeObject*, PyObject* args, PyObject* kwargs) {
  static const char* keywords[] = {"loop", nullptr};
  PyObject* loop = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O:Future", const_cast<char**>(keywords), &loop)) return nullptr;
  return future_new(loop == Py_None ? nullptr : loop);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  FutureObject* future = cast(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(future->loop);
  Py_VISIT(future->value);
  Py_VISIT(future->exception);
  Py_VISIT(future->callback);
  Py_VISIT(future->callback_context);
  Py_VISIT(future->more);
  Py_VISIT(future->cancel_message);
  return 0;
}
int clear(PyObject* self) {
  FutureObject* future = cast(self);
  Py_CLEAR(future->loop);
  Py_CLEAR(future->value);
  Py_CLEAR(future->exception);
  Py_CLEAR(future->callback);
  Py_CLEAR(future->callback_context);
  Py_CLEAR(future->more);
  Py_CLEAR(future->cancel_message);
  return 0;
}
void finalize(PyObject* self) {
  FutureObject* future = cast(self);
  if (!future->log_exception || !future->exception) return;
  future->log_exception = false;
  ErrorGuard keep;
  PyObject* function = support("report_lost_exception");
  PyObject* done = function ? PyObject_CallFunctionObjArgs(function, self, future->exception, nullptr) : nullptr;
  if (!done) PyErr_WriteUnraisable(self);
  Py_XDECREF(done);
  Py_XDECREF(function);
}
void dealloc(PyObject* self) {
  FutureObject* future = cast(self);
  if (FASTERAPI_UNLIKELY(future->log_exception)) {
    if (PyObject_CallFinalizerFromDealloc(self) < 0) return;
  }
  PyObject_GC_UnTrack(self);
  if (future->weakrefs) PyObject_ClearWeakRefs(self);
  clear(self);
  PyTypeObject* type = Py_TYPE(self);
  if (pooled < kPoolSize && !PyObject_GC_IsFinalized(self))
    pool[pooled++] = future;
  else
    PyObject_GC_Del(self);
  Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"result", method_result, METH_NOARGS, "Return the result, or raise the exception; InvalidStateError while pending."},
    {"exception", method_exception, METH_NOARGS, "Return the exception or None; InvalidStateError while pending."},
    {"done", method_done, METH_NOARGS, "Return True when there is a result, an exception or a cancellation."},
    {"cancelled", method_cancelled, METH_NOARGS, "Return True when the future was cancelled."},
    {"cancel", as_function(method_cancel), METH_VARARGS | METH_KEYWORDS,
     "Cancel the future and schedule its callbacks; False when it is done already."},
    {"get_loop", method_get_loop, METH_NOARGS, "Return the event loop that the future belongs to."},
    {"set_result", method_set_result, METH_O, "Finish with a result; InvalidStateError when done already."},
    {"set_exception", method_set_exception, METH_O, "Finish with an exception; InvalidStateError when done already."},
    {"add_done_callback", as_function(method_add_done_callback), METH_FASTCALL | METH_KEYWORDS,
     "Call fn(future) through the loop once the future is done."},
    {"remove_done_callback", method_remove_done_callback, METH_O, "Remove a callback; returns how many were removed."},
    {"get", as_function(method_get), METH_VARARGS | METH_KEYWORDS,
     "Wait for the result in another thread than the loop's; timeout in seconds raises TimeoutError."},
    {"then", method_then, METH_O, "Return a future for fn(result); a future returned by fn is waited for."},
    {"throw", as_function(method_throw), METH_FASTCALL, nullptr},
    {"__class_getitem__", method_class_getitem, METH_O | METH_CLASS, nullptr},
    {}};
PyMethodDef call_methods[] = {
    {"send", method_send, METH_O, "Resume as a coroutine."},
    {"close", method_close, METH_NOARGS, "Cancel when still pending."},
    {}};
PyGetSetDef getset[] = {{"_asyncio_future_blocking", get_blocking, set_blocking, nullptr, nullptr},
                        {"_state", get_state, nullptr, nullptr, nullptr},
                        {"_loop", get_loop_attr, nullptr, nullptr, nullptr},
                        {"_exception", get_exception_attr, nullptr, nullptr, nullptr},
                        {"_result", get_result_attr, nullptr, nullptr, nullptr},
                        {"_callbacks", get_callbacks, nullptr, nullptr, nullptr},
                        {"_source_traceback", get_none, nullptr, nullptr, nullptr},
                        {"_cancel_message", get_cancel_message, nullptr, nullptr, nullptr},
                        {"_log_traceback", get_log, set_log, nullptr, nullptr},
                        {"_asyncio_awaited_by", get_none, nullptr, nullptr, nullptr},
                        {}};
PyMemberDef members[] = {{"__weaklistoffset__", T_PYSSIZET, offsetof(FutureObject, weakrefs), READONLY, nullptr}, {}};
PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(tp_new)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_finalize, reinterpret_cast<void*>(finalize)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_tp_repr, reinterpret_cast<void*>(repr)},
                       {Py_am_await, reinterpret_cast<void*>(self_iter)},
                       {Py_tp_iter, reinterpret_cast<void*>(self_iter)},
                       {Py_tp_iternext, reinterpret_cast<void*>(iter_next)},
                       {Py_am_send, reinterpret_cast<void*>(send)},
                       {Py_tp_methods, methods},
                       {Py_tp_getset, getset},
                       {Py_tp_members, members},
                       {0, nullptr}};
PyType_Spec spec = {"fasterapi_core.Future", sizeof(FutureObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, slots};

}  // namespace

namespace {

PyObject* make(PyTypeObject* type, PyObject* loop) {
  if (!loop && !(loop = api->current_loop())) return nullptr;
  FutureObject* future;
  if (pooled) {
    future = pool[--pooled];
    PyObject_Init(reinterpret_cast<PyObject*>(future), type);
  } else if (!(future = PyObject_GC_New(FutureObject, type))) {
    return nullptr;
  }
  std::memset(reinterpret_cast<char*>(future) + sizeof(PyObject), 0, sizeof(FutureObject) - sizeof(PyObject));
  future->loop = Py_NewRef(loop);
  PyObject_GC_Track(future);
  return reinterpret_cast<PyObject*>(future);
}

}  // namespace

PyObject* future_new(PyObject* loop) { return make(FutureType, loop); }
PyObject* call_new(PyObject* loop) { return make(CallType, loop); }

int future_set_result(PyObject* self, PyObject* value) {
  FutureObject* future = cast(self);
  if (future->state != Outcome::pending) return 0;
  future->value = Py_NewRef(value);
  future->state = Outcome::finished;
  return schedule_callbacks(future);
}

int future_set_exception(PyObject* self, PyObject* exception) {
  FutureObject* future = cast(self);
  if (future->state != Outcome::pending) return 0;
  future->exception = Py_NewRef(exception);
  future->state = Outcome::finished;
  future->log_exception = true;
  return schedule_callbacks(future);
}

int future_done(PyObject* self) { return cast(self)->state != Outcome::pending; }

void future_on_cancel(PyObject* self, void (*fn)(void*) noexcept, void* arg) {
  cast(self)->on_cancel = cast(self)->state == Outcome::pending ? fn : nullptr;
  cast(self)->on_cancel_arg = arg;
}

int future_add_callback(FutureObject* future, PyObject* callback, PyObject* context) {
  context = context ? Py_NewRef(context) : PyContext_CopyCurrent();
  if (!context) return -1;
  int rc = 0;
  if (future->state != Outcome::pending) {
    rc = schedule(future, callback, context);
  } else if (!future->callback && !future->more) {
    future->callback = Py_NewRef(callback);
    future->callback_context = Py_NewRef(context);
  } else {
    PyObject* pair = PyTuple_Pack(2, callback, context);
    if (!future->more) future->more = PyList_New(0);
    rc = pair && future->more ? PyList_Append(future->more, pair) : -1;
    Py_XDECREF(pair);
  }
  Py_DECREF(context);
  return rc;
}

bool add_future(PyObject* module) {
  FutureType = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
  if (!FutureType || PyModule_AddType(module, FutureType) < 0) return false;
  // Nobody else may derive from a type whose memory is pooled.
  PyType_Slot call_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                              {Py_tp_finalize, reinterpret_cast<void*>(finalize)},
                              {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                              {Py_tp_clear, reinterpret_cast<void*>(clear)},
                              {Py_tp_methods, call_methods},
                              {0, nullptr}};
  PyType_Spec call_spec = {"fasterapi_core._core.Call", sizeof(FutureObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, call_slots};
  FutureType->tp_flags |= Py_TPFLAGS_BASETYPE;
  CallType = reinterpret_cast<PyTypeObject*>(
      PyType_FromModuleAndSpec(module, &call_spec, reinterpret_cast<PyObject*>(FutureType)));
  FutureType->tp_flags &= ~Py_TPFLAGS_BASETYPE;
  if (!CallType || PyModule_AddType(module, CallType) < 0) return false;
  PyObject* abc = PyImport_ImportModule("collections.abc");
  PyObject* coroutine = abc ? PyObject_GetAttrString(abc, "Coroutine") : nullptr;
  PyObject* registered =
      coroutine ? PyObject_CallMethod(coroutine, "register", "O", reinterpret_cast<PyObject*>(CallType)) : nullptr;
  Py_XDECREF(abc);
  Py_XDECREF(coroutine);
  Py_XDECREF(registered);
  return registered != nullptr;
}

}  // namespace fasterapi::core::py

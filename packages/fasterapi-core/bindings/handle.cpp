// asyncio's Handle and TimerHandle as pooled native objects.
#include "loop.hpp"

namespace fasterapi::core::py {

PyTypeObject* HandleType = nullptr;
PyTypeObject* TimerHandleType = nullptr;

namespace {

constexpr int kPoolSize = 1024;
Handle* pool[kPoolSize];
int pooled = 0;

PyObject* args_tuple(Handle* handle) {
  if (handle->args) return Py_NewRef(handle->args);
  return handle->arg ? PyTuple_Pack(1, handle->arg) : PyTuple_New(0);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  auto* handle = reinterpret_cast<Handle*>(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(handle->loop);
  Py_VISIT(handle->callback);
  Py_VISIT(handle->arg);
  Py_VISIT(handle->args);
  Py_VISIT(handle->context);
  Py_VISIT(handle->source_traceback);
  return 0;
}

int clear(PyObject* self) {
  auto* handle = reinterpret_cast<Handle*>(self);
  Py_CLEAR(handle->loop);
  Py_CLEAR(handle->callback);
  Py_CLEAR(handle->arg);
  Py_CLEAR(handle->args);
  Py_CLEAR(handle->context);
  Py_CLEAR(handle->source_traceback);
  return 0;
}

void dealloc(PyObject* self) {
  auto* handle = reinterpret_cast<Handle*>(self);
  PyObject_GC_UnTrack(self);
  if (handle->weakrefs) PyObject_ClearWeakRefs(self);
  clear(self);
  PyTypeObject* type = Py_TYPE(self);
  if (pooled < kPoolSize)
    pool[pooled++] = handle;
  else
    PyObject_GC_Del(self);
  Py_DECREF(type);
}

PyObject* method_cancel(PyObject* self, PyObject*) {
  handle_cancel(reinterpret_cast<Handle*>(self));
  Py_RETURN_NONE;
}
PyObject* method_cancelled(PyObject* self, PyObject*) {
  return PyBool_FromLong(reinterpret_cast<Handle*>(self)->cancelled);
}
PyObject* method_run(PyObject* self, PyObject*) {
  if (handle_run(reinterpret_cast<Handle*>(self)) < 0) return nullptr;
  Py_RETURN_NONE;
}
PyObject* method_get_context(PyObject* self, PyObject*) {
  PyObject* context = reinterpret_cast<Handle*>(self)->context;
  return Py_NewRef(context ? context : Py_None);
}
PyObject* method_when(PyObject* self, PyObject*) {
  return PyFloat_FromDouble(reinterpret_cast<Handle*>(self)->when);
}

PyObject* repr(PyObject* self) {
  PyObject* function = support("handle_repr");
  if (!function) return nullptr;
  PyObject* text = PyObject_CallOneArg(function, self);
  Py_DECREF(function);
  return text;
}

PyObject* get_class(PyObject* self, void*) {
  return Py_NewRef(reinterpret_cast<Handle*>(self)->timer ? rt.asyncio_timer_handle : rt.asyncio_handle);
}
PyObject* get_callback(PyObject* self, void*) {
  PyObject* callback = reinterpret_cast<Handle*>(self)->callback;
  return Py_NewRef(callback ? callback : Py_None);
}
PyObject* get_args(PyObject* self, void*) {
  auto* handle = reinterpret_cast<Handle*>(self);
  return handle->callback ? args_tuple(handle) : none();
}
PyObject* get_loop(PyObject* self, void*) {
  PyObject* loop = reinterpret_cast<Handle*>(self)->loop;
  return Py_NewRef(loop ? loop : Py_None);
}
PyObject* get_context_attr(PyObject* self, void*) { return method_get_context(self, nullptr); }
PyObject* get_cancelled(PyObject* self, void*) { return method_cancelled(self, nullptr); }
PyObject* get_traceback(PyObject* self, void*) {
  PyObject* traceback = reinterpret_cast<Handle*>(self)->source_traceback;
  return Py_NewRef(traceback ? traceback : Py_None);
}
int set_traceback(PyObject* self, PyObject* value, void*) {
  Py_XSETREF(reinterpret_cast<Handle*>(self)->source_traceback, Py_XNewRef(value));
  return 0;
}
PyObject* get_when(PyObject* self, void*) { return method_when(self, nullptr); }
PyObject* get_scheduled(PyObject* self, void*) {
  return PyBool_FromLong(reinterpret_cast<Handle*>(self)->heap_index != kNotInHeap);
}

PyObject* compare(PyObject* a, PyObject* b, int op) {
  if (Py_TYPE(a) != TimerHandleType || Py_TYPE(b) != TimerHandleType) Py_RETURN_NOTIMPLEMENTED;
  if (op == Py_EQ || op == Py_NE) {
    auto *x = reinterpret_cast<Handle*>(a), *y = reinterpret_cast<Handle*>(b);
    bool same = x == y || (x->when == y->when && x->callback == y->callback && x->arg == y->arg && x->args == y->args &&
                           x->cancelled == y->cancelled);
    return PyBool_FromLong(same == (op == Py_EQ));
  }
  double x = reinterpret_cast<Handle*>(a)->when, y = reinterpret_cast<Handle*>(b)->when;
  Py_RETURN_RICHCOMPARE(x, y, op);
}
Py_hash_t hash(PyObject* self) { return _Py_HashPointer(self); }

PyMethodDef methods[] = {
    {"cancel", method_cancel, METH_NOARGS, "Cancel the callback; it will not run."},
    {"cancelled", method_cancelled, METH_NOARGS, "Return True if the callback was cancelled."},
    {"get_context", method_get_context, METH_NOARGS, "Return the contextvars.Context of the callback."},
    {"_run", method_run, METH_NOARGS, nullptr},
    {}};
PyMethodDef timer_methods[] = {
    {"cancel", method_cancel, METH_NOARGS, "Cancel the callback; it will not run."},
    {"cancelled", method_cancelled, METH_NOARGS, "Return True if the callback was cancelled."},
    {"get_context", method_get_context, METH_NOARGS, "Return the contextvars.Context of the callback."},
    {"when", method_when, METH_NOARGS, "Return the scheduled time, in seconds of loop.time()."},
    {"_run", method_run, METH_NOARGS, nullptr},
    {}};
PyGetSetDef getset[] = {{"__class__", get_class, nullptr, nullptr, nullptr},
                        {"_callback", get_callback, nullptr, nullptr, nullptr},
                        {"_args", get_args, nullptr, nullptr, nullptr},
                        {"_loop", get_loop, nullptr, nullptr, nullptr},
                        {"_context", get_context_attr, nullptr, nullptr, nullptr},
                        {"_cancelled", get_cancelled, nullptr, nullptr, nullptr},
                        {"_source_traceback", get_traceback, set_traceback, nullptr, nullptr},
                        {"_when", get_when, nullptr, nullptr, nullptr},
                        {"_scheduled", get_scheduled, nullptr, nullptr, nullptr},
                        {}};
PyMemberDef members[] = {{"__weaklistoffset__", T_PYSSIZET, offsetof(Handle, weakrefs), READONLY, nullptr}, {}};

PyTypeObject* make_type(PyObject* module, const char* name, PyMethodDef* type_methods) {
  PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                         {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                         {Py_tp_clear, reinterpret_cast<void*>(clear)},
                         {Py_tp_repr, reinterpret_cast<void*>(repr)},
                         {Py_tp_richcompare, reinterpret_cast<void*>(compare)},
                         {Py_tp_hash, reinterpret_cast<void*>(hash)},
                         {Py_tp_methods, type_methods},
                         {Py_tp_getset, getset},
                         {Py_tp_members, members},
                         {0, nullptr}};
  PyType_Spec spec = {name, sizeof(Handle), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  auto* type = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
  if (type && PyModule_AddType(module, type) < 0) return nullptr;
  return type;
}

/// Reports what a callback raised to the loop's exception handler.
void report(Handle* handle) {
  PyObject* exception = take_exception();
  PyObject* function = support("report_callback_error");
  PyObject* done =
      function ? PyObject_CallFunctionObjArgs(function, handle, exception, nullptr) : nullptr;
  if (!done) PyErr_WriteUnraisable(reinterpret_cast<PyObject*>(handle));
  Py_XDECREF(done);
  Py_XDECREF(function);
  Py_XDECREF(exception);
}

}  // namespace

Handle* handle_new(PyTypeObject* type, PyObject* loop, PyObject* callback, PyObject* const* args, Py_ssize_t nargs,
                   PyObject* context) {
  PyObject* tuple = nullptr;
  if (nargs > 1) {
    if (!(tuple = PyTuple_New(nargs))) return nullptr;
    for (Py_ssize_t i = 0; i < nargs; ++i) PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
  }
  context = context ? Py_NewRef(context) : PyContext_CopyCurrent();
  Handle* handle = nullptr;
  if (context) {
    if (pooled) {
      handle = pool[--pooled];
      PyObject_Init(reinterpret_cast<PyObject*>(handle), type);
    } else {
      handle = PyObject_GC_New(Handle, type);
    }
  }
  if (!handle) {
    Py_XDECREF(context);
    Py_XDECREF(tuple);
    return nullptr;
  }
  handle->weakrefs = nullptr;
  handle->loop = Py_NewRef(loop);
  handle->callback = Py_NewRef(callback);
  handle->arg = nargs == 1 ? Py_NewRef(args[0]) : nullptr;
  handle->args = tuple;
  handle->context = context;
  handle->source_traceback = nullptr;
  handle->when = 0;
  handle->sequence = 0;
  handle->heap_index = kNotInHeap;
  handle->cancelled = false;
  handle->timer = type == TimerHandleType;
  PyObject_GC_Track(handle);
  return handle;
}

void handle_cancel(Handle* handle) {
  if (handle->cancelled) return;
  handle->cancelled = true;
  if (handle->heap_index != kNotInHeap) {
    if (LoopCore* loop = as_loop_core(handle->loop)) {
      Handle* removed = loop->timers->remove(handle);
      Py_DECREF(removed);  // the caller still holds one
    }
  }
  Py_CLEAR(handle->callback);
  Py_CLEAR(handle->arg);
  Py_CLEAR(handle->args);
}

int handle_run(Handle* handle) {
  if (handle->cancelled) return 0;
  PyObject* context = handle->context;
  if (PyContext_Enter(context) < 0) {
    report(handle);
    return 0;
  }
  PyObject* result;
  if (handle->args) {
    result = PyObject_Vectorcall(handle->callback, &PyTuple_GET_ITEM(handle->args, 0),
                                 static_cast<std::size_t>(PyTuple_GET_SIZE(handle->args)), nullptr);
  } else {
    PyObject* stack[2] = {nullptr, handle->arg};
    result = PyObject_Vectorcall(handle->callback, stack + 1,
                                 (handle->arg ? 1u : 0u) | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
  }
  if (result) {
    Py_DECREF(result);
    return PyContext_Exit(context);
  }
  bool fatal = PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) || PyErr_ExceptionMatches(PyExc_SystemExit);
  {
    ErrorGuard keep;
    if (PyContext_Exit(context) < 0) PyErr_Clear();
  }
  if (fatal) return -1;
  report(handle);
  return 0;
}

bool add_handles(PyObject* module) {
  HandleType = make_type(module, "fasterapi_core._core.Handle", methods);
  TimerHandleType = make_type(module, "fasterapi_core._core.TimerHandle", timer_methods);
  return HandleType && TimerHandleType;
}

}  // namespace fasterapi::core::py

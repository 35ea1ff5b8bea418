// The Python face of the native task: what asyncio.Task has, name for name.
#include "task_object.hpp"

namespace fasterapi::core::py {

PyTypeObject* TaskType = nullptr;
PyTypeObject* TaskIterType = nullptr;

namespace {

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
  iter->task = as_task(Py_NewRef(self));
  PyObject_GC_Track(reinterpret_cast<PyObject*>(iter));
  return reinterpret_cast<PyObject*>(iter);
}

// ---------------------------------------------------------------- Task's methods

PyObject* invalid_state(const char* text) {
  PyErr_SetString(rt.invalid_state_error, text);
  return nullptr;
}

PyObject* method_cancel(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* keywords[] = {"msg", nullptr};
  PyObject* message = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:cancel", const_cast<char**>(keywords), &message)) return nullptr;
  int rc = request_cancel(as_task(self), message);
  return rc < 0 ? nullptr : PyBool_FromLong(rc);
}
PyObject* method_cancelling(PyObject* self, PyObject*) { return PyLong_FromLong(as_task(self)->cancel_requests); }
PyObject* method_uncancel(PyObject* self, PyObject*) {
  Task* task = as_task(self);
  if (task->cancel_requests > 0 && --task->cancel_requests == 0) {
#if PY_VERSION_HEX >= 0x030d0000
    task->must_cancel = false;  // asyncio's rule since 3.13
#endif
  }
  return PyLong_FromLong(task->cancel_requests);
}
PyObject* method_done(PyObject* self, PyObject*) { return PyBool_FromLong(as_task(self)->state != Outcome::pending); }
PyObject* method_cancelled(PyObject* self, PyObject*) {
  return PyBool_FromLong(as_task(self)->state == Outcome::cancelled);
}
PyObject* method_result(PyObject* self, PyObject*) {
  Task* task = as_task(self);
  if (task->state == Outcome::pending) return invalid_state("Result is not set.");
  return task->exception ? raise_outcome(task) : Py_NewRef(task->value);
}
PyObject* method_exception(PyObject* self, PyObject*) {
  Task* task = as_task(self);
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
  Task* task = as_task(self);
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
  Task* task = as_task(self);
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
PyObject* method_get_coro(PyObject* self, PyObject*) { return or_none(as_task(self)->coroutine); }
PyObject* method_get_context(PyObject* self, PyObject*) { return or_none(as_task(self)->context); }
PyObject* method_get_loop(PyObject* self, PyObject*) { return or_none(as_task(self)->loop); }
PyObject* method_get_name(PyObject* self, PyObject*) {
  Task* task = as_task(self);
  if (!task->name)
    task->name = PyUnicode_FromFormat("Request-%llu", static_cast<unsigned long long>(task->id));
  return Py_XNewRef(task->name);
}
PyObject* method_set_name(PyObject* self, PyObject* name) {
  PyObject* text = PyObject_Str(name);
  if (!text) return nullptr;
  Py_XSETREF(as_task(self)->name, text);
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
  PyObject* coroutine = as_task(self)->coroutine;
  PyObject* text = PyUnicode_FromFormat("<Task %s name=%R coro=%R>", names[static_cast<int>(as_task(self)->state)], name,
                                        coroutine ? coroutine : Py_None);
  Py_DECREF(name);
  return text;
}

PyObject* get_class(PyObject*, void*) { return Py_NewRef(reinterpret_cast<PyObject*>(rt.asyncio_task)); }
PyObject* get_blocking(PyObject* self, void*) { return PyBool_FromLong(as_task(self)->blocking); }
int set_blocking(PyObject* self, PyObject* value, void*) {
  as_task(self)->blocking = value && PyObject_IsTrue(value) == 1;
  return 0;
}
PyObject* get_must_cancel(PyObject* self, void*) { return PyBool_FromLong(as_task(self)->must_cancel); }
int set_must_cancel(PyObject* self, PyObject* value, void*) {  // anyio writes it
  as_task(self)->must_cancel = value && PyObject_IsTrue(value) == 1;
  return 0;
}
PyObject* get_waiter(PyObject* self, void*) { return or_none(as_task(self)->waiter); }
PyObject* get_callbacks(PyObject* self, void*) {
  PyObject* list = as_task(self)->callbacks;
  return list ? PyList_GetSlice(list, 0, PyList_GET_SIZE(list)) : none();
}
PyObject* get_exception(PyObject* self, void*) {
  return or_none(as_task(self)->state == Outcome::finished ? as_task(self)->exception : nullptr);
}
PyObject* get_result(PyObject* self, void*) { return or_none(as_task(self)->value); }
PyObject* get_cancel_message(PyObject* self, void*) { return or_none(as_task(self)->cancel_message); }
PyObject* get_none(PyObject*, void*) { return none(); }
PyObject* get_false(PyObject*, void*) { Py_RETURN_FALSE; }
int set_ignored(PyObject*, PyObject*, void*) { return 0; }  // asyncio writes these flags; they have no meaning here
PyObject* get_state(PyObject* self, void*) {
  static const char* const names[] = {"PENDING", "CANCELLED", "FINISHED"};
  return PyUnicode_FromString(names[static_cast<int>(as_task(self)->state)]);
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

int task_traverse(PyObject* self, visitproc visit, void* arg) {
  Task* task = as_task(self);
  Py_VISIT(Py_TYPE(self));
  for (PyObject* member : {task->dict, task->loop, task->coroutine, task->context, task->name, task->waiter, task->value,
                           task->exception, task->cancel_message, task->callbacks})
    Py_VISIT(member);
  return 0;
}
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

}  // namespace

int task_clear(PyObject* self) {
  Task* task = as_task(self);
  for (PyObject** member : {&task->dict, &task->loop, &task->coroutine, &task->context, &task->name, &task->waiter,
                            &task->value, &task->exception, &task->cancel_message, &task->callbacks})
    Py_CLEAR(*member);
  return 0;
}

PyTypeObject* make_task_helper_type(PyObject* module, const char* name, std::size_t size, unsigned long flags,
                                    PyType_Slot* slots) {
  PyType_Spec spec = {name, static_cast<int>(size), 0,
                      static_cast<unsigned int>(Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | flags), slots};
  return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

bool add_task_type(PyObject* module) {
  PyType_Slot iter_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(iter_dealloc)},
                              {Py_tp_traverse, reinterpret_cast<void*>(iter_traverse)},
                              {Py_tp_clear, reinterpret_cast<void*>(iter_clear)},
                              {Py_tp_iter, reinterpret_cast<void*>(PyObject_SelfIter)},
                              {Py_tp_iternext, reinterpret_cast<void*>(iter_next)},
                              {0, nullptr}};
  TaskType = make_task_helper_type(module, "fasterapi_core._core.NativeTask", sizeof(Task), Py_TPFLAGS_HAVE_GC, task_slots);
  TaskIterType = make_task_helper_type(module, "fasterapi_core._core.TaskIterator", sizeof(TaskIter), Py_TPFLAGS_HAVE_GC,
                                       iter_slots);
  return TaskType && TaskIterType && PyModule_AddType(module, TaskType) == 0;
}

}  // namespace fasterapi::core::py

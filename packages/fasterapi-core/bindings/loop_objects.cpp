// What a loop makes: futures and tasks of asyncio, without a Python frame in between.
#include "loop_objects.hpp"

namespace fasterapi::core::py {
namespace {

/// `type(*args, **kwargs)` of a class whose metaclass is plain `type`, with a dictionary that is kept.
PyObject* construct(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  PyObject* object = type->tp_new(type, args, kwargs);
  if (object && type->tp_init(object, args, kwargs) < 0) Py_CLEAR(object);
  return object;
}

/// {"loop": self}: made once, handed to every constructor; the constructors only read it.
PyObject* loop_keywords(LoopCore* loop) {
  if (!loop->loop_keywords) {
    loop->loop_keywords = PyDict_New();
    if (loop->loop_keywords &&
        PyDict_SetItem(loop->loop_keywords, rt.loop, reinterpret_cast<PyObject*>(loop)) < 0)
      Py_CLEAR(loop->loop_keywords);
  }
  return loop->loop_keywords;
}

/// BaseEventLoop.create_task: debug mode, task factories, and arguments of other Python versions.
PyObject* create_task_slowly(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  Py_ssize_t total = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
  PyObject* inline_stack[8];
  PyObject** stack = total < 8 ? inline_stack : static_cast<PyObject**>(PyMem_Malloc((total + 1) * sizeof(PyObject*)));
  if (!stack) return PyErr_NoMemory();
  stack[0] = self;
  std::copy(args, args + total, stack + 1);
  PyObject* task = PyObject_Vectorcall(rt.base_create_task, stack, static_cast<std::size_t>(nargs) + 1, kwnames);
  if (stack != inline_stack) PyMem_Free(stack);
  return task;
}

}  // namespace

PyObject* loop_create_future(PyObject* self, PyObject*) {
  PyObject* keywords = loop_keywords(reinterpret_cast<LoopCore*>(self));
  return keywords ? construct(rt.asyncio_future, rt.empty_tuple, keywords) : nullptr;
}

PyObject* loop_create_task(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  auto* loop = reinterpret_cast<LoopCore*>(self);
  if (FASTERAPI_UNLIKELY(nargs != 1 || loop->debug || loop->closed || loop->task_factory))
    return create_task_slowly(self, args, nargs, kwnames);
  PyObject* keywords = loop_keywords(loop);
  if (!keywords) return nullptr;
  if (kwnames && PyTuple_GET_SIZE(kwnames)) {
    if (!(keywords = PyDict_Copy(keywords))) return nullptr;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); ++i) {
      if (PyDict_SetItem(keywords, PyTuple_GET_ITEM(kwnames, i), args[nargs + i]) < 0) {
        Py_DECREF(keywords);
        return nullptr;
      }
    }
  } else {
    Py_INCREF(keywords);
  }
  PyObject* positional = PyTuple_Pack(1, args[0]);
  PyObject* task = positional ? construct(rt.asyncio_task, positional, keywords) : nullptr;
  Py_XDECREF(positional);
  Py_DECREF(keywords);
  return task;
}

PyObject* loop_set_task_factory(PyObject* self, PyObject* factory) {
  PyObject* done = PyObject_CallFunctionObjArgs(rt.base_set_task_factory, self, factory, nullptr);
  if (!done) return nullptr;
  Py_XSETREF(reinterpret_cast<LoopCore*>(self)->task_factory, factory == Py_None ? nullptr : Py_NewRef(factory));
  return done;
}

PyObject* loop_get_debug(PyObject* self, PyObject*) {
  return PyBool_FromLong(reinterpret_cast<LoopCore*>(self)->debug);
}

}  // namespace fasterapi::core::py

// Bridge: a Reactor driven by a foreign asyncio loop (asyncio's own, uvloop). The loop watches the reactor's
// descriptor; end-of-turn work is asked for through call_soon. Python keeps one Bridge per loop.
#include "log.hpp"
#include "loop.hpp"

namespace fasterapi::core::py {
namespace {

struct Bridge {
  PyObject_HEAD
  Reactor* reactor;
  PyObject* loop_reference;  // weak
};

PyTypeObject* BridgeType;

/// The last foreign loop of this thread, to save the look-up in Python.
thread_local PyObject* tl_foreign_loop = nullptr;  // borrowed, compared only
thread_local Reactor* tl_foreign_reactor = nullptr;

Bridge* cast(PyObject* self) { return reinterpret_cast<Bridge*>(self); }

PyObject* referent(PyObject* reference) {  // new reference, or nullptr without an exception
#if PY_VERSION_HEX >= 0x030d0000
  PyObject* object = nullptr;
  if (PyWeakref_GetRef(reference, &object) < 0) PyErr_Clear();
  return object;
#else
  PyObject* object = PyWeakref_GetObject(reference);
  return object && object != Py_None ? Py_NewRef(object) : nullptr;
#endif
}

void need_turn(void* arg) {
  auto* bridge = static_cast<Bridge*>(arg);
  PyObject* loop = referent(bridge->loop_reference);
  if (!loop) return;
  PyObject* turn = PyObject_GetAttrString(reinterpret_cast<PyObject*>(bridge), "turn");
  PyObject* done = turn ? PyObject_CallMethodOneArg(loop, rt.call_soon, turn) : nullptr;
  if (!done) PyErr_WriteUnraisable(loop);
  Py_XDECREF(done);
  Py_XDECREF(turn);
  Py_DECREF(loop);
}

PyObject* tp_new(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject* loop;
  if (!PyArg_ParseTuple(args, "O:Bridge", &loop)) return nullptr;
  auto* self = reinterpret_cast<Bridge*>(type->tp_alloc(type, 0));
  if (!self) return nullptr;
  self->loop_reference = PyWeakref_NewRef(loop, nullptr);
  int error = self->loop_reference ? 0 : -1;
  if (!error) {
    try {
      self->reactor = new Reactor();
      if ((error = self->reactor->make_external(need_turn, self))) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
      } else {
        add_log_home(self->reactor);
      }
    } catch (const std::exception& failure) {
      PyErr_SetString(PyExc_RuntimeError, failure.what());
      error = -1;
    }
  }
  if (error) Py_CLEAR(self);
  return reinterpret_cast<PyObject*>(self);
}
void tp_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  if (cast(self)->reactor) {
    if (tl_foreign_reactor == cast(self)->reactor) tl_foreign_loop = nullptr;
    remove_log_home(cast(self)->reactor);
    cast(self)->reactor->forget_external();
    cast(self)->reactor->release();  // connections that outlive the loop keep it
  }
  Py_XDECREF(cast(self)->loop_reference);
  type->tp_free(self);
  Py_DECREF(type);
}
PyObject* turn(PyObject* self, PyObject*) {
  Py_INCREF(self);
  cast(self)->reactor->turn(0);
  Py_DECREF(self);
  if (FASTERAPI_UNLIKELY(log_pending()) && deliver_logs() < 0) return nullptr;
  Py_RETURN_NONE;
}
PyObject* fileno_(PyObject* self, PyObject*) { return PyLong_FromLong(cast(self)->reactor->fd()); }

PyMethodDef methods[] = {{"turn", turn, METH_NOARGS, nullptr}, {"fileno", fileno_, METH_NOARGS, nullptr}, {}};
PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(tp_new)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(tp_dealloc)},
                       {Py_tp_methods, methods},
                       {0, nullptr}};
PyType_Spec spec = {"fasterapi_core._core.Bridge", sizeof(Bridge), 0, Py_TPFLAGS_DEFAULT, slots};

PyObject* current_loop() {
  if (FASTERAPI_LIKELY(tl_loop != nullptr)) return reinterpret_cast<PyObject*>(tl_loop);
  PyObject* loop = PyObject_CallNoArgs(rt.get_running_loop);
  if (!loop) return nullptr;
  Py_DECREF(loop);  // asyncio holds it while it runs
  if (loop == Py_None) {
    PyErr_SetString(PyExc_RuntimeError, "no running event loop");
    return nullptr;
  }
  return loop;
}

Reactor* current_reactor() {
  if (FASTERAPI_LIKELY(tl_loop != nullptr)) return tl_loop->reactor;
  PyObject* loop = current_loop();
  if (!loop) return nullptr;
  if (loop == tl_foreign_loop) return tl_foreign_reactor;
  PyObject* function = support("bridge_of");
  PyObject* bridge = function ? PyObject_CallOneArg(function, loop) : nullptr;
  Py_XDECREF(function);
  if (!bridge) return nullptr;
  tl_foreign_loop = loop;
  tl_foreign_reactor = cast(bridge)->reactor;
  Py_DECREF(bridge);  // kept by the table in _support as long as the loop lives
  return tl_foreign_reactor;
}

}  // namespace

// Declared in module.cpp's table.
PyObject* api_current_loop() { return current_loop(); }
Reactor* api_current_reactor() { return current_reactor(); }

bool add_bridge(PyObject* module) {
  BridgeType = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
  return BridgeType && PyModule_AddType(module, BridgeType) == 0;
}

}  // namespace fasterapi::core::py

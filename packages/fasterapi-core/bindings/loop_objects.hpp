#pragma once
// Methods of LoopCore that make asyncio's own futures and tasks natively; see loop_objects.cpp.
#include "loop.hpp"

namespace fasterapi::core::py {

PyObject* loop_create_future(PyObject* self, PyObject*);
PyObject* loop_create_task(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames);
PyObject* loop_set_task_factory(PyObject* self, PyObject* factory);
PyObject* loop_get_debug(PyObject* self, PyObject*);

}  // namespace fasterapi::core::py

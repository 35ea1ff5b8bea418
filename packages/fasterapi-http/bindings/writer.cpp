// StreamWriter: how Python drives a streamed answer, with back-pressure; and what runs after an answer.
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <fasterapi/http/server.hpp>

#include "plan.hpp"
#include "request.hpp"
#include "response.hpp"

namespace fasterapi::http::py {

using core::py::api;

namespace {

struct WriterObject {
  PyObject ob_base;  // PyObject_HEAD
  Transaction* tx;
  PyObject* server;
  PyObject* waiter;  // a core Future while somebody waits for the client
};

PyTypeObject* writer_type = nullptr;
WriterObject* as_writer(PyObject* object) { return reinterpret_cast<WriterObject*>(object); }

void wake(void* arg) noexcept {
  auto* self = static_cast<WriterObject*>(arg);
  PyObject* waiter = std::exchange(self->waiter, nullptr);
  if (!waiter) return;
  if (api->future_set_result(waiter, Py_None) < 0) PyErr_WriteUnraisable(waiter);
  Py_DECREF(waiter);
}

void writer_dealloc(PyObject* object) {
  auto* self = as_writer(object);
  PyTypeObject* type = Py_TYPE(object);
  if (self->tx) {
    self->tx->on_drained(nullptr, nullptr);
    self->tx->release();
  }
  Py_CLEAR(self->waiter);
  Py_CLEAR(self->server);
  PyObject_Free(object);
  Py_DECREF(type);
}

PyObject* writer_write(PyObject* object, PyObject* data) {
  Py_buffer view;
  Ref encoded;
  if (PyUnicode_Check(data)) {
    std::string_view text = as_utf8(data);
    if (!text.data()) return nullptr;
    return PyBool_FromLong(as_writer(object)->tx->write(text));
  }
  if (PyBytes_Check(data) && PyBytes_GET_SIZE(data) >= kKeptBody)
    return PyBool_FromLong(as_writer(object)->tx->write_from(kept_bytes(data)));
  if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) return nullptr;
  bool more =
      as_writer(object)->tx->write({static_cast<const char*>(view.buf), static_cast<std::size_t>(view.len)});
  PyBuffer_Release(&view);
  return PyBool_FromLong(more);
}

PyObject* writer_drained(PyObject* object, PyObject*) {
  auto* self = as_writer(object);
  if (!self->tx->connected() || self->tx->unsent() == 0) return ready(Py_NewRef(Py_None));
  if (!self->waiter) {
    self->waiter = api->future_new(nullptr);
    if (!self->waiter) return nullptr;
    self->tx->on_drained(&wake, self);
  }
  return Py_NewRef(self->waiter);
}

PyObject* writer_finish(PyObject* object, PyObject*) {
  as_writer(object)->tx->finish();
  Py_RETURN_NONE;
}
PyObject* writer_connected(PyObject* object, void*) { return PyBool_FromLong(as_writer(object)->tx->connected()); }

PyGetSetDef getset[] = {
    {"connected", writer_connected, nullptr, "Whether the client is still there.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMethodDef methods[] = {
    {"write", writer_write, METH_O,
     "write(data, /)\n--\n\nSends bytes or str. False: more than 64 KiB wait for the client, await drained()."},
    {"drained", writer_drained, METH_NOARGS, "drained()\n--\n\nAwaitable: the client has taken everything."},
    {"finish", writer_finish, METH_NOARGS, "finish()\n--\n\nEnds the answer."},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(writer_dealloc)},
    {Py_tp_getset, getset},
    {Py_tp_methods, methods},
    {0, nullptr},
};
PyType_Spec spec = {"fasterapi_http._http.StreamWriter", sizeof(WriterObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

/// The task that iterates a streamed response.
struct Drive {
  Transaction* tx;
  PyObject* server;
  PyObject* response;
  PyObject* writer;
  PyObject* task = nullptr;
  bool finished = false, pending = false;

  static void cancel(void* arg) noexcept {
    auto* self = static_cast<Drive*>(arg);
    wake(self->writer);
    if (self->task && api->task_cancel(self->task, nullptr) < 0) PyErr_Clear();
  }
  static void done(void* arg, PyObject*, PyObject* exception) noexcept {
    auto* self = static_cast<Drive*>(arg);
    self->finished = true;
    self->tx->on_disconnect(nullptr, nullptr);
    if (exception) {
      bool left = was_cancelled(exception, self->task);
      if (!left) {
        Ref ignored(PyObject_CallFunctionObjArgs(python.report, Py_None, exception, nullptr));
        if (!ignored) PyErr_WriteUnraisable(python.report);
      }
      self->tx->abort();
    } else {
      self->tx->finish();
    }
    if (!exception) {
      PyObject* background = as_response(self->response)->background;
      if (background && background != Py_None) run_background(background);
    }
    if (self->pending) destroy(self);
  }
  static void destroy(Drive* self) noexcept {
    Py_XDECREF(self->task);
    Py_DECREF(self->writer);
    Py_DECREF(self->response);
    self->tx->release();
    Py_DECREF(self->server);
    delete self;
  }
};

/// Status and fields of a streamed response.
void start_answer(Transaction& tx, ResponseObject* self) noexcept {
  try {
    std::vector<HeaderField> all, fields;
    append_fields(self->fields, all);
    bool typed = false;
    for (const HeaderField& field : all) {
      if (equals_lower(field.name, "transfer-encoding") || equals_lower(field.name, "connection") ||
          equals_lower(field.name, "date"))
        continue;
      typed |= equals_lower(field.name, "content-type");
      fields.push_back(field);
    }
    std::string_view media = self->media_type ? as_utf8(self->media_type) : std::string_view{};
    std::string full = typed || media.empty() ? std::string{} : full_media_type(media);
    tx.start(self->status_code ? self->status_code : 200, full, fields);
  } catch (const std::bad_alloc&) {
    tx.abort();
  }
}

void background_done(void*, PyObject*, PyObject* exception) noexcept {
  if (!exception || PyObject_TypeCheck(exception, reinterpret_cast<PyTypeObject*>(python.cancelled))) return;
  Ref ignored(PyObject_CallFunctionObjArgs(python.report, Py_None, exception, nullptr));
  if (!ignored) PyErr_WriteUnraisable(python.report);
}

}  // namespace

bool start_stream(Transaction& tx, PyObject* object, PyObject* server) noexcept {
  auto* self = as_response(object);
  if (PyObject_TypeCheck(object, reinterpret_cast<PyTypeObject*>(python.file_response)))
    return send_file_response(tx, object);
  if (tx.head_only()) {  // nothing of the body is wanted: do not make it
    start_answer(tx, self);
    tx.finish();
    return true;
  }
  auto* writer = PyObject_New(WriterObject, writer_type);
  if (!writer) return false;
  tx.retain();
  writer->tx = &tx;
  writer->server = Py_NewRef(server);
  writer->waiter = nullptr;
  auto* drive =
      new (std::nothrow) Drive{&tx, Py_NewRef(server), Py_NewRef(object), reinterpret_cast<PyObject*>(writer)};
  if (!drive) {
    Py_DECREF(writer);
    PyErr_NoMemory();
    return false;
  }
  tx.retain();
  start_answer(tx, self);
  PyObject* args[3] = {nullptr, drive->writer, object};
  PyObject* task = api->task_call(python.drive_stream, args + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr,
                                  &Drive::done, drive);
  if (!task) {
    if (!drive->finished) {
      Ref raised(core::py::take_exception());
      Drive::done(drive, nullptr, raised.get());
    }
    PyErr_Clear();
    Drive::destroy(drive);
    return true;
  }
  drive->task = task;
  if (drive->finished) {
    Drive::destroy(drive);
    return true;
  }
  drive->pending = true;
  tx.on_disconnect(&Drive::cancel, drive);
  tx.write({});  // the head leaves now, whenever the first piece comes
  if (!tx.connected()) Drive::cancel(drive);
  return true;
}

void run_background(PyObject* background) noexcept {
  Ref task(api->task_call(background, nullptr, 0, nullptr, &background_done, nullptr));
  if (!task) PyErr_WriteUnraisable(background);
}

bool was_cancelled(PyObject* exception, PyObject* task) noexcept {
  if (!PyObject_TypeCheck(exception, reinterpret_cast<PyTypeObject*>(python.cancelled)) || !task) return false;
  Ref asked(PyObject_CallMethod(task, "cancelling", nullptr));
  if (!asked) PyErr_Clear();
  return asked && PyObject_IsTrue(asked.get()) == 1;
}

bool init_writer(PyObject* module) noexcept {
  writer_type = add_type(module, spec);
  return writer_type != nullptr;
}

}  // namespace fasterapi::http::py

// From the arguments of a Python call to a request that is under way.
#include "objects.hpp"

namespace fasterapi::pg::py {

bool parse_call(const char* name, PyObject* const* args, Py_ssize_t nargs, PyObject* names, Call& call) {
  call.args = args;
  call.count = nargs;
  if (FASTERAPI_LIKELY(!names)) return true;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); ++i) {
    PyObject* key = PyTuple_GET_ITEM(names, i);
    PyObject* value = args[nargs + i];
    if (PyUnicode_CompareWithASCIIString(key, "timeout") == 0) {
      call.timeout = value;
    } else if (PyUnicode_CompareWithASCIIString(key, "record_class") == 0) {
      call.record_class = value;
    } else if (PyUnicode_CompareWithASCIIString(key, "column") == 0) {
      call.column = value;
    } else {
      PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R", name, key);
      return false;
    }
  }
  return true;
}

bool parse_seconds(PyObject* value, Nanos fallback, Nanos& out) {
  out = fallback;
  if (!value || value == Py_None) return true;
  double seconds = PyFloat_AsDouble(value);
  if (seconds == -1.0 && PyErr_Occurred()) return false;
  if (!(seconds >= 0)) seconds = 0;
  if (seconds > 1e9) {
    out = 0;
    return true;
  }
  out = static_cast<Nanos>(seconds * 1e9);
  if (out == 0) out = 1;  // a timeout of zero is over at once, not never
  return true;
}

bool apply_call(Request& r, const Call& call, const Hub& hub, PyTypeObject* record) {
  r.record = record;
  r.timeout = hub.options->command_timeout;
  if (call.timeout && !parse_seconds(call.timeout, r.timeout, r.timeout)) return false;
  if (call.record_class && call.record_class != Py_None) {
    if (!PyType_Check(call.record_class) ||
        !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(call.record_class), &record_type)) {
      PyErr_SetString(errors.interface, "record_class is expected to be a subclass of Record");
      return false;
    }
    r.record = reinterpret_cast<PyTypeObject*>(call.record_class);
  }
  if (r.record != &record_type) r.record_ref = Ref::borrow(reinterpret_cast<PyObject*>(r.record));
  if (call.column) r.column = Ref::borrow(call.column);
  return true;
}

PyObject* failed_future() {
  Ref error = take_error();
  Ref future(core_py::api->call_new(nullptr));
  if (!future) {  // no loop runs: the call itself has to say so
    PyErr_Clear();
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
    return nullptr;
  }
  return core_py::api->future_set_exception(future.get(), error.get()) < 0 ? nullptr : future.release();
}

PyObject* done_future(PyObject* value) {
  Ref future(core_py::api->call_new(nullptr));
  if (!future) return nullptr;
  return core_py::api->future_set_result(future.get(), value) < 0 ? nullptr : future.release();
}

PyObject* start(Request* r, Hub& hub, ConnectionObject* connection) {
  r->hub = &hub;
  if (!hub.attach()) {
    r->drop();
    return failed_future();
  }
  PyObject* future = core_py::api->call_new(hub.loop());
  if (!future) {
    r->drop();
    return nullptr;
  }
  r->future = Py_NewRef(future);
  r->watch_cancel();
  if (r->timeout > 0) r->arm(*hub.reactor());
  if (!connection) {
    hub.submit(r);
  } else if (connection->link) {
    connection->link->submit(r);
  } else {
    r->fail(make_error(
        connection->released ? errors.interface : errors.connection_missing,
        connection->released ? "the connection has been released back to the pool" : "the connection is closed"));
  }
  return future;
}

PyObject* argument_rows(PyObject* iterable) { return PySequence_List(iterable); }

void wrap_argument_error(std::size_t number, PyObject* value) {
  Ref cause = take_error();
  if (reinterpret_cast<PyObject*>(Py_TYPE(cause.get())) == errors.interface) {
    PyErr_SetObject(errors.interface, cause.get());
    return;
  }
  Ref reason(PyObject_Str(cause.get()));
  Ref shown(PyObject_Repr(value));
  PyErr_Clear();
  if (shown && PyUnicode_GET_LENGTH(shown.get()) > 40) {  // as asyncpg: long values are cut
    Ref head(PyUnicode_Substring(shown.get(), 0, 25)),
        tail(PyUnicode_Substring(shown.get(), PyUnicode_GET_LENGTH(shown.get()) - 5,
                                 PyUnicode_GET_LENGTH(shown.get())));
    if (head && tail) shown = Ref(PyUnicode_FromFormat("%U...%U", head.get(), tail.get()));
    PyErr_Clear();
  }
  Ref text(PyUnicode_FromFormat("invalid input for query argument $%zu: %S (%S)", number,
                                shown ? shown.get() : Py_None, reason ? reason.get() : Py_None));
  Ref error(text ? PyObject_CallOneArg(errors.data, text.get()) : nullptr);
  if (!error) return;
  PyException_SetCause(error.get(), cause.release());
  PyErr_SetObject(errors.data, error.get());
}

void name_argument_row(Py_ssize_t row) {
  Ref error = take_error();
  if (reinterpret_cast<PyObject*>(Py_TYPE(error.get())) != errors.data) {
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
    return;
  }
  Ref text(PyObject_Str(error.get()));
  PyErr_Clear();
  if (!text) return;
  Py_ssize_t size;
  const char* s = PyUnicode_AsUTF8AndSize(text.get(), &size);
  std::string message(s ? s : "", s ? static_cast<std::size_t>(size) : 0);
  // "invalid input for query argument $1: ..." -> "invalid input for query argument $1 in element #0 of
  // executemany() sequence: ..."
  std::size_t colon = message.find(": ");
  if (colon != std::string::npos) {
    message.insert(colon, " in element #" + std::to_string(row) + " of executemany() sequence");
  }
  Ref named = make_error(errors.data, message);
  PyObject* cause = PyException_GetCause(error.get());
  if (cause) PyException_SetCause(named.get(), cause);
  PyErr_SetObject(errors.data, named.get());
}

void wrong_argument_count(std::size_t expected, std::size_t got) {
  std::string message = "the server expects " + std::to_string(expected) +
                        (expected == 1 ? " argument" : " arguments") + " for this query, " + std::to_string(got) +
                        (got == 1 ? " was" : " were") + " passed";
  std::string hint = "Check the query against the passed list of arguments.";
  if (expected == 0) {
    hint +=
        "  Note that parameters are supported only in SELECT, INSERT, UPDATE, DELETE, MERGE and VALUES "
        "statements, and will *not* work in statements like CREATE VIEW or DECLARE CURSOR.";
  }
  Ref text(to_str(message)), note(to_str(hint));
  Ref args(text ? PyTuple_Pack(1, text.get()) : nullptr);
  Ref kwargs(note ? Py_BuildValue("{s:O}", "hint", note.get()) : nullptr);
  if (!args || !kwargs) return;
  Ref error(PyObject_Call(errors.interface, args.get(), kwargs.get()));
  if (!error) {  // a stand-in class without hints
    PyErr_Clear();
    error = make_error(errors.interface, message);
  }
  PyErr_SetObject(errors.interface, error.get());
}

}  // namespace fasterapi::pg::py

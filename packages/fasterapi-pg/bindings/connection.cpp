// BaseConnection: a session of its own, or a lease of a pool's.
#include <Python.h>
#include <structmember.h>

#include <cstddef>

#include "objects.hpp"
#include "query_methods.hpp"

namespace fasterapi::pg::py {

PyTypeObject* connection_type = nullptr;

namespace {

ConnectionObject* as_connection(PyObject* o) { return reinterpret_cast<ConnectionObject*>(o); }

void raise(Ref error) { PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get()); }

/// False with an exception when the lease is over or the connection is closed.
bool check(ConnectionObject* c) {
  if (FASTERAPI_LIKELY(c->link && c->link->session && !c->link->closing)) return true;
  if (c->released) {
    raise(make_error(errors.interface, "the connection has been released back to the pool"));
  } else {
    raise(make_error(errors.connection_missing, "the connection is closed"));
  }
  return false;
}

Target find(PyObject* self) {
  auto* c = as_connection(self);
  return {check(c) ? c->hub : nullptr, c, c->record, nullptr, nullptr};
}

// ---------------------------------------------------------------- connecting

Hub* single_hub(PyObject* cls, PyObject* const* args, Py_ssize_t nargs, PyObject* names, Nanos& timeout) {
  Call call;
  if (!parse_call("connect", args, nargs, names, call)) return nullptr;
  if (nargs != 1 || !PyObject_TypeCheck(args[0], config_type)) {
    PyErr_SetString(PyExc_TypeError, "connect() takes a ConnectConfig");
    return nullptr;
  }
  if (!parse_seconds(call.timeout, 0, timeout)) return nullptr;
  auto* hub = new Hub(reinterpret_cast<ConfigObject*>(args[0]), 1, 1);
  hub->single = true;
  hub->multiplex = false;
  hub->connection_class = Py_NewRef(cls);
  if (call.record_class && call.record_class != Py_None) {
    if (!PyType_Check(call.record_class) ||
        !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(call.record_class), &record_type)) {
      PyErr_SetString(errors.interface, "record_class is expected to be a subclass of Record");
      hub->unref();
      return nullptr;
    }
    hub->record = reinterpret_cast<PyTypeObject*>(Py_NewRef(call.record_class));
  }
  return hub;
}

PyObject* connect(PyObject* cls, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  Nanos timeout;
  Hub* hub = single_hub(cls, args, nargs, names, timeout);
  if (!hub) return failed_future();
  if (!hub->attach()) {
    hub->unref();
    return failed_future();
  }
  PyObject* future = core_py::api->call_new(hub->loop());
  if (future) {
    auto* a = new Acquisition(hub);
    a->future = Py_NewRef(future);
    core_py::api->future_on_cancel(future, &Acquisition::cancelled, a);
    if (timeout > 0) {
      hub->reactor()->refresh_now();
      hub->reactor()->arm_after(a->timer, timeout);
    }
    hub->wait_for_lease(a);
  }
  hub->unref();
  return future;
}

PyObject* connect_blocking(PyObject* cls, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  Nanos timeout;
  Hub* hub = single_hub(cls, args, nargs, names, timeout);
  if (!hub) return nullptr;
  PyObject* connection = acquire_blocking(*hub, Py_None, timeout);
  hub->unref();
  return connection;
}

// ---------------------------------------------------------------- preparing

PyObject* prepare(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  auto* c = as_connection(self);
  if (!check(c)) return failed_future();
  PyObject *timeout = nullptr, *record = nullptr, *cls = nullptr;
  if (nargs != 1) {
    PyErr_SetString(PyExc_TypeError, "prepare() takes the query");
    return failed_future();
  }
  for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); ++i) {
    PyObject *key = PyTuple_GET_ITEM(names, i), *value = args[nargs + i];
    if (PyUnicode_CompareWithASCIIString(key, "timeout") == 0)
      timeout = value;
    else if (PyUnicode_CompareWithASCIIString(key, "record_class") == 0)
      record = value;
    else if (PyUnicode_CompareWithASCIIString(key, "statement_class") == 0)
      cls = value;
    else if (PyUnicode_CompareWithASCIIString(key, "name") != 0) {
      PyErr_Format(PyExc_TypeError, "prepare() got an unexpected keyword argument %R", key);
      return failed_future();
    }
  }
  if (cls && cls != Py_None &&
      (!PyType_Check(cls) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(cls), statement_type))) {
    PyErr_SetString(PyExc_TypeError, "statement_class must be a subclass of BaseStatement");
    return failed_future();
  }
  Request* r = Request::make(Shape::prepare);
  r->owner = Ref::borrow(self);
  r->sql = Ref::borrow(args[0]);
  if (cls && cls != Py_None) r->extra = Ref::borrow(cls);
  Call call{nullptr, 0, timeout, record, nullptr};
  if (!apply_call(*r, call, *c->hub, c->record)) {
    r->drop();
    return failed_future();
  }
  return start(r, *c->hub, c);
}

PyObject* portal(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  Target t = find(self);
  if (!t.hub) return failed_future();
  PyObject* source = nargs ? args[0] : nullptr;
  std::vector<PyObject*> moved;
  if (source && PyObject_TypeCheck(source, statement_type)) {  // a prepared statement: its text is its key
    Ref sql(PyObject_GetAttrString(source, "query"));
    if (!sql) return failed_future();
    moved.assign(args, args + nargs + (names ? PyTuple_GET_SIZE(names) : 0));
    moved[0] = sql.get();
    Request* r = make_request("portal", Shape::portal_bind, t, self, moved.data(), nargs, names);
    if (!r) return failed_future();
    static std::uint64_t number = 0;
    r->portal = "fasterapi_p" + std::to_string(++number);
    return start(r, *t.hub, t.connection);
  }
  Request* r = make_request("portal", Shape::portal_bind, t, self, args, nargs, names);
  if (!r) return failed_future();
  static std::uint64_t number = 0;
  r->portal = "fasterapi_q" + std::to_string(++number);
  return start(r, *t.hub, t.connection);
}

// ---------------------------------------------------------------- closing

PyObject* close(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  auto* c = as_connection(self);
  Call call;
  Nanos timeout;
  if (!parse_call("close", args, nargs, names, call) || !parse_seconds(call.timeout, 0, timeout))
    return failed_future();
  if (!c->link) return done_future(Py_None);
  if (!c->hub->attach()) return failed_future();
  Link* link = c->link;
  if (!c->single) {
    link->expired = true;
    c->released = true;
    link->release();
    return done_future(Py_None);
  }
  PyObject* future = core_py::api->call_new(c->hub->loop());
  if (!future) return nullptr;
  c->hub->close_futures.push_back(Py_NewRef(future));
  c->hub->closing = true;
  link->leased = false;
  if (link->handle) {
    link->handle->link = nullptr;
    link->handle = nullptr;
  }
  if (!link->session->pipelined() && link->lane.empty()) link->close();
  (void)timeout;
  return future;
}

PyObject* close_blocking_method(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  auto* c = as_connection(self);
  Call call;
  Nanos timeout;
  if (!parse_call("close_blocking", args, nargs, names, call) || !parse_seconds(call.timeout, 0, timeout))
    return nullptr;
  if (!c->link) Py_RETURN_NONE;
  Link* link = c->link;
  link->leased = false;
  link->handle = nullptr;
  c->link = nullptr;
  if (c->single) return close_blocking(*c->hub, timeout);
  link->close();
  Py_RETURN_NONE;
}

PyObject* terminate(PyObject* self, PyObject*) {
  auto* c = as_connection(self);
  if (!c->link) Py_RETURN_NONE;
  Link* link = c->link;
  if (c->single) c->hub->closing = true;
  link->leased = false;
  link->handle = nullptr;
  c->link = nullptr;
  link->abort("the connection was terminated");
  Py_RETURN_NONE;
}

PyObject* cancel(PyObject* self, PyObject*) {
  auto* c = as_connection(self);
  if (!check(c) || !c->hub->attach()) return failed_future();
  Session& session = *c->link->session;
  if (!session.pipelined()) return done_future(Py_None);
  PyObject* future = core_py::api->call_new(c->hub->loop());
  if (!future) return nullptr;
  session.flush_now();
  send_cancel(
      session,
      [](void* f) noexcept {
        auto* pending = static_cast<PyObject*>(f);
        if (core_py::api->future_set_result(pending, Py_None) < 0) PyErr_WriteUnraisable(pending);
        Py_DECREF(pending);
      },
      Py_NewRef(future));
  return future;
}

// ---------------------------------------------------------------- state

PyObject* get_closed(PyObject* self, void*) {
  auto* c = as_connection(self);
  return PyBool_FromLong(!c->released &&
                         !(c->link && c->link->session && c->link->session->is_open() && !c->link->closing));
}
PyObject* get_released(PyObject* self, void*) { return PyBool_FromLong(as_connection(self)->released); }
PyObject* get_pid(PyObject* self, void*) {
  auto* c = as_connection(self);
  return check(c) ? PyLong_FromUnsignedLong(c->link->session->pid()) : nullptr;
}
PyObject* get_status(PyObject* self, void*) {
  auto* c = as_connection(self);
  char status = c->link && c->link->session ? c->link->session->transaction_status() : '?';
  return PyUnicode_FromStringAndSize(&status, 1);
}
PyObject* get_parameters(PyObject* self, void*) {
  auto* c = as_connection(self);
  if (!check(c)) return nullptr;
  Ref dict(PyDict_New());
  for (const auto& [name, value] : c->link->session->parameters()) {
    Ref k(to_str(name)), v(to_str(value));
    if (!dict || !k || !v || PyDict_SetItem(dict.get(), k.get(), v.get()) != 0) return nullptr;
  }
  return dict.release();
}
PyObject* get_address(PyObject* self, void*) {
  auto* c = as_connection(self);
  if (!check(c)) return nullptr;
  const Session& s = *c->link->session;
  const Host& host = s.options().hosts[s.host()];
  if (host.is_unix()) return to_str(s.address().text);
  return Py_BuildValue("(si)", host.name.c_str(), static_cast<int>(host.port));
}
PyObject* get_tls(PyObject* self, void*) {
  auto* c = as_connection(self);
  if (!check(c)) return nullptr;
  std::string version = c->link->session->tls_version();
  if (version.empty()) Py_RETURN_NONE;
  return to_str(version);
}
PyObject* get_config(PyObject* self, void*) {
  return Py_NewRef(reinterpret_cast<PyObject*>(as_connection(self)->hub->config));
}
PyObject* get_in_flight(PyObject* self, void*) {
  auto* c = as_connection(self);
  return PyLong_FromSize_t(c->link ? c->link->in_flight() : 0);
}

bool handler(PyObject* value, Ref& where) {
  if (value != Py_None && !PyCallable_Check(value)) {
    PyErr_Format(PyExc_TypeError, "%R is not callable", value);
    return false;
  }
  where = value == Py_None ? Ref() : Ref::borrow(value);
  return true;
}
PyObject* set_notice_handler(PyObject* self, PyObject* f) {
  auto* c = as_connection(self);
  if (!check(c) || !handler(f, c->link->on_notice_handler)) return nullptr;
  Py_RETURN_NONE;
}
PyObject* set_notification_handler(PyObject* self, PyObject* f) {
  auto* c = as_connection(self);
  if (!check(c) || !handler(f, c->link->on_notification_handler)) return nullptr;
  Py_RETURN_NONE;
}
PyObject* set_close_handler(PyObject* self, PyObject* f) {
  auto* c = as_connection(self);
  if (!check(c) || !handler(f, c->link->on_close)) return nullptr;
  Py_RETURN_NONE;
}

// ---------------------------------------------------------------- types

PyObject* set_codec(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  auto* c = as_connection(self);
  if (n < 3 || n > 4) return PyErr_Format(PyExc_TypeError, "set_codec() takes oid, encoder, decoder and a format");
  unsigned long oid = PyLong_AsUnsignedLong(args[0]);
  if (PyErr_Occurred()) return nullptr;
  const char* format = n == 4 ? PyUnicode_AsUTF8(args[3]) : "text";
  if (!format) return nullptr;
  std::string_view f(format);
  char code = f == "text" ? 't' : f == "binary" ? 'b' : f == "tuple" ? 'p' : '\0';
  if (!code) return PyErr_Format(PyExc_ValueError, "unknown codec format %R", args[3]);
  if (!PyCallable_Check(args[1]) || !PyCallable_Check(args[2])) {
    return PyErr_Format(PyExc_TypeError, "encoder and decoder must be callable");
  }
  if (!c->hub->catalog->set_codec(static_cast<std::uint32_t>(oid), args[1], args[2], code)) return nullptr;
  Py_RETURN_NONE;
}
PyObject* reset_codec(PyObject* self, PyObject* oid_object) {
  unsigned long oid = PyLong_AsUnsignedLong(oid_object);
  if (PyErr_Occurred()) return nullptr;
  as_connection(self)->hub->catalog->reset_codec(static_cast<std::uint32_t>(oid));
  Py_RETURN_NONE;
}
PyObject* clear_type_cache(PyObject* self, PyObject*) {
  as_connection(self)->hub->catalog->clear();
  Py_RETURN_NONE;
}

void dealloc(PyObject* self) {
  auto* c = as_connection(self);
  PyTypeObject* type = Py_TYPE(self);
  if (c->weakrefs) PyObject_ClearWeakRefs(self);
  if (c->hub) {
    Link* link = std::exchange(c->link, nullptr);
    if (link) {
      link->handle = nullptr;
      if (c->single) {
        c->hub->closing = true;
        link->leased = false;
        link->close();
      } else if (!link->setting_up) {
        link->release_from_any_thread();  // whoever held the lease has lost it: nobody else can give it back
      }
    }
    c->hub->unref();
  }
  Py_XDECREF(reinterpret_cast<PyObject*>(c->record));
  type->tp_free(self);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

PyObject* refuse_new(PyTypeObject* type, PyObject*, PyObject*) {
  return PyErr_Format(PyExc_TypeError, "'%s' instances are made by connect() and by pools", type->tp_name);
}

PyMethodDef methods[] = {
    {"connect", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(connect)),
     METH_FASTCALL | METH_KEYWORDS | METH_CLASS, "Opens a connection on the running loop."},
    {"connect_blocking", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(connect_blocking)),
     METH_FASTCALL | METH_KEYWORDS | METH_CLASS, "Opens a connection for blocking use."},
    FASTERAPI_PG_METHOD("fetch", (query_method<find, Shape::records>), "All rows, as a list of records."),
    FASTERAPI_PG_METHOD("fetchrow", (query_method<find, Shape::first>), "The first row, or None."),
    FASTERAPI_PG_METHOD("fetchval", (query_method<find, Shape::value>), "One column of the first row, or None."),
    FASTERAPI_PG_METHOD("execute", (query_method<find, Shape::status>), "Runs a command; its tag."),
    FASTERAPI_PG_METHOD("executemany", (query_method<find, Shape::many>),
                        "Runs a command for each argument sequence."),
    FASTERAPI_PG_METHOD("fetchmany", (query_method<find, Shape::many_records>),
                        "Rows of a query for each argument sequence."),
    FASTERAPI_PG_METHOD("query", (query_method<find, Shape::result>), "A lazy result."),
    FASTERAPI_PG_METHOD("simple", (query_method<find, Shape::script>), "Runs a script by the simple protocol."),
    FASTERAPI_PG_METHOD("exec", (blocking_method<find, Shape::result>), "A lazy result; waits."),
    FASTERAPI_PG_METHOD("exec_script", (blocking_method<find, Shape::script>), "Runs a script; waits."),
    FASTERAPI_PG_METHOD("prepare", prepare, "Prepares a statement."),
    FASTERAPI_PG_METHOD("portal", portal, "Binds a cursor."),
    FASTERAPI_PG_METHOD("close", close, "Closes after what is under way has ended."),
    FASTERAPI_PG_METHOD("close_blocking", close_blocking_method, "Closes; waits."),
    {"terminate", terminate, METH_NOARGS, "Closes at once."},
    {"cancel", cancel, METH_NOARGS, "Asks the server to cancel what runs."},
    {"set_notice_handler", set_notice_handler, METH_O, nullptr},
    {"set_notification_handler", set_notification_handler, METH_O, nullptr},
    {"set_close_handler", set_close_handler, METH_O, nullptr},
    {"set_codec", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(set_codec)), METH_FASTCALL, nullptr},
    {"reset_codec", reset_codec, METH_O, nullptr},
    {"clear_type_cache", clear_type_cache, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef getset[] = {{"closed", get_closed, nullptr, nullptr, nullptr},
                        {"released", get_released, nullptr, nullptr, nullptr},
                        {"pid", get_pid, nullptr, nullptr, nullptr},
                        {"transaction_status", get_status, nullptr, nullptr, nullptr},
                        {"parameters", get_parameters, nullptr, nullptr, nullptr},
                        {"address", get_address, nullptr, nullptr, nullptr},
                        {"tls_version", get_tls, nullptr, nullptr, nullptr},
                        {"config", get_config, nullptr, nullptr, nullptr},
                        {"in_flight", get_in_flight, nullptr, nullptr, nullptr},
                        {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ConnectionObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};
PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(refuse_new)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_methods, methods},
                       {Py_tp_getset, getset},
                       {Py_tp_members, members},
                       {Py_tp_doc, const_cast<char*>("A session, or a lease of one.")},
                       {0, nullptr}};
PyType_Spec spec = {"fasterapi_pg._pg.BaseConnection", sizeof(ConnectionObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

}  // namespace

PyObject* make_connection(Hub& hub, Link& link) {
  auto* type = hub.connection_class ? reinterpret_cast<PyTypeObject*>(hub.connection_class) : connection_type;
  auto* c = as_connection(type->tp_alloc(type, 0));
  if (!c) return nullptr;
  c->hub = &hub;
  hub.ref();
  c->link = &link;
  c->single = hub.single;
  c->record = reinterpret_cast<PyTypeObject*>(Py_NewRef(reinterpret_cast<PyObject*>(hub.record)));
  link.lease(c);
  return reinterpret_cast<PyObject*>(c);
}

bool init_connection(PyObject* module) {
  connection_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  return connection_type &&
         PyModule_AddObjectRef(module, "BaseConnection", reinterpret_cast<PyObject*>(connection_type)) == 0;
}

}  // namespace fasterapi::pg::py

// BasePool and Acquire.
#include <Python.h>
#include <structmember.h>

#include <cstddef>

#include "objects.hpp"
#include "query_methods.hpp"

namespace fasterapi::pg::py {

PyTypeObject* pool_type = nullptr;

namespace {

PyTypeObject* g_acquire_type = nullptr;
PyObject* s_result = nullptr;

PoolObject* as_pool(PyObject* o) { return reinterpret_cast<PoolObject*>(o); }

Hub* hub_of(PyObject* self) {
  Hub* hub = as_pool(self)->hub;
  if (!hub) PyErr_SetString(errors.interface, "the pool is not initialized");
  return hub;
}

Target find(PyObject* self) {
  Hub* hub = hub_of(self);
  return {hub, nullptr, hub ? hub->record : &record_type, nullptr, nullptr};
}

int init(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"config",
                                "min_size",
                                "max_size",
                                "multiplex",
                                "max_queries",
                                "max_inactive_connection_lifetime",
                                "acquire_timeout",
                                "connection_class",
                                "record_class",
                                "on_connect",
                                nullptr};
  PyObject *config, *lifetime = nullptr, *acquire_timeout = nullptr, *connection = nullptr, *record = nullptr,
                    *on_connect = nullptr;
  int low = 10, high = 10, multiplex = 1;
  long long max_queries = 50000;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|$iipLOOOOO", const_cast<char**>(names), config_type, &config,
                                   &low, &high, &multiplex, &max_queries, &lifetime, &acquire_timeout, &connection,
                                   &record, &on_connect)) {
    return -1;
  }
  if (high < 1 || low < 0 || low > high) {
    PyErr_SetString(PyExc_ValueError, "0 <= min_size <= max_size and max_size >= 1 must hold");
    return -1;
  }
  auto given = [](PyObject* o) { return o && o != Py_None; };
  if (given(connection) && (!PyType_Check(connection) ||
                            !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(connection), connection_type))) {
    PyErr_SetString(PyExc_TypeError, "connection_class must be a subclass of BaseConnection");
    return -1;
  }
  if (given(record) &&
      (!PyType_Check(record) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(record), &record_type))) {
    PyErr_SetString(errors.interface, "record_class is expected to be a subclass of Record");
    return -1;
  }
  if (as_pool(self)->hub) {
    PyErr_SetString(PyExc_TypeError, "the pool is initialized already");
    return -1;
  }
  auto* hub = new Hub(reinterpret_cast<ConfigObject*>(config), low, high);
  hub->multiplex = multiplex;
  hub->max_queries = max_queries > 0 ? static_cast<std::uint64_t>(max_queries) : 0;
  bool ok = parse_seconds(lifetime, 300 * kSecond, hub->max_idle) &&
            parse_seconds(acquire_timeout, 0, hub->acquire_timeout);
  if (given(connection)) hub->connection_class = Py_NewRef(connection);
  if (given(record)) hub->record = reinterpret_cast<PyTypeObject*>(Py_NewRef(record));
  if (given(on_connect)) hub->on_connect = Ref::borrow(on_connect);
  if (!ok) {
    hub->unref();
    return -1;
  }
  as_pool(self)->hub = hub;
  return 0;
}

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  if (as_pool(self)->weakrefs) PyObject_ClearWeakRefs(self);
  if (Hub* hub = std::exchange(as_pool(self)->hub, nullptr)) hub->unref();
  type->tp_free(self);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

PyObject* open(PyObject* self, PyObject*) {
  Hub* hub = hub_of(self);
  if (!hub || !hub->attach()) return failed_future();
  if (hub->closing) {
    Ref error = hub->closed_error();
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
    return failed_future();
  }
  if (hub->opened || hub->min_size == 0) {
    hub->opened = true;
    return done_future(Py_None);
  }
  PyObject* future = core_py::api->call_new(hub->loop());
  if (!future) return nullptr;
  hub->open_futures.push_back(Py_NewRef(future));
  hub->grow(static_cast<std::size_t>(hub->min_size));
  return future;
}

// ---------------------------------------------------------------- leases

/// Awaitable of a value that is there already: the awaiting coroutine goes on without suspending.
struct ReadyObject {
  PyObject_HEAD PyObject* value;  // null once it was taken
};
PyTypeObject* g_ready_type = nullptr;

PyObject* make_ready(PyObject* value) {
  auto* r = PyObject_New(ReadyObject, g_ready_type);
  if (r) r->value = Py_NewRef(value);
  return reinterpret_cast<PyObject*>(r);
}
PyObject* ready_self(PyObject* self) { return Py_NewRef(self); }
PySendResult ready_send(PyObject* self, PyObject*, PyObject** result) {
  PyObject* value = std::exchange(reinterpret_cast<ReadyObject*>(self)->value, nullptr);
  *result = value ? value : Py_NewRef(Py_None);
  return PYGEN_RETURN;
}
PyObject* ready_next(PyObject* self) {
  Ref value(std::exchange(reinterpret_cast<ReadyObject*>(self)->value, nullptr));
  return core_py::stop_iteration(value ? value.get() : Py_None);
}
void ready_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  Py_XDECREF(reinterpret_cast<ReadyObject*>(self)->value);
  PyObject_Free(self);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}
PyType_Slot ready_slots[] = {
    {Py_am_await, reinterpret_cast<void*>(ready_self)},      {Py_am_send, reinterpret_cast<void*>(ready_send)},
    {Py_tp_iter, reinterpret_cast<void*>(ready_self)},       {Py_tp_iternext, reinterpret_cast<void*>(ready_next)},
    {Py_tp_dealloc, reinterpret_cast<void*>(ready_dealloc)}, {0, nullptr}};
PyType_Spec ready_spec = {"fasterapi_pg._pg._Ready", sizeof(ReadyObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, ready_slots};

/// A future of a connection; `*now` gets the connection itself when it is there already (and the result is null).
PyObject* lease(Hub& hub, PyObject* pool, Nanos timeout, PyObject** now) {
  *now = nullptr;
  if (!hub.attach()) return failed_future();
  if (hub.closing) {
    Ref error = hub.closed_error();
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
    return failed_future();
  }
  if (Link* link = hub.try_lease()) {
    *now = make_connection(hub, *link);
    return *now ? nullptr : failed_future();
  }
  PyObject* future = core_py::api->call_new(hub.loop());
  if (!future) return nullptr;
  auto* a = new Acquisition(&hub);
  a->future = Py_NewRef(future);
  a->owner = Py_NewRef(pool);
  core_py::api->future_on_cancel(future, &Acquisition::cancelled, a);
  if (timeout > 0) {
    hub.reactor()->refresh_now();
    hub.reactor()->arm_after(a->timer, timeout);
  }
  hub.wait_for_lease(a);
  return future;
}

bool end_lease(Hub& hub, PyObject* object) {
  if (!PyObject_TypeCheck(object, connection_type)) {
    PyErr_Format(errors.interface, "the pool received an invalid connection: %R is not a Connection", object);
    return false;
  }
  auto* c = reinterpret_cast<ConnectionObject*>(object);
  if (c->hub != &hub || c->single) {
    PyErr_Format(errors.interface, "the connection %R is not a member of this pool", object);
    return false;
  }
  if (c->released) return true;
  c->released = true;
  if (Link* link = std::exchange(c->link, nullptr)) {
    link->handle = nullptr;
    link->release_from_any_thread();
  }
  return true;
}

PyObject* release(PyObject* self, PyObject* connection) {
  Hub* hub = hub_of(self);
  if (!hub || !end_lease(*hub, connection)) return nullptr;
  Py_RETURN_NONE;
}

PyObject* owns(PyObject* self, PyObject* connection) {
  Hub* hub = hub_of(self);
  if (!hub) return nullptr;
  bool mine = PyObject_TypeCheck(connection, connection_type) &&
              reinterpret_cast<ConnectionObject*>(connection)->hub == hub;
  return PyBool_FromLong(mine);
}

struct AcquireObject {
  PyObject_HEAD PyObject* pool;
  PyObject* connection;  // once it is known
  PyObject* future;      // or what will bring it
  Nanos timeout;
};

AcquireObject* as_acquire(PyObject* o) { return reinterpret_cast<AcquireObject*>(o); }

PyObject* acquire(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  Hub* hub = hub_of(self);
  Call call;
  if (!hub || !parse_call("acquire", args, nargs, names, call)) return nullptr;
  if (nargs) {
    PyErr_SetString(PyExc_TypeError, "acquire() takes keyword arguments only");
    return nullptr;
  }
  Nanos timeout;
  if (!parse_seconds(call.timeout, hub->acquire_timeout, timeout)) return nullptr;
  auto* a = as_acquire(g_acquire_type->tp_alloc(g_acquire_type, 0));
  if (!a) return nullptr;
  a->pool = Py_NewRef(self);
  a->timeout = timeout;
  return reinterpret_cast<PyObject*>(a);
}

/// A new reference to an awaitable of the connection.
PyObject* acquire_future(AcquireObject* a) {
  PyObject* connection;
  PyObject* future = lease(*as_pool(a->pool)->hub, a->pool, a->timeout, &connection);
  if (connection) {
    Py_XSETREF(a->connection, connection);
    return make_ready(connection);
  }
  if (future) Py_XSETREF(a->future, Py_NewRef(future));
  return future;
}

PyObject* acquire_await(PyObject* self) {
  Ref future(acquire_future(as_acquire(self)));
  if (!future) return nullptr;
  // Who awaits it owns the connection: this object must not keep it alive.
  Py_CLEAR(as_acquire(self)->connection);
  Py_CLEAR(as_acquire(self)->future);
  return Py_TYPE(future.get())->tp_as_async->am_await(future.get());
}
PyObject* acquire_enter(PyObject* self, PyObject*) { return acquire_future(as_acquire(self)); }

PyObject* acquire_exit(PyObject* self, PyObject*) {
  auto* a = as_acquire(self);
  if (!a->connection && a->future) {
    a->connection = PyObject_CallMethodNoArgs(a->future, s_result);
    if (!a->connection) return failed_future();
  }
  Py_CLEAR(a->future);
  if (a->connection) {
    bool ok = end_lease(*as_pool(a->pool)->hub, a->connection);
    Py_CLEAR(a->connection);
    if (!ok) return failed_future();
  }
  return make_ready(Py_None);
}

void acquire_dealloc(PyObject* self) {
  auto* a = as_acquire(self);
  PyTypeObject* type = Py_TYPE(self);
  Py_XDECREF(a->connection);
  Py_XDECREF(a->future);
  Py_XDECREF(a->pool);
  type->tp_free(self);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

PyMethodDef acquire_methods[] = {{"__aenter__", acquire_enter, METH_NOARGS, nullptr},
                                 {"__aexit__", acquire_exit, METH_VARARGS, nullptr},
                                 {nullptr, nullptr, 0, nullptr}};
PyType_Slot acquire_slots[] = {{Py_am_await, reinterpret_cast<void*>(acquire_await)},
                               {Py_tp_dealloc, reinterpret_cast<void*>(acquire_dealloc)},
                               {Py_tp_methods, acquire_methods},
                               {0, nullptr}};
PyType_Spec acquire_spec = {"fasterapi_pg._pg.Acquire", sizeof(AcquireObject), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, acquire_slots};

// ---------------------------------------------------------------- blocking

PyObject* acquire_blocking_method(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  Hub* hub = hub_of(self);
  Call call;
  Nanos timeout;
  if (!hub || !parse_call("acquire_blocking", args, nargs, names, call) ||
      !parse_seconds(call.timeout, hub->acquire_timeout, timeout)) {
    return nullptr;
  }
  return acquire_blocking(*hub, self, timeout);
}
PyObject* open_blocking_method(PyObject* self, PyObject*) {
  Hub* hub = hub_of(self);
  return hub ? open_blocking(*hub) : nullptr;
}
PyObject* close_blocking_method(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  Hub* hub = hub_of(self);
  Call call;
  Nanos timeout;
  if (!hub || !parse_call("close_blocking", args, nargs, names, call) ||
      !parse_seconds(call.timeout, 0, timeout)) {
    return nullptr;
  }
  return close_blocking(*hub, timeout);
}

// ---------------------------------------------------------------- closing

struct CloseTimer {
  core::Timer timer;
  Hub* hub;
  explicit CloseTimer(Hub* h)
      : timer(
            [](void* self) noexcept {
              auto* t = static_cast<CloseTimer*>(self);
              t->hub->terminate();
              t->hub->unref();
              delete t;
            },
            this),
        hub(h) {
    h->ref();
  }
};

PyObject* close(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  Hub* hub = hub_of(self);
  Call call;
  Nanos timeout;
  if (!hub || !parse_call("close", args, nargs, names, call) || !parse_seconds(call.timeout, 0, timeout)) {
    return failed_future();
  }
  if (hub->closed || !hub->reactor()) {
    hub->closing = hub->closed = true;
    return done_future(Py_None);
  }
  if (!hub->attach()) return failed_future();
  PyObject* future = core_py::api->call_new(hub->loop());
  if (!future) return nullptr;
  hub->close_futures.push_back(Py_NewRef(future));
  if (timeout > 0) {
    hub->reactor()->refresh_now();
    hub->reactor()->arm_after((new CloseTimer(hub))->timer, timeout);
  }
  hub->close();
  return future;
}

PyObject* terminate(PyObject* self, PyObject*) {
  Hub* hub = hub_of(self);
  if (!hub) return nullptr;
  if (!hub->reactor()) hub->closed = true;
  hub->terminate();
  Py_RETURN_NONE;
}
PyObject* expire_connections(PyObject* self, PyObject*) {
  Hub* hub = hub_of(self);
  if (!hub) return nullptr;
  hub->expire();
  Py_RETURN_NONE;
}
PyObject* set_config(PyObject* self, PyObject* config) {
  Hub* hub = hub_of(self);
  if (!hub) return nullptr;
  if (!PyObject_TypeCheck(config, config_type)) return PyErr_Format(PyExc_TypeError, "ConnectConfig expected");
  Py_INCREF(config);
  Py_DECREF(reinterpret_cast<PyObject*>(hub->config));
  hub->config = reinterpret_cast<ConfigObject*>(config);
  hub->options = *hub->config->options;
  Py_RETURN_NONE;
}

// ---------------------------------------------------------------- state

template <class Get>
PyObject* with_hub(PyObject* self, Get get) {
  Hub* hub = hub_of(self);
  return hub ? get(*hub) : nullptr;
}
std::size_t size_of(const Hub& h) {
  std::size_t n = 0;
  for (const auto& l : h.links) n += l->usable();
  return n;
}
std::size_t idle_of(const Hub& h) {
  std::size_t n = 0;
  for (const auto& l : h.links) n += l->idle();
  return n;
}
PyObject* get_size(PyObject* s, void*) {
  return with_hub(s, [](Hub& h) { return PyLong_FromSize_t(size_of(h)); });
}
PyObject* get_idle(PyObject* s, void*) {
  return with_hub(s, [](Hub& h) { return PyLong_FromSize_t(idle_of(h)); });
}
PyObject* get_min(PyObject* s, void*) {
  return with_hub(s, [](Hub& h) { return PyLong_FromLong(h.min_size); });
}
PyObject* get_max(PyObject* s, void*) {
  return with_hub(s, [](Hub& h) { return PyLong_FromLong(h.max_size); });
}
PyObject* get_closing(PyObject* s, void*) {
  return with_hub(s, [](Hub& h) { return PyBool_FromLong(h.closing); });
}
PyObject* get_closed(PyObject* s, void*) {
  return with_hub(s, [](Hub& h) { return PyBool_FromLong(h.closed); });
}
PyObject* get_opened(PyObject* s, void*) {
  return with_hub(s, [](Hub& h) { return PyBool_FromLong(h.opened); });
}

PyObject* stats(PyObject* self, PyObject*) {
  Hub* hub = hub_of(self);
  if (!hub) return nullptr;
  std::uint64_t received = hub->stats.received, sent = hub->stats.sent;
  std::size_t in_flight = 0;
  for (const auto& l : hub->links) {
    in_flight += l->in_flight();
    if (l->session && l->session->is_open())
      received += l->session->bytes_received(), sent += l->session->bytes_sent();
  }
  const Hub::Stats& s = hub->stats;
  return Py_BuildValue("{s:n,s:n,s:n,s:n,s:n,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K}", "size",
                       static_cast<Py_ssize_t>(size_of(*hub)), "idle", static_cast<Py_ssize_t>(idle_of(*hub)),
                       "leased", static_cast<Py_ssize_t>(hub->leased_count()), "waiting",
                       static_cast<Py_ssize_t>(hub->waiting.size()), "in_flight",
                       static_cast<Py_ssize_t>(in_flight), "queries", s.queries, "shared_queries", s.shared,
                       "exclusive_queries", s.exclusive, "connects", s.connects, "connect_errors",
                       s.connect_errors, "resets", s.resets, "prepared", s.prepared, "healed", s.healed,
                       "cancelled", s.cancelled, "bytes_received", received, "bytes_sent", sent);
}

PyMethodDef methods[] = {
    {"open", open, METH_NOARGS, "Opens min_size connections."},
    {"open_blocking", open_blocking_method, METH_NOARGS, "Opens min_size connections; waits."},
    FASTERAPI_PG_METHOD("fetch", (query_method<find, Shape::records>), "All rows, as a list of records."),
    FASTERAPI_PG_METHOD("fetchrow", (query_method<find, Shape::first>), "The first row, or None."),
    FASTERAPI_PG_METHOD("fetchval", (query_method<find, Shape::value>), "One column of the first row, or None."),
    FASTERAPI_PG_METHOD("execute", (query_method<find, Shape::status>), "Runs a command; its tag."),
    FASTERAPI_PG_METHOD("executemany", (query_method<find, Shape::many>),
                        "Runs a command for each argument sequence."),
    FASTERAPI_PG_METHOD("fetchmany", (query_method<find, Shape::many_records>),
                        "Rows of a query for each argument sequence."),
    FASTERAPI_PG_METHOD("query", (query_method<find, Shape::result>), "A lazy result."),
    FASTERAPI_PG_METHOD("exec", (blocking_method<find, Shape::result>), "A lazy result; waits."),
    FASTERAPI_PG_METHOD("exec_script", (blocking_method<find, Shape::script>), "Runs a script; waits."),
    FASTERAPI_PG_METHOD("acquire", acquire, "A lease: await it or use it in `async with`."),
    FASTERAPI_PG_METHOD("acquire_blocking", acquire_blocking_method, "A lease; waits."),
    {"release", release, METH_O, "Ends a lease."},
    {"owns", owns, METH_O, "Whether a connection is a lease of this pool."},
    FASTERAPI_PG_METHOD("close", close, "Closes when everything under way has ended."),
    FASTERAPI_PG_METHOD("close_blocking", close_blocking_method, "Closes; waits."),
    {"terminate", terminate, METH_NOARGS, "Closes at once."},
    {"expire_connections", expire_connections, METH_NOARGS, "Replaces every connection."},
    {"set_config", set_config, METH_O, "For connections opened from now on."},
    {"stats", stats, METH_NOARGS, "Counters."},
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef getset[] = {
    {"size", get_size, nullptr, nullptr, nullptr},       {"idle", get_idle, nullptr, nullptr, nullptr},
    {"min_size", get_min, nullptr, nullptr, nullptr},    {"max_size", get_max, nullptr, nullptr, nullptr},
    {"closing", get_closing, nullptr, nullptr, nullptr}, {"closed", get_closed, nullptr, nullptr, nullptr},
    {"opened", get_opened, nullptr, nullptr, nullptr},   {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyMemberDef members[] = {{"__weaklistoffset__", T_PYSSIZET, offsetof(PoolObject, weakrefs), READONLY, nullptr},
                         {nullptr, 0, 0, 0, nullptr}};
PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(PyType_GenericNew)},
    {Py_tp_init, reinterpret_cast<void*>(init)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {Py_tp_members, members},
    {Py_tp_doc, const_cast<char*>("Connections of one database, shared by concurrent queries.")},
    {0, nullptr}};
PyType_Spec spec = {"fasterapi_pg._pg.BasePool", sizeof(PoolObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                    slots};

}  // namespace

bool init_pool(PyObject* module) {
  s_result = PyUnicode_InternFromString("result");
  pool_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  g_acquire_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&acquire_spec));
  g_ready_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&ready_spec));
  return s_result && pool_type && g_acquire_type && g_ready_type &&
         PyModule_AddObjectRef(module, "BasePool", reinterpret_cast<PyObject*>(pool_type)) == 0 &&
         PyModule_AddObjectRef(module, "Acquire", reinterpret_cast<PyObject*>(g_acquire_type)) == 0;
}

}  // namespace fasterapi::pg::py

// BaseStatement (a prepared statement) and Portal (a cursor).
#include <Python.h>
#include <structmember.h>

#include <cstddef>

#include "objects.hpp"
#include "query_methods.hpp"

namespace fasterapi::pg::py {

PyTypeObject* statement_type = nullptr;

namespace {

PyTypeObject* g_portal_type = nullptr;

struct StatementBody {
  Ref connection;
  StatementRef statement;
  std::string name;
  PyTypeObject* record;
  Ref record_ref;
};
struct StatementObject {
  PyObject_HEAD StatementBody* body;
  PyObject* status;
  PyObject* weakrefs;
};

StatementBody& body(PyObject* self) { return *reinterpret_cast<StatementObject*>(self)->body; }
ConnectionObject* connection(const StatementBody& b) {
  return reinterpret_cast<ConnectionObject*>(b.connection.get());
}
PyStatement& statement(const StatementBody& b) { return *static_cast<PyStatement*>(b.statement.get()); }

bool check(ConnectionObject* c, const char* what) {
  if (c->link && c->link->session && !c->link->closing) return true;
  Ref error = make_error(errors.interface, std::string("cannot use the ") + what + ": its connection " +
                                               (c->released ? "has been released back to the pool" : "is closed"));
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
  return false;
}

Target find(PyObject* self) {
  StatementBody& b = body(self);
  ConnectionObject* c = connection(b);
  if (!check(c, "prepared statement")) return {nullptr, nullptr, nullptr, nullptr, nullptr};
  return {c->hub, c, b.record, statement(b).sql_object.get(), b.statement.get()};
}

Prepared* entry(const StatementBody& b) {
  ConnectionObject* c = connection(b);
  return c->link && c->link->session ? c->link->session->find(*b.statement.get()) : nullptr;
}

void dealloc(PyObject* self) {
  auto* s = reinterpret_cast<StatementObject*>(self);
  PyTypeObject* type = Py_TYPE(self);
  if (s->weakrefs) PyObject_ClearWeakRefs(self);
  if (s->body) {
    if (Prepared* e = entry(*s->body); e && e->pins) --e->pins;  // the cache may drop it now
    delete s->body;
  }
  Py_XDECREF(s->status);
  type->tp_free(self);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

PyObject* refuse_new(PyTypeObject* type, PyObject*, PyObject*) {
  return PyErr_Format(PyExc_TypeError, "'%s' instances are made by prepare()", type->tp_name);
}

PyObject* get_connection(PyObject* self, void*) { return Py_NewRef(body(self).connection.get()); }
PyObject* get_query(PyObject* self, void*) { return Py_NewRef(statement(body(self)).sql_object.get()); }
PyObject* get_name(PyObject* self, void*) { return to_str(body(self).name); }
PyObject* get_status(PyObject* self, void*) {
  PyObject* s = reinterpret_cast<StatementObject*>(self)->status;
  return Py_NewRef(s ? s : Py_None);
}
PyObject* get_parameters(PyObject* self, void*) {
  const PyStatement& s = statement(body(self));
  Ref t(PyTuple_New(static_cast<Py_ssize_t>(s.encoders.size())));
  for (std::size_t i = 0; t && i < s.encoders.size(); ++i) {
    PyObject* c = column_object(s.encoders[i], "");
    if (!c) return nullptr;
    PyTuple_SET_ITEM(t.get(), static_cast<Py_ssize_t>(i), c);
  }
  return t.release();
}
PyObject* get_attributes(PyObject* self, void*) {
  const PyStatement& s = statement(body(self));
  Ref t(PyTuple_New(static_cast<Py_ssize_t>(s.decoders.size())));
  for (std::size_t i = 0; t && i < s.decoders.size(); ++i) {
    PyObject* c = column_object(s.decoders[i].type, s.columns[i].name);
    if (!c) return nullptr;
    PyTuple_SET_ITEM(t.get(), static_cast<Py_ssize_t>(i), c);
  }
  return t.release();
}

PyMethodDef methods[] = {
    FASTERAPI_PG_METHOD("fetch", (query_method<find, Shape::records>), "All rows, as a list of records."),
    FASTERAPI_PG_METHOD("fetchrow", (query_method<find, Shape::first>), "The first row, or None."),
    FASTERAPI_PG_METHOD("fetchval", (query_method<find, Shape::value>), "One column of the first row, or None."),
    FASTERAPI_PG_METHOD("execute", (query_method<find, Shape::status>), "Runs it; its command tag."),
    FASTERAPI_PG_METHOD("executemany", (query_method<find, Shape::many>), "Runs it for each argument sequence."),
    FASTERAPI_PG_METHOD("fetchmany", (query_method<find, Shape::many_records>),
                        "Rows for each argument sequence."),
    FASTERAPI_PG_METHOD("exec", (blocking_method<find, Shape::result>), "A lazy result; waits."),
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef getset[] = {{"connection", get_connection, nullptr, nullptr, nullptr},
                        {"query", get_query, nullptr, nullptr, nullptr},
                        {"name", get_name, nullptr, nullptr, nullptr},
                        {"status", get_status, nullptr, nullptr, nullptr},
                        {"parameters", get_parameters, nullptr, nullptr, nullptr},
                        {"attributes", get_attributes, nullptr, nullptr, nullptr},
                        {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(StatementObject, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};
PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(refuse_new)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_methods, methods},
                       {Py_tp_getset, getset},
                       {Py_tp_members, members},
                       {Py_tp_doc, const_cast<char*>("A prepared statement of one connection.")},
                       {0, nullptr}};
PyType_Spec spec = {"fasterapi_pg._pg.BaseStatement", sizeof(StatementObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

// ---------------------------------------------------------------- portal

struct PortalBody {
  Ref connection;
  StatementRef statement;
  std::string name;
  PyTypeObject* record;
  Ref record_ref;
  bool exhausted = false, closed = false;
};
struct PortalObject {
  PyObject_HEAD PortalBody* body;
};

PortalBody& portal(PyObject* self) { return *reinterpret_cast<PortalObject*>(self)->body; }

/// Close of a portal whose answer nobody waits for.
class ClosePortal final : public Operation {
 public:
  static void send(Session& session, const std::string& name) {
    auto* op = new ClosePortal;
    frontend::close_portal(session.out(), name);
    frontend::sync(session.out());
    op->expect_close();
    session.push(*op);
    session.flush_soon();
  }

 private:
  bool on_row(std::string_view) noexcept override { return false; }
  void on_ready(Session&, char) noexcept override { delete this; }
  void on_lost(Session&, const Failure&) noexcept override { delete this; }
};

void close_now(PortalBody& p) {
  auto* c = reinterpret_cast<ConnectionObject*>(p.connection.get());
  if (std::exchange(p.closed, true)) return;
  // Outside a transaction the portal went with its Sync already.
  if (c->link && c->link->usable() && c->link->session->transaction_status() == 'T' && c->link->lane.empty()) {
    ClosePortal::send(*c->link->session, p.name);
  }
}

PyObject* portal_fetch(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  PortalBody& p = portal(self);
  auto* c = reinterpret_cast<ConnectionObject*>(p.connection.get());
  Call call;
  if (!check(c, "cursor") || !parse_call("fetch", args, nargs, names, call)) return failed_future();
  long limit = nargs == 1 ? PyLong_AsLong(args[0]) : -1;
  if (limit < 0 || limit > 0x7fffffff) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "fetch() takes the number of rows, 0 for all");
    return failed_future();
  }
  if (p.exhausted || p.closed) {
    Ref empty(PyList_New(0));
    return empty ? done_future(empty.get()) : nullptr;
  }
  Request* r = Request::make(Shape::portal_fetch);
  r->owner = Ref::borrow(self);
  r->sql = Ref::borrow(static_cast<PyStatement*>(p.statement.get())->sql_object.get());
  r->statement_ref = p.statement;
  r->portal = p.name;
  r->limit = static_cast<std::uint32_t>(limit);
  if (!apply_call(*r, call, *c->hub, p.record)) {
    r->drop();
    return failed_future();
  }
  return start(r, *c->hub, c);
}

PyObject* portal_close(PyObject* self, PyObject*) {
  close_now(portal(self));
  return done_future(Py_None);
}
PyObject* portal_exhausted(PyObject* self, void*) { return PyBool_FromLong(portal(self).exhausted); }

void portal_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  close_now(portal(self));
  delete reinterpret_cast<PortalObject*>(self)->body;
  type->tp_free(self);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

PyMethodDef portal_methods[] = {FASTERAPI_PG_METHOD("fetch", portal_fetch, "At most so many rows; 0 for all."),
                                {"close", portal_close, METH_NOARGS, "Closes the cursor."},
                                {nullptr, nullptr, 0, nullptr}};
PyGetSetDef portal_getset[] = {{"exhausted", portal_exhausted, nullptr, nullptr, nullptr},
                               {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyType_Slot portal_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(portal_dealloc)},
                              {Py_tp_methods, portal_methods},
                              {Py_tp_getset, portal_getset},
                              {0, nullptr}};
PyType_Spec portal_spec = {"fasterapi_pg._pg.Portal", sizeof(PortalObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, portal_slots};

}  // namespace

PyObject* make_statement_object(Request& r) {
  auto* type = r.extra ? reinterpret_cast<PyTypeObject*>(r.extra.get()) : statement_type;
  auto* self = reinterpret_cast<StatementObject*>(type->tp_alloc(type, 0));
  if (!self) return nullptr;
  auto* b = new StatementBody{r.owner, r.statement_ref, "", r.record, r.record_ref};
  self->body = b;
  if (Prepared* e = entry(*b)) {
    ++e->pins;
    b->name = e->name;
  }
  return reinterpret_cast<PyObject*>(self);
}

PyObject* make_portal(Request& r) {
  auto* self = reinterpret_cast<PortalObject*>(g_portal_type->tp_alloc(g_portal_type, 0));
  if (self) self->body = new PortalBody{r.owner, StatementRef(r.rows_of()), r.portal, r.record, r.record_ref};
  return reinterpret_cast<PyObject*>(self);
}

PyObject* finish_portal_fetch(Request& r, PyObject* list, bool suspended) {
  if (list && Py_TYPE(r.owner.get()) == g_portal_type) portal(r.owner.get()).exhausted = !suspended;
  return list;
}

void note_status(PyObject* owner, const std::string& tag) {
  if (!PyObject_TypeCheck(owner, statement_type)) return;
  PyObject* text = to_str(tag);
  Py_XSETREF(reinterpret_cast<StatementObject*>(owner)->status, text);
}

bool init_prepared(PyObject* module) {
  statement_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  g_portal_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&portal_spec));
  return statement_type && g_portal_type &&
         PyModule_AddObjectRef(module, "BaseStatement", reinterpret_cast<PyObject*>(statement_type)) == 0 &&
         PyModule_AddObjectRef(module, "Portal", reinterpret_cast<PyObject*>(g_portal_type)) == 0;
}

}  // namespace fasterapi::pg::py

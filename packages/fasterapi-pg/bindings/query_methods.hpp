#pragma once
// fetch(), fetchrow(), ... of pools, connections and prepared statements: the same calls with another beginning.
//   Target   begin(self, request) -> ConnectionObject* or nullptr for a pool; sets hub, owner and statement
#include "objects.hpp"

namespace fasterapi::pg::py {

/// What a call is made on.
struct Target {
  Hub* hub;
  ConnectionObject* connection;  // nullptr: the pool chooses
  PyTypeObject* record;
  PyObject* sql;         // of a prepared statement; nullptr: the first argument
  Statement* statement;  // of a prepared statement
};

using Find = Target (*)(PyObject* self);

/// Makes the request of one call; nullptr with an exception.
inline Request* make_request(const char* name, Shape shape, const Target& t, PyObject* self, PyObject* const* args,
                             Py_ssize_t nargs, PyObject* names) {
  Call call;
  if (!parse_call(name, args, nargs, names, call)) return nullptr;
  Py_ssize_t first = t.sql ? 0 : 1;
  if (call.count < first) {
    PyErr_Format(PyExc_TypeError, "%s() needs the query as its first argument", name);
    return nullptr;
  }
  bool bulk = shape == Shape::many || shape == Shape::many_records;
  if (bulk && call.count != first + 1) {
    PyErr_Format(PyExc_TypeError, "%s() takes %s one sequence of argument sequences", name,
                 t.sql ? "" : "the query and");
    return nullptr;
  }
  Request* r = Request::make(shape);
  r->owner = Ref::borrow(self);
  r->sql = Ref::borrow(t.sql ? t.sql : args[0]);
  if (t.statement) r->statement_ref = StatementRef(t.statement);
  bool ok = apply_call(*r, call, *t.hub, t.record);
  if (ok && bulk) {
    r->many = Ref(argument_rows(args[first]));
    ok = static_cast<bool>(r->many);
  } else if (ok) {
    r->args.reserve(static_cast<std::size_t>(call.count - first));
    for (Py_ssize_t i = first; i < call.count; ++i) r->args.push_back(Ref::borrow(args[i]));
    if (shape == Shape::status && !t.sql && call.count == 1) r->shape = Shape::script;  // a script may be several
    if (r->shape == Shape::script && !PyUnicode_Check(r->sql.get())) {
      PyErr_Format(PyExc_TypeError, "the query must be a str, not %s", Py_TYPE(r->sql.get())->tp_name);
      ok = false;
    }
  }
  if (ok) return r;
  r->drop();
  return nullptr;
}

template <Find find, Shape shape>
PyObject* query_method(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  Target t = find(self);
  if (!t.hub) return failed_future();
  Request* r = make_request("query", shape, t, self, args, nargs, names);
  return r ? start(r, *t.hub, t.connection) : failed_future();
}

template <Find find, Shape shape>
PyObject* blocking_method(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  Target t = find(self);
  if (!t.hub) return nullptr;
  Request* r = make_request("exec", shape, t, self, args, nargs, names);
  return r ? start_blocking(r, *t.hub, t.connection) : nullptr;
}

#define FASTERAPI_PG_METHOD(name, function, doc) \
  { name, reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function)), METH_FASTCALL | METH_KEYWORDS, doc }

}  // namespace fasterapi::pg::py

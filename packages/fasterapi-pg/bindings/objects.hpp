#pragma once
// The Python objects of this module, as far as its files need to know each other's.
#include "hub.hpp"
#include "python.hpp"
#include "request.hpp"

namespace fasterapi::pg::py {

struct ConfigObject {
  PyObject_HEAD std::shared_ptr<const Options>* options;
};

/// A lease of a link (or the connection of a hub of its own). `link` is null once released or lost.
struct ConnectionObject {
  PyObject_HEAD Hub* hub;  // counted
  Link* link;
  PyTypeObject* record;  // owned
  bool single, released;
  PyObject* weakrefs;
};

struct PoolObject {
  PyObject_HEAD Hub* hub;
  PyObject* weakrefs;
};

extern PyTypeObject* config_type;
extern PyTypeObject* connection_type;
extern PyTypeObject* pool_type;
extern PyTypeObject* statement_type;
extern PyTypeObject* result_type;

/// A handle of hub.connection_class for a link, which is leased to it.
PyObject* make_connection(Hub& hub, Link& link);
PyObject* make_result(PyStatement& statement, PyTypeObject* record, RowStore&& rows, const std::string& tag);
PyObject* make_statement_object(Request& request);
PyObject* make_portal(Request& request);
/// A prepared statement remembers the tag of its last execution.
void note_status(PyObject* owner, const std::string& tag);
PyObject* finish_portal_fetch(Request& request, PyObject* list, bool suspended);
PyObject* column_object(const Type* type, const std::string& name);

/// Turns the exception that is set into "invalid input for query argument $n: value (reason)".
void wrap_argument_error(std::size_t number, PyObject* value);
void name_argument_row(Py_ssize_t row);
void wrong_argument_count(std::size_t expected, std::size_t got);

bool init_config(PyObject* module);
bool init_connection(PyObject* module);
bool init_pool(PyObject* module);
bool init_result(PyObject* module);
bool init_prepared(PyObject* module);
PyObject* set_result_class(PyObject*, PyObject* cls);

// ---- shared by the methods of pools, connections and statements (calls.cpp)

/// Positional arguments and the keywords timeout, record_class, column, of a METH_FASTCALL|METH_KEYWORDS call.
struct Call {
  PyObject* const* args;
  Py_ssize_t count;
  PyObject* timeout = nullptr;
  PyObject* record_class = nullptr;
  PyObject* column = nullptr;
};
bool parse_call(const char* name, PyObject* const* args, Py_ssize_t nargs, PyObject* names, Call& call);
/// Fills timeout and record class of a request from a call. False with an exception.
bool apply_call(Request& request, const Call& call, const Hub& hub, PyTypeObject* record);
/// Seconds (int, float or None) as nanoseconds; `fallback` for None.
bool parse_seconds(PyObject* value, Nanos fallback, Nanos& out);
/// A future that has failed with the exception that is set.
PyObject* failed_future();
PyObject* done_future(PyObject* value);
/// Gives `request` a future and hands it to `link` (or to the hub). Returns the future.
PyObject* start(Request* request, Hub& hub, ConnectionObject* connection);
/// The same for a thread that waits. Returns the result.
PyObject* start_blocking(Request* request, Hub& hub, ConnectionObject* connection);
PyObject* acquire_blocking(Hub& hub, PyObject* owner, Nanos timeout);
PyObject* close_blocking(Hub& hub, Nanos timeout);
PyObject* open_blocking(Hub& hub);
/// list(iterable of sequences), as executemany() keeps it.
PyObject* argument_rows(PyObject* iterable);

}  // namespace fasterapi::pg::py

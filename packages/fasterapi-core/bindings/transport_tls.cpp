// TlsPath: asyncio's SSLProtocol once the handshake is over, for data in and out. A base class in front of it
// whose methods do what SSLProtocol's do, on the same attributes, without its frames and without the
// SSLWantReadError that ends each of its reads. Everything else (handshake, shutdown, paused or buffered
// protocols, a backlog) is left to SSLProtocol itself.
//   Why not core's TlsSession: the context is the user's ssl.SSLContext, whose OpenSSL is the interpreter's
#include <cstring>

#include "transport_stream.hpp"

namespace fasterapi::core::py {
namespace {

constexpr long kRecord = 16 * 1024;  // the plaintext of one record: no read returns more

struct Names {
  PyObject *state, *app_reading_paused, *app_is_buffer, *incoming, *outgoing, *buffer_view, *core_read,
      *core_write, *app_protocol, *write_backlog, *write_buffer_size, *ssl_writing_paused, *ssl_reading_paused,
      *app_writing_paused, *outgoing_high_water, *transport;
  PyObject *pending, *read, *write, *append;
  PyObject *do_write, *process_outgoing, *control_ssl_reading, *control_app_writing, *call_eof_received,
      *start_shutdown, *fatal_error;
  PyObject *wrapped, *again, *record, *message;
  PyObject *buffer_updated, *write_appdata;  // SSLProtocol's own
} n;

Ref get(PyObject* self, PyObject* name) { return Ref(PyObject_GetAttr(self, name)); }
bool truth(const Ref& value) { return value && PyObject_IsTrue(value.get()) == 1; }

/// The attribute is False (or empty, or 0); not so when it cannot be read.
bool unset(PyObject* self, PyObject* name) {
  Ref value = get(self, name);
  return value && PyObject_IsTrue(value.get()) == 0;
}

bool call(PyObject* self, PyObject* method) {
  return static_cast<bool>(Ref(PyObject_CallMethodNoArgs(self, method)));
}

bool wrapped(PyObject* self) { return get(self, n.state).get() == n.wrapped; }

/// `except Exception as ex: self._fatal_error(ex, 'Fatal error on SSL protocol')`
PyObject* fatal(PyObject* self) {
  if (!PyErr_ExceptionMatches(PyExc_Exception)) return nullptr;
  Ref exception(take_exception());
  PyObject* stack[3] = {self, exception.get(), n.message};
  return PyObject_VectorcallMethod(n.fatal_error, stack, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
}

PyObject* get_buffer(PyObject* self, PyObject*) { return PyObject_GetAttr(self, n.buffer_view); }

/// What the records that are complete hold, as one bytes object; empty when none is. `eof`: close_notify came.
Ref decrypt(PyObject* self, PyObject* incoming, bool* eof) {
  Ref read = get(self, n.core_read), pending = get(incoming, n.pending);
  Py_ssize_t room = pending ? PyLong_AsSsize_t(pending.get()) : -1;
  if (!read || room < 0) return Ref();
  room += kRecord;  // plaintext is shorter than its records, one of which OpenSSL may hold the beginning of
  PyObject* data = PyBytes_FromStringAndSize(nullptr, room);
  Py_ssize_t got = 0;
  while (data && got < room) {
    Ref slice(PyMemoryView_FromMemory(PyBytes_AS_STRING(data) + got, room - got, PyBUF_WRITE));
    PyObject* stack[3] = {nullptr, n.record, slice.get()};
    Ref count(slice ? PyObject_Vectorcall(read.get(), stack + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr)
                    : nullptr);
    Py_ssize_t size = count ? PyLong_AsSsize_t(count.get()) : -1;
    if (size < 0) {
      if (!PyErr_ExceptionMatches(n.again)) {
        Py_CLEAR(data);
        break;
      }
      PyErr_Clear();
      break;
    }
    if (size == 0) {
      *eof = true;
      break;
    }
    got += size;
    if (unset(incoming, n.pending)) break;  // another read could only raise
  }
  if (data && got != room) _PyBytes_Resize(&data, got);
  return Ref(data);
}

PyObject* buffer_updated(PyObject* self, PyObject* count) {
  if (!wrapped(self) || !unset(self, n.app_reading_paused) || !unset(self, n.app_is_buffer)) {
    if (PyErr_Occurred()) return nullptr;
    PyObject* stack[2] = {self, count};
    return PyObject_Vectorcall(n.buffer_updated, stack, 2, nullptr);
  }
  Ref incoming = get(self, n.incoming), view = get(self, n.buffer_view);
  Py_ssize_t size = PyLong_AsSsize_t(count);
  if (!incoming || !view || size < 0 || !PyMemoryView_Check(view.get())) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "buffer_updated() without its buffer");
    return nullptr;
  }
  Ref slice(
      PyMemoryView_FromMemory(static_cast<char*>(PyMemoryView_GET_BUFFER(view.get())->buf), size, PyBUF_READ));
  if (!slice || !Ref(PyObject_CallMethodOneArg(incoming.get(), n.write, slice.get()))) return nullptr;

  bool eof = false;
  Ref data = decrypt(self, incoming.get(), &eof);
  if (!data) return fatal(self);
  if (PyBytes_GET_SIZE(data.get())) {
    Ref protocol = get(self, n.app_protocol);
    if (!protocol || !Ref(PyObject_CallMethodOneArg(protocol.get(), tn.data_received, data.get())))
      return fatal(self);
  }
  if (eof && (!call(self, n.call_eof_received) || !call(self, n.start_shutdown))) return fatal(self);
  Ref outgoing = get(self, n.outgoing);
  if (!unset(self, n.write_backlog)) {
    if (PyErr_Occurred() || !call(self, n.do_write)) return fatal(self);
  } else if (!outgoing || !unset(outgoing.get(), n.pending) || !unset(self, n.app_writing_paused)) {
    if (PyErr_Occurred() || !call(self, n.process_outgoing)) return fatal(self);
  }
  if (!unset(incoming.get(), n.pending) || !unset(self, n.ssl_reading_paused))
    if (PyErr_Occurred() || !call(self, n.control_ssl_reading)) return fatal(self);
  Py_RETURN_NONE;
}

/// Encrypts all of one object; 1 done, 0 the rest is in the backlog, -1 exception.
int encrypt(PyObject* self, PyObject* write, PyObject* data) {
  Py_buffer view;
  if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) return -1;
  Py_ssize_t sent = 0;
  int outcome = 1;
  while (sent < view.len) {
    Ref rest(PyMemoryView_FromMemory(static_cast<char*>(view.buf) + sent, view.len - sent, PyBUF_READ));
    Ref count(rest ? PyObject_CallOneArg(write, rest.get()) : nullptr);
    if (count) {
      sent += PyLong_AsSsize_t(count.get());
      continue;
    }
    outcome = -1;
    if (!PyErr_ExceptionMatches(n.again)) break;
    PyErr_Clear();
    Ref copy(PyBytes_FromStringAndSize(static_cast<char*>(view.buf) + sent, view.len - sent));
    Ref backlog = get(self, n.write_backlog), size = get(self, n.write_buffer_size);
    Ref more(size ? PyLong_FromSsize_t(view.len - sent) : nullptr);
    Ref sum(more ? PyNumber_Add(size.get(), more.get()) : nullptr);
    if (copy && backlog && sum && Ref(PyObject_CallMethodOneArg(backlog.get(), n.append, copy.get())) &&
        PyObject_SetAttr(self, n.write_buffer_size, sum.get()) == 0)
      outcome = 0;
    break;
  }
  PyBuffer_Release(&view);
  return outcome;
}

PyObject* write_appdata(PyObject* self, PyObject* list) {
  if (!PyTuple_CheckExact(list) || PyTuple_GET_SIZE(list) != 1 || !wrapped(self) ||
      !unset(self, n.write_backlog) || !unset(self, n.ssl_writing_paused)) {
    if (PyErr_Occurred()) return nullptr;
    PyObject* stack[2] = {self, list};
    return PyObject_Vectorcall(n.write_appdata, stack, 2, nullptr);
  }
  Ref write = get(self, n.core_write), outgoing = get(self, n.outgoing), transport = get(self, n.transport);
  if (!write || !outgoing || !transport) return nullptr;
  int encrypted = encrypt(self, write.get(), PyTuple_GET_ITEM(list, 0));
  if (encrypted < 0) return fatal(self);
  Ref records(PyObject_CallMethodNoArgs(outgoing.get(), n.read));
  if (!records) return fatal(self);
  if (PyBytes_GET_SIZE(records.get())) {
    Ref sent(Py_TYPE(transport.get()) == StreamTransportType
                 ? stream_write(transport.get(), records.get())
                 : PyObject_CallMethodOneArg(transport.get(), n.write, records.get()));
    if (!sent) return fatal(self);
  }
  // Nothing waits on our side unless there is a backlog: only a protocol that is paused, or a limit of 0, is told.
  if (encrypted == 0 || !unset(self, n.app_writing_paused) || !truth(get(self, n.outgoing_high_water)))
    if (PyErr_Occurred() || !call(self, n.control_app_writing)) return fatal(self);
  Py_RETURN_NONE;
}

PyMethodDef methods[] = {{"get_buffer", get_buffer, METH_O, nullptr},
                         {"buffer_updated", buffer_updated, METH_O, nullptr},
                         {"_write_appdata", write_appdata, METH_O, nullptr},
                         {}};
PyType_Slot slots[] = {{Py_tp_methods, methods}, {0, nullptr}};
PyType_Spec spec = {"fasterapi_core._core.TlsPath", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

bool init_names() {
  struct {
    PyObject** slot;
    const char* text;
  } const names[] = {{&n.state, "_state"},
                     {&n.app_reading_paused, "_app_reading_paused"},
                     {&n.app_is_buffer, "_app_protocol_is_buffer"},
                     {&n.incoming, "_incoming"},
                     {&n.outgoing, "_outgoing"},
                     {&n.buffer_view, "_ssl_buffer_view"},
                     {&n.core_read, "_core_read"},
                     {&n.core_write, "_core_write"},
                     {&n.app_protocol, "_app_protocol"},
                     {&n.write_backlog, "_write_backlog"},
                     {&n.write_buffer_size, "_write_buffer_size"},
                     {&n.ssl_writing_paused, "_ssl_writing_paused"},
                     {&n.ssl_reading_paused, "_ssl_reading_paused"},
                     {&n.app_writing_paused, "_app_writing_paused"},
                     {&n.outgoing_high_water, "_outgoing_high_water"},
                     {&n.transport, "_transport"},
                     {&n.pending, "pending"},
                     {&n.read, "read"},
                     {&n.write, "write"},
                     {&n.append, "append"},
                     {&n.do_write, "_do_write"},
                     {&n.process_outgoing, "_process_outgoing"},
                     {&n.control_ssl_reading, "_control_ssl_reading"},
                     {&n.control_app_writing, "_control_app_writing"},
                     {&n.call_eof_received, "_call_eof_received"},
                     {&n.start_shutdown, "_start_shutdown"},
                     {&n.fatal_error, "_fatal_error"},
                     {&n.message, "Fatal error on SSL protocol"}};
  for (auto& name : names)
    if (!(*name.slot = PyUnicode_InternFromString(name.text))) return false;
  Ref module(PyImport_ImportModule("asyncio.sslproto"));
  if (!module) return false;
  Ref protocol(PyObject_GetAttrString(module.get(), "SSLProtocol"));
  Ref states(PyObject_GetAttrString(module.get(), "SSLProtocolState"));
  if (!protocol || !states) return false;
  n.record = PyLong_FromLong(kRecord);
  n.wrapped = PyObject_GetAttrString(states.get(), "WRAPPED");
  n.again = PyObject_GetAttrString(module.get(), "SSLAgainErrors");
  n.buffer_updated = PyObject_GetAttrString(protocol.get(), "buffer_updated");
  n.write_appdata = PyObject_GetAttrString(protocol.get(), "_write_appdata");
  return n.record && n.wrapped && n.again && n.buffer_updated && n.write_appdata;
}

}  // namespace

bool add_tls_path(PyObject* module) {
  Ref ssl(PyImport_ImportModule("_ssl"));
  if (!ssl) {  // an interpreter without OpenSSL has no TLS to speed up
    PyErr_Clear();
    return true;
  }
  if (!init_names()) return false;
  Ref type(PyType_FromModuleAndSpec(module, &spec, nullptr));
  return type && PyModule_AddType(module, reinterpret_cast<PyTypeObject*>(type.get())) == 0;
}

}  // namespace fasterapi::core::py

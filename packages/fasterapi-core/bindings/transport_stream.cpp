// TCP and UNIX stream transports: life, state, and what asyncio's Transport offers. Reading and writing are in
// transport_read.cpp and transport_write.cpp. The order of callbacks is asyncio's: connection_made() by
// call_soon(), reading from the callback after it, connection_lost() by call_soon() or after the last byte.
#include "transport_stream.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>

namespace fasterapi::core::py {

PyTypeObject* StreamTransportType = nullptr;

namespace {

StreamTransport* cast(PyObject* self) { return reinterpret_cast<StreamTransport*>(self); }

PyObject* method_connection_lost(PyObject* self, PyObject* exception) {
  if (cast(self)->open) stream_connection_lost(cast(self), exception);
  Py_RETURN_NONE;
}
PyMethodDef connection_lost_def{"_call_connection_lost", method_connection_lost, METH_O, nullptr};

void lose_soon(StreamTransport* t, PyObject* exception) noexcept {
  ++t->conn_lost;
  Ref callback(PyCFunction_New(&connection_lost_def, t->object()));
  if (!callback || call_soon_here(t->core(), callback.get(), exception) < 0) PyErr_WriteUnraisable(t->object());
}

PyObject* socket_object(StreamTransport* t) {  // borrowed
  if (t->sock || !t->open) return t->sock;
  int domain = 0, type = 0, protocol = 0;
  socklen_t size = sizeof domain;
  ::getsockopt(t->fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
  size = sizeof type;
  ::getsockopt(t->fd, SOL_SOCKET, SO_TYPE, &type, &size);
  size = sizeof protocol;
  ::getsockopt(t->fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size);
  // As socket.accept() makes them: non-blocking, and the protocol is the listener's, which is mostly 0.
  t->sock = PyObject_CallFunction(tn.socket_type, "iiii", domain, type, 0, t->fd);
  if (!t->sock) return nullptr;
  Ref done(PyObject_CallMethod(t->sock, "setblocking", "O", Py_False));
  return done ? t->sock : nullptr;
}

void know_sockname(StreamTransport* t) noexcept {
  if (t->sockname) return;
  sockaddr_storage address;
  socklen_t length = sizeof address;
  if (::getsockname(t->fd, reinterpret_cast<sockaddr*>(&address), &length) == 0)
    t->sockname = address_object(reinterpret_cast<sockaddr*>(&address), length);
  else
    t->sockname = none();
  if (!t->sockname) PyErr_Clear();
}

void know_peername(StreamTransport* t) noexcept {
  if (t->peername) return;
  t->peername = t->peer_known ? address_object(reinterpret_cast<sockaddr*>(&t->peer), t->peer_length) : none();
  if (!t->peername) PyErr_Clear();
}

void close_descriptor(StreamTransport* t) noexcept {
  if (!t->open) return;
  know_sockname(t);  // it can be asked for after the close
  t->open = false;
  t->io().watch(0);
  if (t->loop) t->core()->transports->release(t->fd, t->object());
  if (!t->sock) {
    ::close(t->fd);
    return;
  }
  if (!Ref(PyObject_CallMethodNoArgs(t->sock, tn.close))) PyErr_WriteUnraisable(t->object());
}

void detach_server(StreamTransport* t) noexcept {
  Ref server(std::exchange(t->server, nullptr));
  if (!server) return;
#if PY_VERSION_HEX >= 0x030d0000
  Ref done(PyObject_CallMethodOneArg(server.get(), tn.detach, t->object()));
#else
  Ref done(PyObject_CallMethodNoArgs(server.get(), tn.detach));
#endif
  if (!done) PyErr_WriteUnraisable(t->object());
}

}  // namespace

// ---------------------------------------------------------------- state

void StreamIo::on_io(unsigned events) noexcept {
  auto* t = cast(owner());
  Ref hold = Ref::hold(owner());
  if ((events & (kReadable | kHangup)) && (interest() & kReadable)) stream_read_ready(t);
  if ((events & (kWritable | kHangup)) && (interest() & kWritable)) stream_write_ready(t);
}

bool is_closing_transport(PyObject* transport) {
  if (Py_TYPE(transport) == StreamTransportType) return cast(transport)->closing;
  Ref closing(PyObject_CallMethod(transport, "is_closing", nullptr));
  if (closing) return closing.get() == Py_True;
  PyErr_Clear();
  return false;
}

void stream_connection_lost(StreamTransport* t, PyObject* exception) noexcept {
  Ref hold = Ref::hold(t->object());
  Ref protocol = Ref::hold(t->protocol);
  Ref loop = Ref::hold(t->loop);
  Ref done(PyObject_CallMethodOneArg(protocol.get(), tn.connection_lost, exception));
  if (!done) {
    Ref callback(PyCFunction_New(&connection_lost_def, t->object()));
    report_callback(reinterpret_cast<LoopCore*>(loop.get()), callback.get(), nullptr);
  }
  if (t->empty_waiter) {
    Ref over(transport_helper("fail_empty_waiter", {t->empty_waiter}));
    if (!over) PyErr_WriteUnraisable(t->object());
  }
  close_descriptor(t);
  Py_CLEAR(t->protocol);
  Py_CLEAR(t->loop);
  detach_server(t);
}

void stream_force_close(StreamTransport* t, PyObject* exception) noexcept {
  if (t->conn_lost) return;
  Ref hold = Ref::hold(t->object());
  t->out().clear();
  t->closing = true;
  t->io().watch(0);
  lose_soon(t, exception);
}

void stream_close(StreamTransport* t) noexcept {
  if (t->closing) return;
  Ref hold = Ref::hold(t->object());
  t->closing = true;
  if (t->out().empty()) {
    t->io().watch(0);
    lose_soon(t, Py_None);
  } else {
    t->io().watch(t->io().interest() & ~kReadable);
  }
}

void stream_fatal(StreamTransport* t, PyObject* exception, const char* message) noexcept {
  Ref owned(exception);
  bool quiet = PyErr_GivenExceptionMatches(exception, PyExc_OSError);
  if (!quiet || t->core()->debug) {
    Ref text(PyUnicode_FromString(message));
    Ref done(text ? transport_helper("report_fatal", {t->loop, text.get(), exception, t->object(), t->protocol})
                  : nullptr);
    if (!done) PyErr_WriteUnraisable(t->object());
  }
  stream_force_close(t, exception);
}

void stream_protocol_failed(StreamTransport* t, const char* message) noexcept {
  if (PyObject* exception = take_protocol_error(t->core())) stream_fatal(t, exception, message);
}

void stream_set_protocol(StreamTransport* t, PyObject* protocol) {
  t->reader = Reader::data_received;
  if (reinterpret_cast<PyObject*>(Py_TYPE(protocol)) == tn.stream_protocol) {
    // The short cut stands in for asyncio's own methods; patched ones are called.
    Ref received(PyObject_GetAttr(tn.stream_protocol, tn.data_received));
    Ref feed(PyObject_GetAttrString(tn.stream_reader, "feed_data"));
    if (received.get() == tn.stream_data_received && feed.get() == tn.stream_feed_data) t->reader = Reader::stream;
    PyErr_Clear();
  } else if (PyObject_IsInstance(protocol, tn.buffered_protocol) == 1 ||
             // as uvloop: one that has the methods and no data_received() need not derive from it
             (PyObject_HasAttr(protocol, tn.get_buffer) && !PyObject_HasAttr(protocol, tn.data_received))) {
    t->reader = Reader::get_buffer;
  }
  PyErr_Clear();
  Py_XSETREF(t->protocol, Py_NewRef(protocol));
}

namespace {

bool reading(StreamTransport* t) { return !t->closing && !t->paused; }

/// Starts reading in the context of now; -1 with an exception set.
int start_reading(StreamTransport* t) {
  if (!reading(t) || !t->open) return 0;
  Py_XSETREF(t->read_context, PyContext_CopyCurrent());
  int error = t->io().watch(t->io().interest() | kReadable);
  if (!error) return 0;
  errno = error;
  PyErr_SetFromErrno(PyExc_OSError);
  return -1;
}

// ---------------------------------------------------------------- methods

PyObject* method_begin(PyObject* self, PyObject* waiter) {  // runs after connection_made()
  if (cast(self)->loop && start_reading(cast(self)) < 0) return nullptr;
  if (waiter == Py_None) Py_RETURN_NONE;
  Ref cancelled(PyObject_CallMethodNoArgs(waiter, rt.cancelled));
  if (!cancelled) return nullptr;
  if (cancelled.get() == Py_True) Py_RETURN_NONE;
  return PyObject_CallMethodOneArg(waiter, tn.set_result, Py_None);
}
PyMethodDef begin_def{"_begin", method_begin, METH_O, nullptr};

PyObject* debug_log(StreamTransport* t, const char* what) {
  if (FASTERAPI_LIKELY(!t->core()->debug)) Py_RETURN_NONE;
  Ref text(PyUnicode_FromString(what));
  return text ? transport_helper("log_debug", {text.get(), t->object()}) : nullptr;
}

PyObject* pause_reading(PyObject* self, PyObject*) {
  auto* t = cast(self);
  if (!reading(t)) Py_RETURN_NONE;
  stream_pause_reading(t);
  return debug_log(t, "%r pauses reading");
}
PyObject* resume_reading(PyObject* self, PyObject*) {
  auto* t = cast(self);
  if (t->closing || !t->paused) Py_RETURN_NONE;
  t->paused = false;
  if (start_reading(t) < 0) return nullptr;
  return debug_log(t, "%r resumes reading");
}
PyObject* is_reading(PyObject* self, PyObject*) { return PyBool_FromLong(reading(cast(self))); }
PyObject* is_closing(PyObject* self, PyObject*) { return PyBool_FromLong(cast(self)->closing); }
PyObject* close_(PyObject* self, PyObject*) {
  stream_close(cast(self));
  Py_RETURN_NONE;
}
PyObject* abort_(PyObject* self, PyObject*) {
  stream_force_close(cast(self), Py_None);
  Py_RETURN_NONE;
}
PyObject* force_close(PyObject* self, PyObject* exception) {
  stream_force_close(cast(self), exception);
  Py_RETURN_NONE;
}
PyObject* fatal_error(PyObject* self, PyObject* const* args, Py_ssize_t nargs) {
  const char* message = nargs > 1 ? PyUnicode_AsUTF8(args[1]) : "Fatal error on transport";
  if (nargs < 1 || !message) return PyErr_Format(PyExc_TypeError, "_fatal_error(exception, message)");
  stream_fatal(cast(self), Py_NewRef(args[0]), message);
  Py_RETURN_NONE;
}
PyObject* set_protocol(PyObject* self, PyObject* protocol) {
  stream_set_protocol(cast(self), protocol);
  Py_RETURN_NONE;
}
PyObject* get_protocol(PyObject* self, PyObject*) {
  return Py_NewRef(cast(self)->protocol ? cast(self)->protocol : Py_None);
}
PyObject* can_write_eof(PyObject*, PyObject*) { Py_RETURN_TRUE; }

PyObject* get_write_buffer_size(PyObject* self, PyObject*) { return PyLong_FromSize_t(cast(self)->out().size()); }
PyObject* get_write_buffer_limits(PyObject* self, PyObject*) {
  return Py_BuildValue("nn", static_cast<Py_ssize_t>(cast(self)->low_water),
                       static_cast<Py_ssize_t>(cast(self)->high_water));
}
PyObject* set_write_buffer_limits(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"high", "low", nullptr};
  PyObject *high = Py_None, *low = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO", const_cast<char**>(names), &high, &low)) return nullptr;
  Ref limits(transport_helper("flow_limits", {high, low}));
  Py_ssize_t high_water, low_water;
  if (!limits || !PyArg_ParseTuple(limits.get(), "nn", &high_water, &low_water)) return nullptr;
  auto* t = cast(self);
  t->high_water = static_cast<std::size_t>(high_water);
  t->low_water = static_cast<std::size_t>(low_water);
  if (t->loop) stream_maybe_pause(t);
  Py_RETURN_NONE;
}

PyObject* wrapper(StreamTransport* t) {  // borrowed; nullptr without an exception once closed without one
  if (t->wrapper) return t->wrapper;
  PyObject* sock = socket_object(t);
  return sock ? t->wrapper = transport_helper("wrap_socket", {sock}) : nullptr;
}

PyObject* get_extra_info(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"name", "default", nullptr};
  PyObject *name, *fallback = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O", const_cast<char**>(names), &name, &fallback))
    return nullptr;
  auto* t = cast(self);
  if (t->extra) {
    PyObject* found = PyDict_GetItemWithError(t->extra, name);
    if (found) return Py_NewRef(found);
    if (PyErr_Occurred()) return nullptr;
  }
  PyObject* value = nullptr;
  if (PyUnicode_Check(name)) {
    if (PyUnicode_CompareWithASCIIString(name, "peername") == 0) {
      know_peername(t);
      value = t->peername;
    } else if (PyUnicode_CompareWithASCIIString(name, "sockname") == 0) {
      if (t->open) know_sockname(t);
      value = t->sockname;
    } else if (PyUnicode_CompareWithASCIIString(name, "socket") == 0) {
      value = wrapper(t);
      if (!value && PyErr_Occurred()) return nullptr;
    }
  }
  return Py_NewRef(value ? value : fallback);
}

PyObject* repr(PyObject* self) {
  auto* t = cast(self);
  Ref state(Py_BuildValue("{s:s,s:i,s:O,s:O,s:O,s:O,s:O,s:n}", "name", "SocketTransport", "fd", t->fd, "closed",
                          t->open ? Py_False : Py_True, "closing", t->closing ? Py_True : Py_False, "loop",
                          t->loop ? t->loop : Py_None, "read", t->io().interest() & kReadable ? Py_True : Py_False,
                          "write", t->io().interest() & kWritable ? Py_True : Py_False, "size",
                          static_cast<Py_ssize_t>(t->out().size())));
  return state ? transport_helper("transport_repr", {state.get()}) : nullptr;
}

// ---- for asyncio's sendfile

PyObject* make_empty_waiter(PyObject* self, PyObject*) {
  auto* t = cast(self);
  if (t->empty_waiter) return PyErr_Format(PyExc_RuntimeError, "Empty waiter is already set");
  t->empty_waiter = PyObject_CallMethod(t->loop ? t->loop : Py_None, "create_future", nullptr);
  if (!t->empty_waiter) return nullptr;
  if (t->out().empty() && !Ref(PyObject_CallMethodOneArg(t->empty_waiter, tn.set_result, Py_None))) return nullptr;
  return Py_NewRef(t->empty_waiter);
}
PyObject* reset_empty_waiter(PyObject* self, PyObject*) {
  Py_CLEAR(cast(self)->empty_waiter);
  Py_RETURN_NONE;
}
/// Whether loop.sock_*() refuses the descriptor: sendfile() works on it beside us.
PyObject* guard_descriptor(PyObject* self, PyObject* on) {
  auto* t = cast(self);
  if (!t->loop || !t->open) Py_RETURN_NONE;
  if (on == Py_True)
    t->core()->transports->claim(t->fd, self);
  else
    t->core()->transports->release(t->fd, self);
  Py_RETURN_NONE;
}

PyObject* get_extra(PyObject* self, void*) {
  auto* t = cast(self);
  if (!t->extra && !(t->extra = PyDict_New())) return nullptr;
  for (const char* name : {"socket", "sockname", "peername"}) {
    Ref args(Py_BuildValue("(s)", name));
    Ref value(args ? get_extra_info(self, args.get(), nullptr) : nullptr);
    if (!value || PyDict_SetItemString(t->extra, name, value.get()) < 0) return nullptr;
  }
  return Py_NewRef(t->extra);
}
PyObject* get_sock(PyObject* self, void*) {
  PyObject* sock = cast(self)->open ? socket_object(cast(self)) : Py_None;
  return Py_XNewRef(sock);
}
PyObject* get_fd(PyObject* self, void*) { return PyLong_FromLong(cast(self)->fd); }
PyObject* get_loop(PyObject* self, void*) { return Py_NewRef(cast(self)->loop ? cast(self)->loop : Py_None); }
PyObject* get_protocol_attr(PyObject* self, void*) { return get_protocol(self, nullptr); }
PyObject* get_protocol_paused(PyObject* self, void*) { return PyBool_FromLong(cast(self)->protocol_paused); }
PyObject* get_conn_lost(PyObject* self, void*) { return PyLong_FromUnsignedLong(cast(self)->conn_lost); }
PyObject* get_paused(PyObject* self, void*) { return PyBool_FromLong(cast(self)->paused); }
PyObject* get_closing(PyObject* self, void*) { return PyBool_FromLong(cast(self)->closing); }
PyObject* get_tls_compatible(PyObject*, void*) { Py_RETURN_TRUE; }
PyObject* get_sendfile_mode(PyObject*, void*) { return transport_helper("try_native", {}); }

// ---------------------------------------------------------------- life

int traverse(PyObject* self, visitproc visit, void* arg) {
  auto* t = cast(self);
  Py_VISIT(Py_TYPE(self));
  for (PyObject* object : {t->loop, t->protocol, t->sock, t->wrapper, t->server, t->extra, t->sockname,
                           t->peername, t->read_context, t->write_context, t->empty_waiter})
    Py_VISIT(object);
  return t->out().visit(visit, arg);
}

int clear(PyObject* self) {
  auto* t = cast(self);
  for (PyObject** slot : {&t->loop, &t->protocol, &t->wrapper, &t->server, &t->extra, &t->sockname, &t->peername,
                          &t->read_context, &t->write_context, &t->empty_waiter, &t->sock})
    Py_CLEAR(*slot);
  t->out().clear();
  return 0;
}

void finalize(PyObject* self) {
  auto* t = cast(self);
  if (!t->open) return;
  ErrorGuard keep;
  Ref warned(transport_helper("warn_unclosed", {self}));
  if (!warned) PyErr_WriteUnraisable(self);
  close_descriptor(t);
  detach_server(t);
}

void dealloc(PyObject* self) {
  if (PyObject_CallFinalizerFromDealloc(self) < 0) return;
  auto* t = cast(self);
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  if (t->weakrefs) PyObject_ClearWeakRefs(self);
  if (t->loop) t->core()->transports->release(t->fd, self);
  t->io().~StreamIo();  // needs the loop
  clear(self);
  t->out().~OutQueue();
  PyObject_GC_Del(self);
  Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"write", stream_write, METH_O, "Send bytes now, or as soon as the socket takes them."},
    {"writelines", stream_writelines, METH_O, "Send an iterable of bytes-like objects in one call."},
    {"write_eof", stream_write_eof, METH_NOARGS, "Close the sending half once what was written has gone out."},
    {"can_write_eof", can_write_eof, METH_NOARGS, "True."},
    {"pause_reading", pause_reading, METH_NOARGS, "Stop delivering data until resume_reading()."},
    {"resume_reading", resume_reading, METH_NOARGS, "Deliver data again."},
    {"is_reading", is_reading, METH_NOARGS, "True while data is delivered."},
    {"is_closing", is_closing, METH_NOARGS, "True once close() or abort() was called or the connection was lost."},
    {"close", close_, METH_NOARGS, "Close after what was written has gone out."},
    {"abort", abort_, METH_NOARGS, "Close at once; what was not sent is dropped."},
    {"set_protocol", set_protocol, METH_O, "Hand the connection to another protocol."},
    {"get_protocol", get_protocol, METH_NOARGS, "The protocol; None after connection_lost()."},
    {"get_write_buffer_size", get_write_buffer_size, METH_NOARGS, "Bytes that wait to be sent."},
    {"get_write_buffer_limits", get_write_buffer_limits, METH_NOARGS, "(low, high), in bytes."},
    {"set_write_buffer_limits",
     reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(set_write_buffer_limits)),
     METH_VARARGS | METH_KEYWORDS, "Set when pause_writing() and resume_writing() are called, in bytes."},
    {"get_extra_info", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(get_extra_info)),
     METH_VARARGS | METH_KEYWORDS, "'socket', 'sockname', 'peername', or what the creator added."},
    {"_force_close", force_close, METH_O, nullptr},
    {"_fatal_error", as_function(fatal_error), METH_FASTCALL, nullptr},
    {"_make_empty_waiter", make_empty_waiter, METH_NOARGS, nullptr},
    {"_reset_empty_waiter", reset_empty_waiter, METH_NOARGS, nullptr},
    {"_guard_descriptor", guard_descriptor, METH_O, nullptr},
    {}};
PyGetSetDef getset[] = {{"_extra", get_extra, nullptr, nullptr, nullptr},
                        {"_sock", get_sock, nullptr, nullptr, nullptr},
                        {"_sock_fd", get_fd, nullptr, nullptr, nullptr},
                        {"_loop", get_loop, nullptr, nullptr, nullptr},
                        {"_protocol", get_protocol_attr, nullptr, nullptr, nullptr},
                        {"_protocol_paused", get_protocol_paused, nullptr, nullptr, nullptr},
                        {"_paused", get_paused, nullptr, nullptr, nullptr},
                        {"_closing", get_closing, nullptr, nullptr, nullptr},
                        {"_conn_lost", get_conn_lost, nullptr, nullptr, nullptr},
                        {"_start_tls_compatible", get_tls_compatible, nullptr, nullptr, nullptr},
                        {"_sendfile_compatible", get_sendfile_mode, nullptr, nullptr, nullptr},
                        {}};
PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(StreamTransport, weakrefs), READONLY, nullptr}, {}};
PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_finalize, reinterpret_cast<void*>(finalize)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_tp_repr, reinterpret_cast<void*>(repr)},
                       {Py_tp_methods, methods},
                       {Py_tp_getset, getset},
                       {Py_tp_members, members},
                       {0, nullptr}};
PyType_Spec spec = {"fasterapi_core._core.SocketTransport", sizeof(StreamTransport), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

/// connection_made(), then reading and the waiter, each in a callback of its own.
bool announce(StreamTransport* t, PyObject* waiter) {
  Ref made(PyObject_GetAttr(t->protocol, tn.connection_made));
  if (!made || call_soon_here(t->core(), made.get(), t->object()) < 0) return false;
  Ref begin(PyCFunction_New(&begin_def, t->object()));
  return begin && call_soon_here(t->core(), begin.get(), waiter ? waiter : Py_None) == 0;
}

}  // namespace

void stream_pause_reading(StreamTransport* t) noexcept {
  t->paused = true;
  t->io().watch(t->io().interest() & ~kReadable);  // the caller holds us
}

PyObject* stream_transport_new(LoopCore* loop, PyObject* sock, int fd, PyObject* protocol, PyObject* waiter,
                               PyObject* extra, PyObject* server, const sockaddr* peer, socklen_t peer_length) {
  auto* t = PyObject_GC_New(StreamTransport, StreamTransportType);
  if (!t) {
    if (!sock) ::close(fd);
    return nullptr;
  }
  constexpr std::size_t kHead = offsetof(StreamTransport, base_slots);
  std::memset(reinterpret_cast<char*>(t) + kHead, 0, offsetof(StreamTransport, peer) - kHead);
  new (t->io_storage) StreamIo(loop, t->object(), fd);
  new (t->out_storage) OutQueue();
  t->loop = Py_NewRef(reinterpret_cast<PyObject*>(loop));
  t->sock = Py_XNewRef(sock);
  t->extra = extra && extra != Py_None ? PyDict_Copy(extra) : nullptr;
  t->high_water = 64 * 1024;
  t->low_water = 16 * 1024;
  t->fd = fd;
  t->open = true;
  if (peer) {
    t->peer_length = peer_length;
    std::memcpy(&t->peer, peer, peer_length);
    t->peer_known = true;
  } else {
    t->peer_length = sizeof t->peer;
    t->peer_known = ::getpeername(fd, reinterpret_cast<sockaddr*>(&t->peer), &t->peer_length) == 0;
  }
  stream_set_protocol(t, protocol);
  PyObject_GC_Track(t);
  Ref owned(t->object());
  int domain = AF_UNSPEC;
  socklen_t size = sizeof domain;
  if (t->peer_known && t->peer_length)
    domain = t->peer.ss_family;
  else
    ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
  if (domain == AF_INET || domain == AF_INET6) {
    int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // small writes do not wait for an ACK
  }
  loop->transports->claim(fd, t->object());
  if (server && server != Py_None) {
#if PY_VERSION_HEX >= 0x030d0000
    Ref attached(PyObject_CallMethodOneArg(server, tn.attach, t->object()));
#else
    Ref attached(PyObject_CallMethodNoArgs(server, tn.attach));
#endif
    if (!attached) {
      close_descriptor(t);
      return nullptr;
    }
    t->server = Py_NewRef(server);
  }
  if (!announce(t, waiter)) {
    ErrorGuard keep;
    close_descriptor(t);
    detach_server(t);
    return nullptr;
  }
  return owned.release();
}

bool add_stream_transport(PyObject* module) {
  Ref bases(PyTuple_Pack(1, tn.transport_base));
  if (!bases) return false;
  StreamTransportType = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, bases.get()));
  if (!StreamTransportType) return false;
  Py_ssize_t inherited = reinterpret_cast<PyTypeObject*>(tn.transport_base)->tp_basicsize;
  if (inherited > static_cast<Py_ssize_t>(offsetof(StreamTransport, weakrefs))) {
    PyErr_SetString(PyExc_ImportError,
                    "asyncio's _FlowControlMixin has more slots than SocketTransport keeps for it");
    return false;
  }
  PyObject* type = reinterpret_cast<PyObject*>(StreamTransportType);
  Ref max_size(PyLong_FromSize_t(Reactor::kReadScratch));
  return max_size && PyObject_SetAttrString(type, "max_size", max_size.get()) == 0 &&
         PyModule_AddType(module, StreamTransportType) == 0;
}

}  // namespace fasterapi::core::py

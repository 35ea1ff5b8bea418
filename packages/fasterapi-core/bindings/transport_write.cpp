// The sending half of stream transports: what can go out at once does, the rest is kept and flow controlled.
#include <cerrno>

#include "transport_stream.hpp"

namespace fasterapi::core::py {
namespace {

constexpr unsigned kWarnAfter = 5;  // asyncio.constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES

bool may_write(StreamTransport* t, const char* method, const char* during) {
  if (t->eof) {
    PyErr_Format(PyExc_RuntimeError, "Cannot call %s() after write_eof()", method);
    return false;
  }
  if (t->empty_waiter) {
    PyErr_Format(PyExc_RuntimeError, "unable to %s; sendfile is in progress", during);
    return false;
  }
  return true;
}

PyObject* count_lost_write(StreamTransport* t) {
  if (t->conn_lost++ < kWarnAfter) Py_RETURN_NONE;
  return transport_helper("warn_lost_write", {});
}

/// Sends what is queued until the socket takes no more; 0 or an errno.
int send_queued(StreamTransport* t) noexcept {
  OutQueue& out = t->out();
  while (!out.empty()) {
    iovec parts[OutQueue::kParts];
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(out.parts(parts));
    std::size_t wanted = 0;
    for (std::size_t i = 0; i < message.msg_iovlen; ++i) wanted += parts[i].iov_len;
    ssize_t sent = ::sendmsg(t->fd, &message, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : errno;
    out.consume(static_cast<std::size_t>(sent));
    if (static_cast<std::size_t>(sent) < wanted) return 0;
  }
  return 0;
}

/// Waits for room to send the rest, and tells the protocol when that is too much.
PyObject* keep_rest(StreamTransport* t) {
  if (!t->out().freeze()) return nullptr;
  if (!(t->io().interest() & kWritable)) {
    Py_XSETREF(t->write_context, PyContext_CopyCurrent());
    if (int error = t->io().watch(t->io().interest() | kWritable)) {
      stream_fatal(t, os_error(error), "Fatal write error on socket transport");
      Py_RETURN_NONE;
    }
  }
  stream_maybe_pause(t);
  Py_RETURN_NONE;
}

void tell_flow(StreamTransport* t, PyObject* method, const char* message) noexcept {
  if (!t->protocol || Ref(PyObject_CallMethodNoArgs(t->protocol, method))) return;
  Ref exception(take_protocol_error(t->core()));
  if (!exception) return;
  Ref text(PyUnicode_FromString(message));
  Ref done(text ? transport_helper("report", {t->loop, text.get(), exception.get(), t->object(), t->protocol})
                : nullptr);
  if (!done) PyErr_WriteUnraisable(t->object());
}

void maybe_resume(StreamTransport* t) noexcept {
  if (!t->protocol_paused || t->out().size() > t->low_water) return;
  t->protocol_paused = false;
  tell_flow(t, tn.resume_writing, "protocol.resume_writing() failed");
}

void tell_empty_waiter(StreamTransport* t, PyObject* exception) noexcept {
  if (!t->empty_waiter) return;
  Ref done(PyObject_CallMethodOneArg(t->empty_waiter, exception ? tn.set_exception : tn.set_result,
                                     exception ? exception : Py_None));
  if (!done) PyErr_WriteUnraisable(t->object());
}

}  // namespace

void stream_maybe_pause(StreamTransport* t) noexcept {
  if (t->protocol_paused || t->out().size() <= t->high_water) return;
  t->protocol_paused = true;
  tell_flow(t, tn.pause_writing, "protocol.pause_writing() failed");
}

PyObject* stream_write(PyObject* self, PyObject* data) {
  auto* t = reinterpret_cast<StreamTransport*>(self);
  if (FASTERAPI_UNLIKELY(!PyBytes_Check(data) && !PyByteArray_Check(data) && !PyMemoryView_Check(data)))
    return PyErr_Format(PyExc_TypeError, "data argument must be a bytes-like object, not '%s'",
                        Py_TYPE(data)->tp_name);
  if (!may_write(t, "write", "write")) return nullptr;
  std::size_t size;
  if (PyBytes_Check(data))
    size = static_cast<std::size_t>(PyBytes_GET_SIZE(data));
  else if (PyByteArray_Check(data))
    size = static_cast<std::size_t>(PyByteArray_GET_SIZE(data));
  else
    size = static_cast<std::size_t>(PyMemoryView_GET_BUFFER(data)->len);
  if (size == 0) Py_RETURN_NONE;
  if (t->conn_lost) return count_lost_write(t);
  std::size_t sent = 0;
  if (t->out().empty()) {
    const char* start;
    Ref contiguous;
    if (PyBytes_Check(data)) {
      start = PyBytes_AS_STRING(data);
    } else if (PyByteArray_Check(data)) {
      start = PyByteArray_AS_STRING(data);
    } else {
      if (!PyBuffer_IsContiguous(PyMemoryView_GET_BUFFER(data), 'C')) {
        if (!(contiguous = Ref(PyBytes_FromObject(data)))) return nullptr;
        data = contiguous.get();
        start = PyBytes_AS_STRING(data);
      } else {
        start = static_cast<const char*>(PyMemoryView_GET_BUFFER(data)->buf);
      }
    }
    ssize_t n = ::send(t->fd, start, size, MSG_NOSIGNAL);
    if (FASTERAPI_LIKELY(n == static_cast<ssize_t>(size))) Py_RETURN_NONE;
    if (n >= 0) {
      sent = static_cast<std::size_t>(n);
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
      stream_fatal(t, os_error(errno), "Fatal write error on socket transport");
      Py_RETURN_NONE;
    }
    if (!t->out().push(data, sent)) return nullptr;
  } else if (!t->out().push(data)) {
    return nullptr;
  }
  return keep_rest(t);
}

PyObject* stream_writelines(PyObject* self, PyObject* list) {
  auto* t = reinterpret_cast<StreamTransport*>(self);
  if (!may_write(t, "writelines", "writelines")) return nullptr;
  Ref items(PySequence_Fast(list, "writelines() argument must be an iterable of bytes-like objects"));
  if (!items) return nullptr;
  PyObject** item = PySequence_Fast_ITEMS(items.get());
  Py_ssize_t count = PySequence_Fast_GET_SIZE(items.get());
  for (Py_ssize_t i = 0; i < count; ++i)  // all or nothing
    if (!PyObject_CheckBuffer(item[i]))
      return PyErr_Format(PyExc_TypeError, "memoryview: a bytes-like object is required, not '%s'",
                          Py_TYPE(item[i])->tp_name);
  if (count == 0) Py_RETURN_NONE;
  if (t->conn_lost) return count_lost_write(t);
  bool idle = t->out().empty();
  for (Py_ssize_t i = 0; i < count; ++i)
    if (!t->out().push(item[i])) return nullptr;
  if (idle) {
    if (int error = send_queued(t)) {
      stream_fatal(t, os_error(error), "Fatal write error on socket transport");
      Py_RETURN_NONE;
    }
    if (t->out().empty()) Py_RETURN_NONE;
  }
  return keep_rest(t);
}

PyObject* stream_write_eof(PyObject* self, PyObject*) {
  auto* t = reinterpret_cast<StreamTransport*>(self);
  if (t->closing || t->eof) Py_RETURN_NONE;
  t->eof = true;
  if (t->out().empty() && ::shutdown(t->fd, SHUT_WR) < 0) return PyErr_SetFromErrno(PyExc_OSError);
  Py_RETURN_NONE;
}

void stream_write_ready(StreamTransport* t) noexcept {
  if (t->conn_lost || t->out().empty()) return;
  Ref context = Ref::hold(t->write_context);
  InContext in(context.get());
  SlowWatch watch(t->core(), t->object(), "_write_ready");
  if (int error = send_queued(t)) {
    t->io().watch(t->io().interest() & ~kWritable);
    t->out().clear();
    Ref exception(os_error(error));
    stream_fatal(t, Py_NewRef(exception.get()), "Fatal write error on socket transport");
    tell_empty_waiter(t, exception.get());
    return;
  }
  maybe_resume(t);  // may append, close or abort
  if (!t->out().empty() || t->conn_lost) return;
  t->io().watch(t->io().interest() & ~kWritable);
  tell_empty_waiter(t, nullptr);
  if (t->closing) {
    ++t->conn_lost;
    stream_connection_lost(t, Py_None);
  } else if (t->eof) {
    ::shutdown(t->fd, SHUT_WR);  // a peer that is gone shows at the next read
  }
}

}  // namespace fasterapi::core::py

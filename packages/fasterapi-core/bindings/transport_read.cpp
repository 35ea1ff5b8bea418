// The receiving half of stream transports: one recv per readiness, straight into the protocol's hands.
#include <cerrno>
#include <cstring>

#include "transport_stream.hpp"

namespace fasterapi::core::py {
namespace {

constexpr std::size_t kDirect = 16 * 1024;  // reads at least so large go into the bytes object without a copy

/// recv(2); -1 when there is nothing to do: no data, or the connection ended by the error.
ssize_t receive(StreamTransport* t, char* into, std::size_t size) noexcept {
  ssize_t n = ::recv(t->fd, into, size, 0);
  if (FASTERAPI_LIKELY(n >= 0)) return n;
  int error = errno;
  if (error != EAGAIN && error != EWOULDBLOCK && error != EINTR)
    stream_fatal(t, os_error(error), "Fatal read error on socket transport");
  return -1;
}

void end_of_stream(StreamTransport* t) noexcept {
  if (FASTERAPI_UNLIKELY(t->core()->debug)) {
    Ref logged(transport_helper("log_eof", {t->object()}));
    if (!logged) PyErr_WriteUnraisable(t->object());
  }
  Ref keep(PyObject_CallMethodNoArgs(t->protocol, tn.eof_received));
  int open = keep ? PyObject_IsTrue(keep.get()) : -1;
  if (open < 0) return stream_protocol_failed(t, "Fatal error: protocol.eof_received() call failed.");
  if (open)
    t->io().watch(t->io().interest() & ~kReadable);  // it may write more, we cannot receive more
  else
    stream_close(t);
}

PyObject* referent(PyObject* weak) noexcept {  // new reference or nullptr
#if PY_VERSION_HEX >= 0x030d0000
  PyObject* object;
  return PyWeakref_GetRef(weak, &object) > 0 ? object : nullptr;
#else
  PyObject* object = PyWeakref_GetObject(weak);
  return object == Py_None ? nullptr : Py_NewRef(object);
#endif
}

/// StreamReaderProtocol.data_received() and StreamReader.feed_data() in one. 1: done; 0: they must be called
/// after all; -1: exception.
int feed_stream(StreamTransport* t, const char* data, std::size_t size) noexcept {
  Ref weak(PyObject_GetAttr(t->protocol, tn.stream_reader_wr));
  if (!weak) return -1;
  if (weak.get() == Py_None) return 1;
  if (!PyWeakref_Check(weak.get())) return 0;
  Ref reader(referent(weak.get()));
  if (!reader) return 1;
  if (reinterpret_cast<PyObject*>(Py_TYPE(reader.get())) != tn.stream_reader) return 0;
  Ref eof(PyObject_GetAttr(reader.get(), tn.eof)), buffer(PyObject_GetAttr(reader.get(), tn.buffer));
  if (!eof || !buffer) return -1;
  if (eof.get() != Py_False || !PyByteArray_CheckExact(buffer.get())) return 0;
  Py_ssize_t had = PyByteArray_GET_SIZE(buffer.get());
  if (PyByteArray_Resize(buffer.get(), had + static_cast<Py_ssize_t>(size)) < 0) return -1;
  std::memcpy(PyByteArray_AS_STRING(buffer.get()) + had, data, size);

  Ref waiter(PyObject_GetAttr(reader.get(), tn.waiter));
  if (!waiter) return -1;
  if (waiter.get() != Py_None) {
    if (PyObject_SetAttr(reader.get(), tn.waiter, Py_None) < 0) return -1;
    Ref cancelled(PyObject_CallMethodNoArgs(waiter.get(), rt.cancelled));
    if (!cancelled) return -1;
    if (cancelled.get() != Py_True && !Ref(PyObject_CallMethodOneArg(waiter.get(), tn.set_result, Py_None)))
      return -1;
  }
  Ref limit(PyObject_GetAttr(reader.get(), tn.limit));
  if (!limit) return -1;
  double most = PyFloat_AsDouble(limit.get());
  if (most == -1.0 && PyErr_Occurred()) return -1;
  if (static_cast<double>(PyByteArray_GET_SIZE(buffer.get())) <= 2 * most) return 1;
  Ref transport(PyObject_GetAttr(reader.get(), tn.transport)), paused(PyObject_GetAttr(reader.get(), tn.paused));
  if (!transport || !paused) return -1;
  if (transport.get() != t->object() || paused.get() == Py_True) return 1;
  stream_pause_reading(t);
  return PyObject_SetAttr(reader.get(), tn.paused, Py_True) < 0 ? -1 : 1;
}

void deliver(StreamTransport* t, PyObject* bytes) noexcept {
  Ref done(bytes ? PyObject_CallMethodOneArg(t->protocol, tn.data_received, bytes) : nullptr);
  if (FASTERAPI_UNLIKELY(!done)) stream_protocol_failed(t, "Fatal error: protocol.data_received() call failed.");
}

void read_data(StreamTransport* t) noexcept {
  Reactor* reactor = t->core()->reactor;
  if (t->read_hint >= kDirect && t->reader == Reader::data_received) {
    // What comes next is likely as large: the copy out of the scratch buffer is worth saving.
    PyObject* bytes = PyBytes_FromStringAndSize(nullptr, Reactor::kReadScratch);
    if (!bytes) return stream_protocol_failed(t, "Fatal read error on socket transport");
    ssize_t n = receive(t, PyBytes_AS_STRING(bytes), Reactor::kReadScratch);
    if (n <= 0) {
      Py_DECREF(bytes);
      if (n == 0) end_of_stream(t);
      return;
    }
    t->read_hint = static_cast<unsigned>(n);
    if (_PyBytes_Resize(&bytes, n) < 0) return stream_protocol_failed(t, "Fatal read error on socket transport");
    deliver(t, bytes);
    Py_DECREF(bytes);
    return;
  }
  char* scratch = reactor->read_scratch();
  ssize_t n = receive(t, scratch, Reactor::kReadScratch);
  if (n < 0) return;
  if (n == 0) return end_of_stream(t);
  t->read_hint = static_cast<unsigned>(n);
  if (t->reader == Reader::stream) {
    int fed = feed_stream(t, scratch, static_cast<std::size_t>(n));
    if (fed < 0) return stream_protocol_failed(t, "Fatal error: protocol.data_received() call failed.");
    if (fed) return;
  }
  Ref bytes(PyBytes_FromStringAndSize(scratch, n));
  deliver(t, bytes.get());
}

void read_into_protocol(StreamTransport* t) noexcept {
  constexpr const char* kNoBuffer = "Fatal error: protocol.get_buffer() call failed.";
  Ref buffer(PyObject_CallMethodOneArg(t->protocol, tn.get_buffer, tn.minus_one));
  if (!buffer) return stream_protocol_failed(t, kNoBuffer);
  Py_ssize_t length = PyObject_Size(buffer.get());
  if (length == 0) PyErr_SetString(PyExc_RuntimeError, "get_buffer() returned an empty buffer");
  if (length <= 0) return stream_protocol_failed(t, kNoBuffer);
  Py_buffer view;
  if (PyObject_GetBuffer(buffer.get(), &view, PyBUF_WRITABLE) < 0)
    return stream_protocol_failed(t, "Fatal read error on socket transport");
  ssize_t n = receive(t, static_cast<char*>(view.buf), static_cast<std::size_t>(view.len));
  PyBuffer_Release(&view);
  if (n < 0) return;
  if (n == 0) return end_of_stream(t);
  Ref count(PyLong_FromSsize_t(n));
  Ref done(count ? PyObject_CallMethodOneArg(t->protocol, tn.buffer_updated, count.get()) : nullptr);
  if (!done) stream_protocol_failed(t, "Fatal error: protocol.buffer_updated() call failed.");
}

}  // namespace

void stream_read_ready(StreamTransport* t) noexcept {
  if (t->conn_lost) return;
  Ref context = Ref::hold(t->read_context);  // resume_reading() of the protocol replaces it
  InContext in(context.get());
  SlowWatch watch(t->core(), t->object(), "_read_ready");
  if (t->reader == Reader::get_buffer)
    read_into_protocol(t);
  else
    read_data(t);
}

}  // namespace fasterapi::core::py

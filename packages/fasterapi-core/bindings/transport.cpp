#include "transport.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace fasterapi::core::py {

TransportNames tn;

// ---------------------------------------------------------------- registration

LoopIo::LoopIo(LoopCore* loop, PyObject* owner, int fd) noexcept
    : loop_(loop), reactor_(loop->reactor), owner_(owner), fd_(fd) {
  reactor_->retain();
}

LoopIo::~LoopIo() {
  if (interest_) {
    if (reactor_->handler_of(fd_) == this) reactor_->remove(fd_);
    unlink();
  }
  reactor_->release();
}

void LoopIo::link() noexcept {
  LoopIo*& head = loop_->transports->head_;
  next_ = head;
  prev_ = nullptr;
  if (head) head->prev_ = this;
  head = this;
}

void LoopIo::unlink() noexcept {
  (prev_ ? prev_->next_ : loop_->transports->head_) = next_;
  if (next_) next_->prev_ = prev_;
  next_ = prev_ = nullptr;
}

int LoopIo::watch(unsigned interest) noexcept {
  if (interest == interest_) return 0;
  if (!interest) {
    if (reactor_->handler_of(fd_) == this) reactor_->remove(fd_);
    interest_ = 0;
    unlink();
    Py_DECREF(owner_);
    return 0;
  }
  int error;
  if (interest_ && reactor_->handler_of(fd_) == this) {
    error = reactor_->modify(fd_, interest);
  } else {
    // What add_reader() left on this descriptor gives way, as in asyncio's selector.
    if (reactor_->handler_of(fd_)) reactor_->remove(fd_);
    error = reactor_->add(fd_, interest, this);
  }
  if (error) return error;
  if (!interest_) {
    link();
    Py_INCREF(owner_);
  }
  interest_ = interest;
  return 0;
}

void TransportTable::claim(int fd, PyObject* transport) {
  auto index = static_cast<std::size_t>(fd);
  if (index >= by_fd_.size()) by_fd_.resize(index + index / 2 + 32);
  by_fd_[index] = transport;
}

void TransportTable::release(int fd, PyObject* transport) noexcept {
  if (transport_of(fd) == transport) by_fd_[static_cast<std::size_t>(fd)] = nullptr;
}

int TransportTable::visit(visitproc visit, void* arg) const noexcept {
  for (LoopIo* io = head_; io; io = io->next_) Py_VISIT(io->owner_);
  return 0;
}

void TransportTable::drop_all() noexcept {
  while (head_) head_->watch(0);
}

// ---------------------------------------------------------------- Python's side

PyObject* transport_helper(const char* name, std::initializer_list<PyObject*> args) {
  static PyObject* module = nullptr;
  if (!module && !(module = PyImport_ImportModule("fasterapi_core._transports"))) return nullptr;
  Ref function(PyObject_GetAttrString(module, name));
  if (!function) return nullptr;
  return PyObject_Vectorcall(function.get(), args.begin(), args.size(), nullptr);
}

int call_soon_here(LoopCore* loop, PyObject* callback, PyObject* arg) {
  Ref context(PyContext_CopyCurrent());
  if (!context) return -1;
  return loop_call_soon(reinterpret_cast<PyObject*>(loop), callback, arg, context.get());
}

PyObject* take_protocol_error(LoopCore* loop) {
  bool fatal = PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) || PyErr_ExceptionMatches(PyExc_SystemExit);
  PyObject* exception = take_exception();
  if (!fatal) return exception;
  // A callback of the reactor cannot raise: a handle of this iteration does it.
  Ref owned(exception);
  Ref reraise(transport_helper("reraise", {}));
  if (!reraise || call_soon_here(loop, reraise.get(), exception) < 0)
    PyErr_WriteUnraisable(reinterpret_cast<PyObject*>(loop));
  return nullptr;
}

void report_callback(LoopCore* loop, PyObject* callback, PyObject* context_object) {
  Ref exception(take_protocol_error(loop));
  if (!exception) return;
  Ref done(transport_helper("report_callback", {reinterpret_cast<PyObject*>(loop), callback, exception.get(),
                                                context_object ? context_object : Py_None}));
  if (!done) PyErr_WriteUnraisable(callback);
}

PyObject* os_error(int error) {
  errno = error;
  PyErr_SetFromErrno(PyExc_OSError);
  return take_exception();
}

int ensure_no_transport(LoopCore* loop, int fd) {
  PyObject* transport = loop->transports->transport_of(fd);
  if (!transport || is_closing_transport(transport)) return 0;
  PyErr_Format(PyExc_RuntimeError, "File descriptor %d is used by transport %R", fd, transport);
  return -1;
}

void SlowWatch::report() noexcept {
  ErrorGuard keep;
  Ref elapsed(PyFloat_FromDouble(static_cast<double>(monotonic_now() - start_) * 1e-9));
  Ref what(PyUnicode_FromString(what_));
  Ref done(elapsed && what ? transport_helper("report_slow", {reinterpret_cast<PyObject*>(loop_), object_,
                                                              what.get(), elapsed.get()})
                           : nullptr);
  if (!done) PyErr_WriteUnraisable(object_);
}

// ---------------------------------------------------------------- addresses

PyObject* address_object(const sockaddr* address, socklen_t length) {
  char text[INET6_ADDRSTRLEN];
  if (length == 0) Py_RETURN_NONE;
  switch (address->sa_family) {
    case AF_INET: {
      auto* in = reinterpret_cast<const sockaddr_in*>(address);
      ::inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
      return Py_BuildValue("si", text, ntohs(in->sin_port));
    }
    case AF_INET6: {
      auto* in = reinterpret_cast<const sockaddr_in6*>(address);
      ::inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
      return Py_BuildValue("siII", text, ntohs(in->sin6_port), ntohl(in->sin6_flowinfo), in->sin6_scope_id);
    }
    case AF_UNIX: {
      auto* un = reinterpret_cast<const sockaddr_un*>(address);
      std::size_t size = length > offsetof(sockaddr_un, sun_path) ? length - offsetof(sockaddr_un, sun_path) : 0;
      if (size && un->sun_path[0] == 0)  // Linux: the abstract name space
        return PyBytes_FromStringAndSize(un->sun_path, static_cast<Py_ssize_t>(size));
      return PyUnicode_DecodeFSDefaultAndSize(un->sun_path,
                                              static_cast<Py_ssize_t>(::strnlen(un->sun_path, size)));
    }
    default: Py_RETURN_NONE;
  }
}

socklen_t parse_address(PyObject* address, int family, sockaddr_storage* out) {
  if (!PyTuple_CheckExact(address)) return 0;
  Py_ssize_t n = PyTuple_GET_SIZE(address);
  if (n < 2 || !PyUnicode_CheckExact(PyTuple_GET_ITEM(address, 0)) ||
      !PyLong_CheckExact(PyTuple_GET_ITEM(address, 1)))
    return 0;
  const char* host = PyUnicode_AsUTF8(PyTuple_GET_ITEM(address, 0));
  long port = host ? PyLong_AsLong(PyTuple_GET_ITEM(address, 1)) : -1;
  if (port < 0 || port > 65535) {
    PyErr_Clear();  // the socket's own method says what is wrong
    return 0;
  }
  std::memset(out, 0, sizeof *out);
  if (family == AF_INET && n == 2) {
    auto* in = reinterpret_cast<sockaddr_in*>(out);
    in->sin_family = AF_INET;
    in->sin_port = htons(static_cast<std::uint16_t>(port));
    return ::inet_pton(AF_INET, host, &in->sin_addr) == 1 ? sizeof *in : 0;
  }
  if (family == AF_INET6 && (n == 2 || n == 4)) {
    auto* in = reinterpret_cast<sockaddr_in6*>(out);
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(static_cast<std::uint16_t>(port));
    if (n == 4) {
      unsigned long flow = PyLong_AsUnsignedLong(PyTuple_GET_ITEM(address, 2));
      unsigned long scope = PyLong_AsUnsignedLong(PyTuple_GET_ITEM(address, 3));
      if (PyErr_Occurred() || flow > 0xfffff) {
        PyErr_Clear();
        return 0;
      }
      in->sin6_flowinfo = htonl(static_cast<std::uint32_t>(flow));
      in->sin6_scope_id = static_cast<std::uint32_t>(scope);
    }
    return ::inet_pton(AF_INET6, host, &in->sin6_addr) == 1 ? sizeof *in : 0;
  }
  return 0;
}

// ---------------------------------------------------------------- names

namespace {

bool init_transport_names() {
  struct {
    PyObject** slot;
    const char* text;
  } const names[] = {{&tn.data_received, "data_received"},
                     {&tn.eof_received, "eof_received"},
                     {&tn.connection_made, "connection_made"},
                     {&tn.connection_lost, "connection_lost"},
                     {&tn.get_buffer, "get_buffer"},
                     {&tn.buffer_updated, "buffer_updated"},
                     {&tn.pause_writing, "pause_writing"},
                     {&tn.resume_writing, "resume_writing"},
                     {&tn.datagram_received, "datagram_received"},
                     {&tn.error_received, "error_received"},
                     {&tn.attach, "_attach"},
                     {&tn.detach, "_detach"},
                     {&tn.close, "close"},
                     {&tn.set_result, "set_result"},
                     {&tn.set_exception, "set_exception"},
                     {&tn.done, "done"},
                     {&tn.gettimeout, "gettimeout"},
                     {&tn.stream_reader_wr, "_stream_reader_wr"},
                     {&tn.eof, "_eof"},
                     {&tn.buffer, "_buffer"},
                     {&tn.waiter, "_waiter"},
                     {&tn.transport, "_transport"},
                     {&tn.paused, "_paused"},
                     {&tn.limit, "_limit"},
                     {&tn.io_refs, "_io_refs"},
                     {&tn.decref_socketios, "_decref_socketios"}};
  for (auto& name : names)
    if (!(*name.slot = PyUnicode_InternFromString(name.text))) return false;
  if (!(tn.minus_one = PyLong_FromLong(-1)) || !(tn.one = PyLong_FromLong(1))) return false;
  struct {
    PyObject** slot;
    const char *module, *name;
  } const objects[] = {{&tn.socket_type, "socket", "socket"},
                       {&tn.buffered_protocol, "asyncio.protocols", "BufferedProtocol"},
                       {&tn.stream_protocol, "asyncio.streams", "StreamReaderProtocol"},
                       {&tn.stream_reader, "asyncio.streams", "StreamReader"},
                       {&tn.transport_base, "asyncio.transports", "_FlowControlMixin"},
                       {&tn.datagram_base, "asyncio.transports", "DatagramTransport"}};
  for (auto& object : objects) {
    Ref module(PyImport_ImportModule(object.module));
    if (!module || !(*object.slot = PyObject_GetAttrString(module.get(), object.name))) return false;
  }
  tn.stream_data_received = PyObject_GetAttr(tn.stream_protocol, tn.data_received);
  tn.stream_feed_data = PyObject_GetAttrString(tn.stream_reader, "feed_data");
  return tn.stream_data_received && tn.stream_feed_data;
}

}  // namespace

bool add_transports(PyObject* module) {
  return init_transport_names() && add_stream_transport(module) && add_server(module) &&
         add_socket_calls(module) && add_tls_path(module);
}

}  // namespace fasterapi::core::py

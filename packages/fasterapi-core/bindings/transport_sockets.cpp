// loop.sock_*(): awaitables that try the call first, then wait natively for the descriptor and do it there.
// As the coroutines that they stand for they do nothing before they are awaited, are accepted by
// asyncio.create_task(), and give up their place on the descriptor when they are cancelled or closed.
// While one waits it counts as a user of its socket, as a file of socket.makefile() does: close() takes effect
// when the call has ended, so that the descriptor's number cannot become another file's under it. Sockets that are
// not exactly socket.socket (wrappers, doubles, subclasses) keep asyncio's own coroutines.
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "loop_objects.hpp"
#include "transport.hpp"

namespace fasterapi::core::py {
namespace {

PyTypeObject* SocketCallType = nullptr;

enum class Kind : std::uint8_t { recv, recv_into, recvfrom, recvfrom_into, sendall, sendto, accept, connect };
enum class State : std::uint8_t { created, waiting, finished };
constexpr const char* kNames[] = {"sock_recv",    "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into",
                                  "sock_sendall", "sock_sendto",    "sock_accept",   "sock_connect"};

struct SocketCall;
class CallWaiter final : public IoWaiter {
 public:
  explicit CallWaiter(SocketCall* call) noexcept;
  void on_ready() noexcept override;
  void on_dropped() noexcept override;

 private:
  SocketCall* call_;
};

struct SocketCall {
  PyObject_HEAD PyObject* loop;
  PyObject* sock;
  PyObject* argument;  // the buffer or the data
  PyObject* address;   // of sendto and connect
  PyObject* future;    // what the task waits for
  Py_ssize_t size;     // bytes to receive
  Py_ssize_t done;     // bytes sent
  Py_buffer view;
  Kind kind;
  State state;
  bool has_view, connecting, holds_socket;
  int fd;
  alignas(CallWaiter) unsigned char waiter_storage[sizeof(CallWaiter)];

  CallWaiter& waiter() noexcept { return *reinterpret_cast<CallWaiter*>(waiter_storage); }
  LoopCore* core() const noexcept { return reinterpret_cast<LoopCore*>(loop); }
  unsigned direction() const noexcept {
    return kind == Kind::sendall || kind == Kind::sendto || kind == Kind::connect ? kWritable : kReadable;
  }
};

SocketCall* cast(PyObject* self) { return reinterpret_cast<SocketCall*>(self); }

CallWaiter::CallWaiter(SocketCall* call) noexcept : IoWaiter(reinterpret_cast<PyObject*>(call)), call_(call) {}

// ---------------------------------------------------------------- the calls; nullptr without exception: not yet

PyObject* failed() {
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return nullptr;
  return PyErr_SetFromErrno(PyExc_OSError);
}

bool take_view(SocketCall* c, int flags) {
  if (c->has_view) return true;
  if (PyObject_GetBuffer(c->argument, &c->view, flags) < 0) return false;
  return c->has_view = true;
}

PyObject* received(Kind kind, PyObject* value, const sockaddr_storage& from, socklen_t length) {
  if (!value || kind == Kind::recv || kind == Kind::recv_into) return value;
  Ref first(value), address(address_object(reinterpret_cast<const sockaddr*>(&from), length));
  return address ? PyTuple_Pack(2, first.get(), address.get()) : nullptr;
}

PyObject* try_receive(SocketCall* c) {
  sockaddr_storage from;
  socklen_t length = sizeof from;
  bool named = c->kind == Kind::recvfrom || c->kind == Kind::recvfrom_into;
  auto* address = named ? reinterpret_cast<sockaddr*>(&from) : nullptr;
  if (c->kind == Kind::recv_into || c->kind == Kind::recvfrom_into) {
    if (!take_view(c, PyBUF_WRITABLE)) return nullptr;
    Py_ssize_t room = c->size > 0 ? c->size : c->view.len;
    if (room > c->view.len) {
      PyErr_SetString(PyExc_ValueError, "nbytes is greater than the length of the buffer");
      return nullptr;
    }
    ssize_t n = ::recvfrom(c->fd, c->view.buf, static_cast<std::size_t>(room), MSG_DONTWAIT, address,
                           named ? &length : nullptr);
    return n < 0 ? failed() : received(c->kind, PyLong_FromSsize_t(n), from, length);
  }
  if (c->size < 0) {
    PyErr_SetString(PyExc_ValueError, "negative buffersize in recv");
    return nullptr;
  }
  auto size = static_cast<std::size_t>(c->size);
  char* scratch = c->core()->reactor->read_scratch();
  if (size <= Reactor::kReadScratch) {
    // Most reads bring less than was asked for: no large bytes object to be cut down, and none at all for EAGAIN.
    ssize_t n = ::recvfrom(c->fd, scratch, size, MSG_DONTWAIT, address, named ? &length : nullptr);
    return n < 0 ? failed() : received(c->kind, PyBytes_FromStringAndSize(scratch, n), from, length);
  }
  PyObject* bytes = PyBytes_FromStringAndSize(nullptr, c->size);
  if (!bytes) return nullptr;
  ssize_t n = ::recvfrom(c->fd, PyBytes_AS_STRING(bytes), size, MSG_DONTWAIT, address, named ? &length : nullptr);
  if (n < 0) {
    int error = errno;
    Py_DECREF(bytes);
    errno = error;
    return failed();
  }
  if (_PyBytes_Resize(&bytes, n) < 0) return nullptr;
  return received(c->kind, bytes, from, length);
}

PyObject* try_sendall(SocketCall* c) {
  if (!take_view(c, PyBUF_SIMPLE)) return nullptr;
  for (;;) {
    auto left = static_cast<std::size_t>(c->view.len - c->done);
    ssize_t n = ::send(c->fd, static_cast<char*>(c->view.buf) + c->done, left, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) return failed();
    c->done += n;
    if (c->done == c->view.len) return none();
  }
}

PyObject* not_yet_or_error() {  // after a method of the socket raised
  if (PyErr_ExceptionMatches(PyExc_BlockingIOError) || PyErr_ExceptionMatches(PyExc_InterruptedError))
    PyErr_Clear();
  return nullptr;
}

PyObject* try_sendto(SocketCall* c) {
  if (!take_view(c, PyBUF_SIMPLE)) return nullptr;
  sockaddr_storage own, to;
  socklen_t length = sizeof own;
  if (::getsockname(c->fd, reinterpret_cast<sockaddr*>(&own), &length) == 0 &&
      (length = parse_address(c->address, own.ss_family, &to))) {
    ssize_t n = ::sendto(c->fd, c->view.buf, static_cast<std::size_t>(c->view.len), MSG_DONTWAIT | MSG_NOSIGNAL,
                         reinterpret_cast<sockaddr*>(&to), length);
    return n < 0 ? failed() : PyLong_FromSsize_t(n);
  }
  PyObject* sent = PyObject_CallMethod(c->sock, "sendto", "OO", c->argument, c->address);
  return sent ? sent : not_yet_or_error();
}

PyObject* try_accept(SocketCall* c) {
  sockaddr_storage from;
  socklen_t length = sizeof from;
  int fd = ::accept4(c->fd, reinterpret_cast<sockaddr*>(&from), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return failed();
  Ref number(PyLong_FromLong(fd));
  Ref accepted(number ? transport_helper("accepted_socket", {c->sock, number.get()}) : nullptr);
  Ref address(accepted ? address_object(reinterpret_cast<sockaddr*>(&from), length) : nullptr);
  return address ? PyTuple_Pack(2, accepted.get(), address.get()) : nullptr;
}

PyObject* try_connect(SocketCall* c) {
  if (!c->connecting) {
    c->connecting = true;  // EINTR too: the connection goes on being made
    PyObject* done = PyObject_CallMethod(c->sock, "connect", "(O)", c->address);
    return done ? done : not_yet_or_error();
  }
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) error = errno;
  if (!error) return none();
  Ref raised(transport_helper("raise_connect", {Ref(PyLong_FromLong(error)).get(), c->address}));
  return nullptr;
}

PyObject* attempt(SocketCall* c) {
  switch (c->kind) {
    case Kind::sendall: return try_sendall(c);
    case Kind::sendto: return try_sendto(c);
    case Kind::accept: return try_accept(c);
    case Kind::connect: return try_connect(c);
    default: return try_receive(c);
  }
}

// ---------------------------------------------------------------- waiting

/// Counts the call among the socket's users.
bool hold_socket(SocketCall* c) {
  Ref users(PyObject_GetAttr(c->sock, tn.io_refs));
  Ref more(users ? PyNumber_Add(users.get(), tn.one) : nullptr);
  return more && PyObject_SetAttr(c->sock, tn.io_refs, more.get()) == 0 && (c->holds_socket = true);
}
void release_socket(SocketCall* c) noexcept {
  if (!std::exchange(c->holds_socket, false)) return;
  ErrorGuard keep;
  if (!Ref(PyObject_CallMethodNoArgs(c->sock, tn.decref_socketios))) PyErr_WriteUnraisable(c->sock);
}

void finish(SocketCall* c) noexcept {
  c->state = State::finished;
  watch_unset_waiter(c->core(), c->fd, c->direction(), &c->waiter());
  release_socket(c);
  if (c->has_view) {
    c->has_view = false;
    PyBuffer_Release(&c->view);
  }
}

void CallWaiter::on_dropped() noexcept { release_socket(call_); }

void CallWaiter::on_ready() noexcept {
  SocketCall* c = call_;
  Ref hold = Ref::hold(reinterpret_cast<PyObject*>(c));
  Ref over(PyObject_CallMethodNoArgs(c->future, tn.done));
  if (!over || over.get() == Py_True) {  // cancelled, the task has not run yet: what came stays in the socket
    if (!over) PyErr_WriteUnraisable(c->future);
    watch_unset_waiter(c->core(), c->fd, c->direction(), this);
    return;
  }
  PyObject* method = tn.set_result;
  Ref value(attempt(c));
  if (!value) {
    if (!PyErr_Occurred()) return;
    method = tn.set_exception;
    value = Ref(take_protocol_error(c->core()));
    if (!value) return;
  }
  watch_unset_waiter(c->core(), c->fd, c->direction(), this);
  if (!Ref(PyObject_CallMethodOneArg(c->future, method, value.get()))) PyErr_WriteUnraisable(c->future);
}

/// Checks what asyncio checks, at the first step as its coroutines do.
bool prepare(SocketCall* c) {
  if (c->core()->debug) {
    Ref timeout(PyObject_CallMethodNoArgs(c->sock, tn.gettimeout));
    if (!timeout) return false;
    double seconds = timeout.get() == Py_None ? -1.0 : PyFloat_AsDouble(timeout.get());
    if (seconds != 0.0) {
      if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "the socket must be non-blocking");
      return false;
    }
  }
  Ref number(PyObject_CallMethodNoArgs(c->sock, rt.fileno));
  c->fd = number ? static_cast<int>(PyLong_AsLong(number.get())) : -1;
  return !PyErr_Occurred();
}

PyObject* wait_for_it(SocketCall* c) {
  if (ensure_no_transport(c->core(), c->fd) < 0) return nullptr;
  PyObject* future = loop_create_future(c->loop, nullptr);
  if (!future) return nullptr;
  Py_XSETREF(c->future, future);
  if (PyObject_SetAttr(future, rt.future_blocking, Py_True) < 0) return nullptr;
  if (!hold_socket(c)) return nullptr;
  if (int error = watch_set_waiter(c->core(), c->fd, c->direction(), &c->waiter())) {
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
  }
  c->state = State::waiting;
  return Py_NewRef(future);
}

PySendResult send(PyObject* self, PyObject*, PyObject** result) {
  SocketCall* c = cast(self);
  if (c->state == State::created) {
    if (prepare(c)) {
      if ((*result = attempt(c))) {
        finish(c);
        return PYGEN_RETURN;
      }
      if (!PyErr_Occurred() && (*result = wait_for_it(c))) return PYGEN_NEXT;
    }
    ErrorGuard keep;
    finish(c);
  } else if (c->state == State::waiting) {
    Ref over(PyObject_CallMethodNoArgs(c->future, tn.done));
    if (over && over.get() == Py_False)
      PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
    else if (over)
      *result = PyObject_CallMethodNoArgs(c->future, rt.result);
    else
      *result = nullptr;
    if (PyErr_Occurred()) *result = nullptr;
    ErrorGuard keep;
    finish(c);
    Py_CLEAR(c->future);
    if (*result) return PYGEN_RETURN;
  } else {
    PyErr_Format(PyExc_RuntimeError, "cannot reuse already awaited %s()", kNames[static_cast<int>(c->kind)]);
  }
  *result = nullptr;
  return PYGEN_ERROR;
}

PyObject* step(PyObject* self, PyObject* value) {
  PyObject* result = nullptr;
  switch (send(self, value, &result)) {
    case PYGEN_NEXT: return result;
    case PYGEN_RETURN: {
      Ref owned(result);
      if (result == Py_None) {
        PyErr_SetNone(PyExc_StopIteration);
        return nullptr;
      }
      return stop_iteration(result);
    }
    default: return nullptr;
  }
}
PyObject* iternext(PyObject* self) { return step(self, Py_None); }

PyObject* throw_(PyObject* self, PyObject* const* args, Py_ssize_t nargs) {
  SocketCall* c = cast(self);
  if (nargs < 1) return PyErr_Format(PyExc_TypeError, "throw expected at least 1 argument, got 0");
  if (c->state != State::finished) finish(c);
  Py_CLEAR(c->future);
  if (PyExceptionInstance_Check(args[0]))
    PyErr_SetObject(PyExceptionInstance_Class(args[0]), args[0]);
  else if (nargs > 1 && PyExceptionInstance_Check(args[1]))
    PyErr_SetObject(PyExceptionInstance_Class(args[1]), args[1]);
  else if (PyExceptionClass_Check(args[0]))
    PyErr_SetObject(args[0], nargs > 1 && args[1] != Py_None ? args[1] : nullptr);
  else
    PyErr_SetString(PyExc_TypeError, "exceptions must be classes or instances deriving from BaseException");
  return nullptr;
}
PyObject* close_(PyObject* self, PyObject*) {
  if (cast(self)->state != State::finished) finish(cast(self));
  Py_CLEAR(cast(self)->future);
  Py_RETURN_NONE;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  SocketCall* c = cast(self);
  Py_VISIT(Py_TYPE(self));
  for (PyObject* object : {c->loop, c->sock, c->argument, c->address, c->future}) Py_VISIT(object);
  if (c->has_view) Py_VISIT(c->view.obj);
  return 0;
}
int clear(PyObject* self) {
  SocketCall* c = cast(self);
  if (c->loop && c->state == State::waiting) finish(c);
  if (c->has_view) {
    c->has_view = false;
    PyBuffer_Release(&c->view);
  }
  for (PyObject** slot : {&c->sock, &c->argument, &c->address, &c->future, &c->loop}) Py_CLEAR(*slot);
  return 0;
}
void dealloc(PyObject* self) {
  SocketCall* c = cast(self);
  PyObject_GC_UnTrack(self);
  if (FASTERAPI_UNLIKELY(c->state == State::created)) {
    ErrorGuard keep;
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%s' was never awaited",
                         kNames[static_cast<int>(c->kind)]) < 0)
      PyErr_WriteUnraisable(nullptr);
  }
  PyTypeObject* type = Py_TYPE(self);
  clear(self);
  c->waiter().~CallWaiter();
  PyObject_GC_Del(self);
  Py_DECREF(type);
}

PyObject* get_name(PyObject* self, void*) {
  return PyUnicode_FromString(kNames[static_cast<int>(cast(self)->kind)]);
}
PyGetSetDef call_getset[] = {
    {"__name__", get_name, nullptr, nullptr, nullptr}, {"__qualname__", get_name, nullptr, nullptr, nullptr}, {}};
PyMethodDef call_methods[] = {{"send", step, METH_O, nullptr},
                              {"throw", as_function(throw_), METH_FASTCALL, nullptr},
                              {"close", close_, METH_NOARGS, nullptr},
                              {}};
PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {Py_tp_iter, reinterpret_cast<void*>(PyObject_SelfIter)},
                       {Py_tp_iternext, reinterpret_cast<void*>(iternext)},
                       {Py_am_await, reinterpret_cast<void*>(PyObject_SelfIter)},
                       {Py_am_send, reinterpret_cast<void*>(send)},
                       {Py_tp_methods, call_methods},
                       {Py_tp_getset, call_getset},
                       {0, nullptr}};
PyType_Spec spec = {"fasterapi_core._core.SocketCall", sizeof(SocketCall), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

// ---------------------------------------------------------------- methods of the loop

/// The call, or nullptr without an exception when the socket is not one of ours to handle.
PyObject* make(PyObject* loop, Kind kind, PyObject* sock, PyObject* argument, PyObject* address, Py_ssize_t size) {
  auto* c = PyObject_GC_New(SocketCall, SocketCallType);
  if (!c) return nullptr;
  c->loop = Py_NewRef(loop);
  c->sock = Py_NewRef(sock);
  c->argument = Py_XNewRef(argument);
  c->address = Py_XNewRef(address);
  c->future = nullptr;
  c->size = size;
  c->done = 0;
  c->kind = kind;
  c->state = State::created;
  c->has_view = c->connecting = c->holds_socket = false;
  c->fd = -1;
  new (c->waiter_storage) CallWaiter(c);
  PyObject_GC_Track(c);
  return reinterpret_cast<PyObject*>(c);
}

bool plain(PyObject* sock) { return reinterpret_cast<PyObject*>(Py_TYPE(sock)) == tn.socket_type; }

/// asyncio's coroutine function of that name with the same arguments.
PyObject* asyncios(PyObject* self, const char* name, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  static PyObject* base = nullptr;
  if (!base) {
    Ref module(PyImport_ImportModule("asyncio.selector_events"));
    if (!module || !(base = PyObject_GetAttrString(module.get(), "BaseSelectorEventLoop"))) return nullptr;
  }
  Ref function(PyObject_GetAttrString(base, name));
  if (!function) return nullptr;
  std::vector<PyObject*> all{self};
  all.insert(all.end(), args, args + nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0));
  return PyObject_Vectorcall(function.get(), all.data(), static_cast<std::size_t>(nargs) + 1, kwnames);
}

template <Kind kind, int least, int most>
PyObject* call(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  constexpr const char* name = kNames[static_cast<int>(kind)];
  if (kwnames || nargs < least || nargs > most || !plain(args[0]))
    return asyncios(self, name, args, nargs, kwnames);
  PyObject *argument = nullptr, *address = nullptr;
  Py_ssize_t size = 0;
  if constexpr (kind == Kind::recv || kind == Kind::recvfrom) {
    if (!PyLong_Check(args[1])) return asyncios(self, name, args, nargs, kwnames);
    size = PyLong_AsSsize_t(args[1]);
    if (size == -1 && PyErr_Occurred()) return nullptr;
  } else if constexpr (kind == Kind::connect) {
    address = args[1];
  } else if constexpr (kind != Kind::accept) {
    argument = args[1];
  }
  if constexpr (kind == Kind::sendto) address = args[2];
  if constexpr (kind == Kind::recvfrom_into) {
    if (nargs == 3) size = PyLong_AsSsize_t(args[2]);
    if (size == -1 && PyErr_Occurred()) return nullptr;
  }
  return make(self, kind, args[0], argument, address, size);
}

PyObject* ensure_fd(PyObject* self, PyObject* object) {
  int fd;
  if (PyLong_Check(object)) {
    fd = static_cast<int>(PyLong_AsLong(object));
    if (fd == -1 && PyErr_Occurred()) return nullptr;
  } else {
    Ref number(PyObject_CallMethodNoArgs(object, rt.fileno));
    fd = number ? static_cast<int>(PyLong_AsLong(number.get())) : -1;
    if (PyErr_Occurred()) {
      PyErr_Clear();
      return PyErr_Format(PyExc_ValueError, "Invalid file object: %R", object);
    }
  }
  LoopCore* loop = reinterpret_cast<LoopCore*>(self);
  PyObject* transport = loop->transports->transport_of(fd);
  if (transport && !is_closing_transport(transport))
    return PyErr_Format(PyExc_RuntimeError, "File descriptor %R is used by transport %R", object, transport);
  Py_RETURN_NONE;
}

PyObject* interest(PyObject* self, PyObject* number) {
  long fd = PyLong_AsLong(number);
  if (fd == -1 && PyErr_Occurred()) return nullptr;
  return PyLong_FromLong(
      static_cast<long>(watch_interest(reinterpret_cast<LoopCore*>(self), static_cast<int>(fd))));
}

constexpr int kFast = METH_FASTCALL | METH_KEYWORDS;
PyMethodDef methods[] = {
    {"sock_recv", as_function(call<Kind::recv, 2, 2>), kFast, "Receive up to n bytes."},
    {"sock_recv_into", as_function(call<Kind::recv_into, 2, 2>), kFast, "Receive into a buffer."},
    {"sock_recvfrom", as_function(call<Kind::recvfrom, 2, 2>), kFast, "Receive a datagram of up to n bytes."},
    {"sock_recvfrom_into", as_function(call<Kind::recvfrom_into, 2, 3>), kFast,
     "Receive a datagram into a buffer."},
    {"sock_sendall", as_function(call<Kind::sendall, 2, 2>), kFast, "Send all of the data."},
    {"sock_sendto", as_function(call<Kind::sendto, 3, 3>), kFast, "Send a datagram."},
    {"sock_accept", as_function(call<Kind::accept, 1, 1>), kFast, "Accept a connection."},
    {"_core_connect", as_function(call<Kind::connect, 2, 2>), kFast, nullptr},
    {"_core_interest", interest, METH_O, nullptr},
    {"_ensure_fd_no_transport", ensure_fd, METH_O, nullptr},
    {}};

}  // namespace

bool add_socket_calls(PyObject* module) {
  SocketCallType = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
  return SocketCallType && add_loop_methods(methods);
}

}  // namespace fasterapi::core::py

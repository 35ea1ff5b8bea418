// Listening sockets: connections are accepted in the reactor's turn, up to `backlog` of them per readiness. The
// protocol factory is called there and then, in a copy of the context of start_serving(); asyncio makes a task
// for it. TLS servers keep asyncio's way: the handshake is awaited by a task.
#include <unistd.h>

#include <cerrno>
#include <new>

#include "transport.hpp"

namespace fasterapi::core::py {
namespace {

PyTypeObject* AcceptorType = nullptr;

class AcceptIo final : public LoopIo {
 public:
  using LoopIo::LoopIo;
  void on_io(unsigned events) noexcept override;
};

struct Acceptor {
  PyObject_HEAD PyObject* loop;
  PyObject* factory;
  PyObject* sock;
  PyObject* server;
  PyObject* tls;  // arguments of asyncio's _accept_connection2 after the server, or nullptr
  PyObject* context;
  int fd, backlog;
  bool stopped;
  alignas(AcceptIo) unsigned char io_storage[sizeof(AcceptIo)];
  AcceptIo& io() noexcept { return *reinterpret_cast<AcceptIo*>(io_storage); }
  LoopCore* core() const noexcept { return reinterpret_cast<LoopCore*>(loop); }
};

Acceptor* cast(PyObject* self) { return reinterpret_cast<Acceptor*>(self); }

void report_failure(Acceptor* a, PyObject* protocol) {
  Ref exception(take_protocol_error(a->core()));
  if (!exception) return;
  Ref done(transport_helper("report_accept", {a->loop, exception.get(), protocol ? protocol : Py_None}));
  if (!done) PyErr_WriteUnraisable(reinterpret_cast<PyObject*>(a));
}

void take_connection(Acceptor* a, int fd, const sockaddr* peer, socklen_t length) noexcept {
  Ref context(PyContext_Copy(a->context));
  InContext in(context.get());
  SlowWatch watch(a->core(), reinterpret_cast<PyObject*>(a), "accept");
  if (a->tls) {
    Ref address(address_object(peer, length)), number(PyLong_FromLong(fd));
    Ref done(address && number ? transport_helper("accept_tls", {a->loop, a->sock, number.get(), address.get(),
                                                                 a->factory, a->server, a->tls})
                               : nullptr);
    if (!done) report_failure(a, nullptr);
    return;
  }
  Ref protocol(PyObject_CallNoArgs(a->factory));
  if (!protocol) {
    ::close(fd);
    return report_failure(a, nullptr);
  }
  Ref transport(
      stream_transport_new(a->core(), nullptr, fd, protocol.get(), nullptr, nullptr, a->server, peer, length));
  if (!transport) report_failure(a, protocol.get());
}

PyObject* method_resume(PyObject* self, PyObject*) {
  Acceptor* a = cast(self);
  if (a->stopped || a->core()->closed) Py_RETURN_NONE;
  if (int error = a->io().watch(kReadable)) {
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
  }
  Py_RETURN_NONE;
}
PyMethodDef resume_def{"_start_serving", method_resume, METH_NOARGS, nullptr};

void out_of_resources(Acceptor* a, int error) noexcept {
  // The descriptor stays readable: leave it alone for a while instead of spinning on it.
  a->io().watch(0);
  Ref exception(os_error(error));
  Ref resume(PyCFunction_New(&resume_def, reinterpret_cast<PyObject*>(a)));
  Ref done(resume ? transport_helper("accept_exhausted", {a->loop, exception.get(), a->sock, resume.get()})
                  : nullptr);
  if (!done) PyErr_WriteUnraisable(reinterpret_cast<PyObject*>(a));
}

void AcceptIo::on_io(unsigned) noexcept {
  Ref hold = Ref::hold(owner());
  Acceptor* a = cast(owner());
  for (int i = 0; i < a->backlog && !a->stopped; ++i) {
    sockaddr_storage peer;
    socklen_t length = sizeof peer;
    int fd = ::accept4(a->fd, reinterpret_cast<sockaddr*>(&peer), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      take_connection(a, fd, reinterpret_cast<sockaddr*>(&peer), length);
      continue;
    }
    int error = errno;
    if (error == EAGAIN || error == EWOULDBLOCK || error == EINTR || error == ECONNABORTED) return;
    if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM)
      return out_of_resources(a, error);
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
    return report_failure(a, nullptr);
  }
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Acceptor* a = cast(self);
  Py_VISIT(Py_TYPE(self));
  for (PyObject* object : {a->loop, a->factory, a->sock, a->server, a->tls, a->context}) Py_VISIT(object);
  return 0;
}
int clear(PyObject* self) {
  Acceptor* a = cast(self);
  for (PyObject** slot : {&a->loop, &a->factory, &a->sock, &a->server, &a->tls, &a->context}) Py_CLEAR(*slot);
  return 0;
}
void forget(Acceptor* a) noexcept {
  if (!a->loop || !a->core()->transports) return;
  auto& acceptors = a->core()->transports->acceptors();
  auto found = acceptors.find(a->fd);
  if (found != acceptors.end() && found->second == reinterpret_cast<PyObject*>(a)) acceptors.erase(found);
}
void dealloc(PyObject* self) {
  Acceptor* a = cast(self);
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  forget(a);
  a->io().~AcceptIo();
  clear(self);
  PyObject_GC_Del(self);
  Py_DECREF(type);
}
PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                       {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                       {Py_tp_clear, reinterpret_cast<void*>(clear)},
                       {0, nullptr}};
PyType_Spec spec = {"fasterapi_core._core.Acceptor", sizeof(Acceptor), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

// ---------------------------------------------------------------- methods of the loop

/// _start_serving(protocol_factory, sock, sslcontext=None, server=None, backlog=100, handshake, shutdown)
PyObject* start_serving(PyObject* self, PyObject* const* args, Py_ssize_t nargs) {
  if (nargs < 2) return PyErr_Format(PyExc_TypeError, "_start_serving(protocol_factory, sock, ...)");
  auto* loop = reinterpret_cast<LoopCore*>(self);
  int fd = PyObject_AsFileDescriptor(args[1]);
  if (fd < 0) return nullptr;
  long backlog = nargs > 4 ? PyLong_AsLong(args[4]) : 100;
  if (backlog == -1 && PyErr_Occurred()) return nullptr;
  auto* a = PyObject_GC_New(Acceptor, AcceptorType);
  if (!a) return nullptr;
  new (a->io_storage) AcceptIo(loop, reinterpret_cast<PyObject*>(a), fd);
  a->loop = Py_NewRef(self);
  a->factory = Py_NewRef(args[0]);
  a->sock = Py_NewRef(args[1]);
  a->server = Py_NewRef(nargs > 3 ? args[3] : Py_None);
  a->tls = nullptr;
  a->context = PyContext_CopyCurrent();
  a->fd = fd;
  a->backlog = backlog < 1 ? 1 : static_cast<int>(std::min<long>(backlog, 65536));
  a->stopped = false;
  PyObject_GC_Track(a);
  Ref owned(reinterpret_cast<PyObject*>(a));
  if (!a->context) return nullptr;
  if (nargs > 2 && PyObject_IsTrue(args[2]) == 1) {
    a->tls = PyTuple_Pack(3, args[2], nargs > 5 ? args[5] : Py_None, nargs > 6 ? args[6] : Py_None);
    if (!a->tls) return nullptr;
  }
  try {
    loop->transports->acceptors()[fd] = owned.get();
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
  if (int error = a->io().watch(kReadable)) {
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
  }
  Py_RETURN_NONE;
}

PyObject* stop_serving(PyObject* self, PyObject* sock) {  // the caller closes it
  auto* loop = reinterpret_cast<LoopCore*>(self);
  int fd = PyObject_AsFileDescriptor(sock);
  if (fd < 0) {
    PyErr_Clear();  // closed already: there is nothing to stop
  } else {
    auto& acceptors = loop->transports->acceptors();
    auto found = acceptors.find(fd);
    if (found != acceptors.end()) {
      Ref hold = Ref::hold(found->second);
      acceptors.erase(found);
      cast(hold.get())->stopped = true;
      cast(hold.get())->io().watch(0);
    }
  }
  Py_RETURN_NONE;
}

PyObject* make_socket_transport(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"sock", "protocol", "waiter", "extra", "server", nullptr};
  PyObject *sock, *protocol, *waiter = Py_None, *extra = Py_None, *server = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|O$OO", const_cast<char**>(names), &sock, &protocol, &waiter,
                                   &extra, &server))
    return nullptr;
  int fd = PyObject_AsFileDescriptor(sock);
  if (fd < 0 || ensure_no_transport(reinterpret_cast<LoopCore*>(self), fd) < 0) return nullptr;
  return stream_transport_new(reinterpret_cast<LoopCore*>(self), sock, fd, protocol, waiter, extra, server,
                              nullptr, 0);
}

PyMethodDef methods[] = {
    {"_start_serving", as_function(start_serving), METH_FASTCALL, nullptr},
    {"_core_stop_serving", stop_serving, METH_O, nullptr},
    {"_make_socket_transport", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(make_socket_transport)),
     METH_VARARGS | METH_KEYWORDS, nullptr},
    {}};

}  // namespace

bool add_loop_methods(PyMethodDef* definitions) {
  for (PyMethodDef* definition = definitions; definition->ml_name; ++definition) {
    Ref descriptor(PyDescr_NewMethod(LoopCoreType, definition));
    if (!descriptor || PyObject_SetAttrString(reinterpret_cast<PyObject*>(LoopCoreType), definition->ml_name,
                                              descriptor.get()) < 0)
      return false;
  }
  return true;
}

bool add_server(PyObject* module) {
  AcceptorType = reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
  return AcceptorType && add_loop_methods(methods);
}

}  // namespace fasterapi::core::py

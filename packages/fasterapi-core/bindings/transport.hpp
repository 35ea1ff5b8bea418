#pragma once
// What the native transports share: registration with the loop's reactor, the table of descriptors that
// belong to a transport, addresses, and the ways in which a protocol's exceptions are answered.
//   Why not Stream: asyncio hands over buffers of its own (bytes to keep, BufferedProtocol's memory to fill) and
//   says exactly when a send may happen; Stream's scratch output and its TLS layer would be one copy more each
//   way. What both share is below them: Reactor, IoHandler, the read scratch.
//   Threads  the loop's, with the GIL
//   Owners   the loop owns a transport while it is registered, as asyncio's selector does
#include <sys/socket.h>

#include <unordered_map>
#include <vector>

#include "json_ref.hpp"
#include "loop.hpp"

namespace fasterapi::core::py {

/// One descriptor of a Python object in the loop's reactor. While registered the loop owns the object.
class LoopIo : public IoHandler {
 public:
  LoopIo(LoopCore* loop, PyObject* owner, int fd) noexcept;
  /// Registers, changes, or with 0 takes away; may drop the last reference to the owner. 0 or an errno.
  int watch(unsigned interest) noexcept;
  unsigned interest() const noexcept { return interest_; }
  PyObject* owner() const noexcept { return owner_; }

 protected:
  ~LoopIo();

 private:
  friend class TransportTable;
  void link() noexcept;
  void unlink() noexcept;
  LoopCore* loop_;  // dangling once the loop is gone, which takes everything out of the list first
  Reactor* reactor_;
  PyObject* owner_;
  LoopIo* next_ = nullptr;
  LoopIo* prev_ = nullptr;
  int fd_;
  unsigned interest_ = 0;
};

/// The loop's side: who is registered, and which descriptor a transport has.
class TransportTable {
 public:
  void claim(int fd, PyObject* transport);
  void release(int fd, PyObject* transport) noexcept;
  PyObject* transport_of(int fd) const noexcept {  // borrowed
    return fd >= 0 && static_cast<std::size_t>(fd) < by_fd_.size() ? by_fd_[static_cast<std::size_t>(fd)]
                                                                   : nullptr;
  }
  std::unordered_map<int, PyObject*>& acceptors() noexcept { return acceptors_; }
  int visit(visitproc visit, void* arg) const noexcept;
  void drop_all() noexcept;  // closing the loop unregisters everything

 private:
  friend class LoopIo;
  std::vector<PyObject*> by_fd_;  // borrowed
  std::unordered_map<int, PyObject*> acceptors_;
  LoopIo* head_ = nullptr;
};

/// Names that the transports use, interned once.
struct TransportNames {
  PyObject *data_received, *eof_received, *connection_made, *connection_lost, *get_buffer, *buffer_updated,
      *pause_writing, *resume_writing, *datagram_received, *error_received, *attach, *detach, *close, *set_result,
      *set_exception, *done, *gettimeout, *stream_reader_wr, *eof, *buffer, *waiter, *transport, *paused, *limit,
      *io_refs, *decref_socketios;
  PyObject *socket_type, *ssl_socket_type, *buffered_protocol, *stream_protocol, *stream_reader;
  PyObject *transport_base, *datagram_base;
  PyObject *stream_data_received, *stream_feed_data;  // the functions that the fast path stands in for
  PyObject *minus_one, *one;
};
extern TransportNames tn;

/// fasterapi_core._transports.<name>(...): cold paths. A new reference or nullptr.
PyObject* transport_helper(const char* name, std::initializer_list<PyObject*> args);
/// call_soon(callback, arg) in a copy of the current context; 0 or -1.
int call_soon_here(LoopCore* loop, PyObject* callback, PyObject* arg);
/// Takes the pending exception; KeyboardInterrupt and SystemExit are handed to the loop, which ends with
/// them, and nullptr is returned.
PyObject* take_protocol_error(LoopCore* loop);
/// As the loop reports what a handle raised; takes the pending exception.
void report_callback(LoopCore* loop, PyObject* callback, PyObject* context_object);
/// The exception that errno means, as a new reference.
PyObject* os_error(int error);
/// RuntimeError when a transport that is not closing has the descriptor; 0 or -1.
int ensure_no_transport(LoopCore* loop, int fd);

/// asyncio's address of a socket address: a tuple, a string, bytes; a new reference.
PyObject* address_object(const sockaddr* address, socklen_t length);
/// The other way for numeric IPv4 and IPv6 addresses; 0 when it is not one (and no exception is set).
socklen_t parse_address(PyObject* address, int family, sockaddr_storage* out);

/// Runs its body in a context; a context that cannot be entered is left out.
class InContext {
 public:
  explicit InContext(PyObject* context) noexcept : context_(context) {
    if (context_ && PyContext_Enter(context_) < 0) {
      PyErr_Clear();
      context_ = nullptr;
    }
  }
  ~InContext() {
    if (!context_) return;
    ErrorGuard keep;
    if (PyContext_Exit(context_) < 0) PyErr_Clear();
  }
  InContext(const InContext&) = delete;
  InContext& operator=(const InContext&) = delete;

 private:
  PyObject* context_;
};

/// Debug mode: measures what a callback of the reactor took and logs what is slow, as for handles.
class SlowWatch {
 public:
  SlowWatch(LoopCore* loop, PyObject* object, const char* what) noexcept
      : loop_(loop), object_(object), what_(what), start_(loop->debug ? monotonic_now() : 0) {}
  ~SlowWatch() {
    if (FASTERAPI_UNLIKELY(start_ != 0)) report();
  }
  SlowWatch(const SlowWatch&) = delete;
  SlowWatch& operator=(const SlowWatch&) = delete;

 private:
  void report() noexcept;
  LoopCore* loop_;
  PyObject* object_;
  const char* what_;
  Nanos start_;
};

/// A transport over an accepted or connected stream socket. `sock` is a socket.socket, or nullptr: then the
/// descriptor is ours and the peer's address given. nullptr with an exception set, and the descriptor closed.
PyObject* stream_transport_new(LoopCore* loop, PyObject* sock, int fd, PyObject* protocol, PyObject* waiter,
                               PyObject* extra, PyObject* server, const sockaddr* peer, socklen_t peer_length);
bool is_closing_transport(PyObject* transport);

/// Methods of LoopCore that live beside the transports they make.
bool add_loop_methods(PyMethodDef* definitions);
bool add_stream_transport(PyObject* module);
bool add_server(PyObject* module);
bool add_socket_calls(PyObject* module);
bool add_tls_path(PyObject* module);
bool add_transports(PyObject* module);  // all of them

}  // namespace fasterapi::core::py

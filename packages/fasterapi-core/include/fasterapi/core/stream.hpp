#pragma once
// Stream: one connected byte stream (TCP or UNIX socket, plain or TLS) on a reactor.
//   Cost     one recv per readable event into a shared scratch, one send per flush; an idle stream owns no
//            buffer. out() is the reactor's scratch unless unsent bytes are waiting.
//   Threads  the reactor's thread only
//   Ownership  the handler owns its Stream. close() is idempotent and stops everything at once; on_closed()
//            follows exactly once, at the end of the turn with nothing of the stream on the stack: delete there.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <fasterapi/core/buffer.hpp>
#include <fasterapi/core/export.hpp>
#include <fasterapi/core/reactor.hpp>

struct sockaddr;

namespace fasterapi::core {

class TlsContext;
class TlsSession;

class FASTERAPI_CORE_API StreamHandler {
 public:
  virtual void on_connected() noexcept {}  // connect() done, or start_tls() handshake done
  /// Bytes are valid (and writable) during the call; Reactor::kReadPadding bytes after them are readable.
  virtual void on_data(char* data, std::size_t size) noexcept = 0;
  virtual void on_eof() noexcept = 0;    // the peer finished sending; writing may go on
  virtual void on_drained() noexcept {}  // bytes that a flush() had left behind are all sent
  /// `error` is 0 after our close(), else an errno (ECONNRESET, …) or EPROTO for TLS: see Stream::error_text().
  virtual void on_closed(int error) noexcept = 0;

 protected:
  ~StreamHandler() = default;
};

/// Bytes that a Stream sends from where they lie: memory that somebody keeps, or a part of a regular file.
struct StreamSource {
  const char* data = nullptr;  // memory, else
  int file = -1;               // a descriptor, read from `offset`; not closed by the stream
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  void (*release)(void* arg) noexcept = nullptr;  // called once, when all is sent or the stream has closed
  void* arg = nullptr;
};

class FASTERAPI_CORE_API Stream final : private IoHandler {
 public:
  Stream(Reactor& reactor, StreamHandler& handler) noexcept;
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// Takes a connected non-blocking socket. Returns 0 or an errno (the descriptor is then closed).
  int adopt(int fd) noexcept;
  /// Starts a non-blocking connect; on_connected() or on_closed(errno) follows.
  int connect(const sockaddr* address, unsigned length) noexcept;
  /// Starts TLS on the open stream; `host` is checked and sent as SNI on the client side. Returns 0 or an errno
  /// that error_text() explains; the stream is still open then, and plain.
  int start_tls(std::shared_ptr<TlsContext> context, std::string_view host) noexcept;

  /// Where to write the next bytes; valid until flush(). Throws std::bad_alloc.
  OutBuffer& out();
  /// Sends what out() holds; what the socket does not take is kept and sent as it drains.
  void flush() noexcept;
  /// flush() followed by `body`, without copying it unless the socket is full.
  void flush_with(std::string_view body) noexcept;
  /// flush() followed by the source; nothing of it is copied. What out() and flush() bring afterwards follows it.
  /// Files go by sendfile (read and written under TLS), in pieces that are in the page cache where the kernel can
  /// tell, so that a slow disk does not hold up the loop. A file that ends early closes the stream (EIO).
  void send_source(StreamSource source) noexcept;
  void write(std::string_view bytes) {
    out().append(bytes);
    flush();
  }
  std::size_t unsent() const noexcept { return pending_ ? waiting() : 0; }
  /// Of what had to wait, how much the peer has taken (less what the kernel still holds): to see who reads slowly.
  std::int64_t taken_late() const noexcept;

  void pause_reading() noexcept;
  void resume_reading() noexcept;
  bool reading() const noexcept { return reading_; }
  void shutdown_write() noexcept;  // after everything that is unsent
  void close(int error = 0) noexcept;
  /// Closes after everything that is unsent has left (or the handler's own timer gives up).
  void close_when_sent() noexcept;
  bool open() const noexcept { return fd_ >= 0; }

  int fd() const noexcept { return fd_; }
  Reactor& reactor() const noexcept { return reactor_; }
  TlsSession* tls() const noexcept { return tls_.get(); }
  std::string error_text(int error) const;

 private:
  void on_io(unsigned events) noexcept override;
  void on_complete(const Completion& completion) noexcept override;
  void connected(int error) noexcept;
  void received(char* data, std::size_t size) noexcept;
  void ended() noexcept;
  void sent_all() noexcept;
  void read_ready() noexcept;
  void write_ready() noexcept;
  struct Tail;
  std::size_t waiting() const noexcept;
  void pump_tail() noexcept;
  std::size_t pump_tail_once(std::size_t wanted) noexcept;
  void end_tail() noexcept;
  bool wait_for_disk(std::size_t wanted) noexcept;
  void keep(std::string_view unsent) noexcept;
  void update_interest() noexcept;
  void pump_tls_in(const char* data, std::size_t size) noexcept;
  void decrypt() noexcept;
  template <class Step>
  bool tls_step(Step step) noexcept;
  void say_close_notify() noexcept;
  void flooded() noexcept;
  std::size_t send_some(const char* data, std::size_t size) noexcept;  // bytes taken; closes on error

  Reactor& reactor_;
  StreamHandler& handler_;
  std::unique_ptr<TlsSession> tls_;
  std::unique_ptr<std::string> tls_error_;  // what TLS itself does not know of
  std::unique_ptr<OutBuffer> pending_;  // bytes on their way that the socket did not take (ciphertext under TLS)
  std::unique_ptr<OutBuffer> plain_;    // out() of a TLS stream while another one has the scratch; or behind tail_
  std::unique_ptr<Tail> tail_;          // a source that is being sent after pending_, which then exists
  std::int64_t handed_late_ = 0;        // bytes that had to wait and were given to the kernel
  Deferred closed_;
  Deferred decrypt_;  // goes on with what TLS holds after resume_reading()
  int fd_ = -1;
  int error_ = 0;
  unsigned interest_ = 0;
  std::uint32_t tls_answers_ = 0;  // bytes of them since the socket last took everything
  bool connecting_ = false, reading_ = true, closing_ = false, shutdown_ = false, eof_ = false;
};

/// Accepts connections of a listening socket until it would block; EMFILE pauses accepting for 100 ms.
class FASTERAPI_CORE_API Listener final : private IoHandler {
 public:
  using Accept = void (*)(void* arg, int fd) noexcept;  // takes the descriptor
  Listener(Reactor& reactor, int listening_fd, Accept accept, void* arg) noexcept;
  ~Listener();
  int start() noexcept;
  void stop() noexcept;

 private:
  void on_io(unsigned events) noexcept override;
  void on_complete(const Completion& completion) noexcept override;
  bool accepted(int fd) noexcept;  // false: enough for this turn
  unsigned interest() const noexcept;
  static void resume(void* self) noexcept;
  Reactor& reactor_;
  int fd_;
  Accept accept_;
  void* arg_;
  Timer retry_;
  bool started_ = false;
};

}  // namespace fasterapi::core

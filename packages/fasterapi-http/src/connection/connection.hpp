#pragma once
// Connection: the HTTP/1.1 state machine of one client over a core Stream.
//   Cost     idle: this object, no buffer. A request that is complete in one read is parsed, answered and sent
//            from shared memory; only a remainder is copied
//   Order    one transaction at a time; pipelined requests wait as bytes, so answers cannot overtake
//   Timers   one, re-armed lazily: what is armed is never later than what is due
//   Threads  the reactor's thread
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <fasterapi/core/stream.hpp>
#include <fasterapi/http/chunked.hpp>
#include <fasterapi/http/parser.hpp>
#include <fasterapi/http/transaction.hpp>

#include "connection/tunnel.hpp"

namespace fasterapi::http {

class Server;
struct Peer;  // peer.hpp

class Connection final : public core::StreamHandler {
 public:
  explicit Connection(Server& server);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Takes the descriptor. False when the connection could not be set up (delete it).
  bool start(int fd) noexcept;
  core::Stream& stream() noexcept { return stream_; }
  /// Who is at the other end; asked once. Null when the socket is closed and nobody had asked. Throws bad_alloc.
  const Peer* peer();
  /// Ends now if idle, else after the answer that is due.
  void drain() noexcept;
  /// Ends now.
  void abort(int error = 0) noexcept;

  // ---- for the tunnel
  /// Sends what the stream holds, under the write-stall rule.
  void flush_tunnel() noexcept { flush(); }
  /// Ends after what is unsent; reads on for a moment, so that the peer gets it.
  void linger_tunnel() noexcept { linger(); }
  void count_protocol_error() noexcept;

 private:
  friend class Server;
  friend class Transaction;
  enum class Phase : std::uint8_t { handshake, idle, head, body, running, discard, linger, tunnel, proxy, closed };
  struct Inbox;   // bytes that wait: a partial head, pipelined requests
  struct Upload;  // a body that is chunked and spans reads, or that streams

  void on_connected() noexcept override;  // the TLS handshake is done
  void on_data(char* data, std::size_t size) noexcept override;
  void on_eof() noexcept override;
  void on_drained() noexcept override;
  void on_closed(int error) noexcept override;
  static void timer_fired(void* self) noexcept;

  bool start_tls(int fd) noexcept;
  void handshake_failed(int error) noexcept;

  /// Takes what it can of the bytes; returns how many are dealt with.
  std::size_t process(const char* data, std::size_t size);
  void process_inbox();
  void stash(const char* data, std::size_t size);
  /// A complete head: routing, framing, limits. False when the rest of the input must not be looked at now.
  bool begin_request();
  /// Expectations and upgrades of a request without body.
  void unusual_request(Transaction& transaction) noexcept;
  void open_tunnel() noexcept;
  void feed_tunnel(char* data, std::size_t size) noexcept;
  std::size_t read_body(const char* data, std::size_t size, bool& complete);
  bool streams() const noexcept;
  /// The body without its content coding. False when it was refused.
  bool decode_body();
  std::uint64_t max_body(const Transaction& transaction) const noexcept;
  /// Starts the handler of a body that streams.
  void dispatch_upload();
  /// More of the streamed body; returns how many bytes belong to it.
  std::size_t feed(const char* data, std::size_t size);
  void fail_upload(const ParseError& error) noexcept;
  /// Who reads the body has made room, or waits (and is then told when there is more).
  void reader_took() noexcept;
  void reader_waits() noexcept;
  /// Whether the unread rest of the body may be skipped, so that the connection can stay.
  bool can_discard() const noexcept;
  void start_discard() noexcept;
  std::size_t discard(const char* data, std::size_t size) noexcept;
  /// The PROXY protocol's header comes first from this peer.
  bool expects_proxy_header() noexcept;
  void take_proxy_header(const char* data, std::size_t size) noexcept;
  /// Input in a phase that hardly ever happens; false when all of it is dealt with.
  bool take_rare(char*& data, std::size_t& size) noexcept;
  bool upload_too_slow(core::Nanos now) noexcept;
  /// Runs the handler. True when it has answered and the next request may follow.
  bool dispatch();
  void refuse(const ParseError& error) noexcept;
  void refuse(int status, const char* code, const char* text) noexcept;
  /// After an answer: next request, close, or wait.
  void answered(Transaction& transaction) noexcept;
  void release_active() noexcept;
  void resume() noexcept;
  void after_input() noexcept;
  bool blocked() noexcept;
  void flush() noexcept;
  void end_after_flush() noexcept;
  /// No request is running and the server stops: leaves its client a moment, see Server::drain().
  void retire() noexcept;
  void linger() noexcept;
  void disconnect_active() noexcept;
  void arm(core::Nanos deadline) noexcept;
  void on_timer() noexcept;
  void out_of_memory() noexcept;

  Server& server_;
  core::Stream stream_;
  core::Timer timer_;
  HeaderMemo memo_;
  std::unique_ptr<Inbox> inbox_;
  std::unique_ptr<Upload> upload_;
  std::unique_ptr<Peer> peer_;
  std::unique_ptr<Tunnel> tunnel_;   // has the bytes once phase_ says so
  Transaction* incoming_ = nullptr;  // its head or body is being read
  Transaction* active_ = nullptr;    // its handler runs or streams
  core::Nanos since_ = 0;            // when the phase began
  core::Nanos stalled_since_ = 0;
  std::int64_t stalled_at_ = 0;  // Stream::taken_late() then
  Connection* next_ = nullptr;
  Connection* prev_ = nullptr;
  std::uint64_t address_key_ = 0;
  std::uint64_t serial_ = 0;
  std::unique_ptr<std::string> tls_client_;  // address during the handshake, to tell whose it was when it fails
  std::uint32_t lingered_ = 0;
  Phase phase_ = Phase::idle;
  bool dispatching_ = false;  // handler on the stack: answers are batched
  bool processing_ = false;   // input is being worked on: flush comes at its end
  bool eof_ = false;
  bool closing_ = false;   // no further request
  bool queued_ = false;    // in Server::resumes_
  bool received_ = false;  // at least one byte ever
};

}  // namespace fasterapi::http

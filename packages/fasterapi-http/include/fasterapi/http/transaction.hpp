#pragma once
// Transaction: one request and its answer.
//   Cost     pooled; acquired per request without allocation. respond() with a HeadTemplate is a copy into the
//            stream's output; nothing of the request is copied unless somebody keeps it
//   Threads  the reactor's thread
//   Lifetime reference counted. Request views are valid while the handler runs; own() (called by the connection
//            when a handler suspends or keeps the transaction) moves the bytes into the transaction's storage.
//            A transaction whose last reference goes without an answer answers 500.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fasterapi/core/buffer.hpp>
#include <fasterapi/core/endpoint.hpp>
#include <fasterapi/core/stream.hpp>
#include <fasterapi/http/parser.hpp>
#include <fasterapi/http/response_head.hpp>
#include <fasterapi/http/router.hpp>

namespace fasterapi::core {
class TlsSession;
}  // namespace fasterapi::core

namespace fasterapi::http {

class Connection;
class Encoder;
class Server;
class Tunnel;
struct Route;

/// Where a streamed request body is: still coming, here to its end, cut off by us (Transaction::body_error() says
/// why), or its client has left.
enum class BodyState : std::uint8_t { open, complete, failed, gone };

class Transaction final : public core::RequestView, public core::Responder {
 public:
  using Callback = void (*)(void* arg) noexcept;

  // ---- the request
  RequestHead head;
  Match match;

  std::string_view method() const noexcept override { return head.method_text(); }
  std::string_view path() const noexcept override { return head.path(); }
  std::string_view query() const noexcept override { return head.query(); }
  std::span<const HeaderField> headers() const noexcept override;
  std::string_view header(std::string_view lower_name) const noexcept override { return head.find(lower_name); }
  /// The whole body; of a streamed one nothing until collect_body() has made it whole.
  std::string_view body() const noexcept override { return body_; }
  std::string_view client() const noexcept override;
  /// Address and port apart; port -1 for UNIX sockets. Empty once the client has gone and nobody had asked.
  std::string_view client_host() const noexcept;
  int client_port() const noexcept;
  /// The client as a trusted proxy names it, for everything that asks from now on.
  void set_client(std::string_view host, int port) const noexcept;
  /// The address that the client connected to as the PROXY protocol tells it; false when it told none.
  bool proxied_server(std::string& host, int& port) const;
  /// Seconds for a Retry-After, of requests that are refused.
  std::uint32_t retry_after() const noexcept { return retry_after_; }
  void set_retry_after(std::uint32_t seconds) noexcept { retry_after_ = seconds; }
  /// Number of the connection, from 1, never used twice by a server; 0 once the client has gone.
  std::uint64_t connection_serial() const noexcept;
  /// The connection's socket, to ask for its addresses; -1 once the client has gone.
  int descriptor() const noexcept;
  /// The connection's TLS session; null for plain ones, and once the client has gone.
  core::TlsSession* tls() const noexcept;
  const char* scheme() const noexcept;  // "https", "http"
  const Route* route() const noexcept { return route_; }
  Server& server() const noexcept { return *server_; }

  /// Copies the request's bytes into storage of the transaction; views move along. Throws std::bad_alloc.
  void own();
  bool owned() const noexcept { return owned_; }

  // ---- a body that was not here when the handler started (Route::stream_body): one reader
  bool streams_body() const noexcept { return stream_ != nullptr; }
  BodyState body_state() const noexcept;
  /// What has arrived and was not taken; valid until the next call or callback.
  std::string_view arrived_body() const noexcept;
  /// Makes room: reading from the client goes on when it had been held back (Limits::body_window_bytes).
  void take_body(std::size_t size) noexcept;
  /// The reader waits: a client that asked for it is told to go on (100), and its minimum rate counts.
  void expect_body() noexcept;
  /// The whole body is wanted: no window any more; body() has it once the state is complete.
  void collect_body() noexcept;
  const ParseError* body_error() const noexcept;
  /// Called when more has arrived and when the state changes. It may answer.
  void on_body(Callback fn, void* arg) noexcept;

  // ---- the answer: exactly one of these
  void respond(const HeadTemplate& head, std::string_view body) noexcept;
  void respond(int status, std::string_view content_type, std::span<const HeaderField> fields,
               std::string_view body) noexcept override;
  /// The same with a body that is sent from where it lies (Stream::send_source): for what is large.
  void respond_from(const HeadTemplate& head, core::StreamSource body) noexcept;
  void respond_from(int status, std::string_view content_type, std::span<const HeaderField> fields,
                    core::StreamSource body) noexcept;
  /// `{"detail": text}` with the status.
  void respond_error(int status, std::string_view text, std::span<const HeaderField> fields = {}) noexcept;
  /// Streamed: a content-length among `fields` makes the body that long, else it is chunked (HTTP/1.1) or ends
  /// with the connection (HTTP/1.0).
  void start(int status, std::string_view content_type, std::span<const HeaderField> fields) noexcept override;
  /// The same for a body that is not to be compressed.
  void start_identity(int status, std::string_view content_type, std::span<const HeaderField> fields) noexcept;
  bool write(std::string_view chunk) noexcept override;
  bool write_from(core::StreamSource chunk) noexcept;
  void finish() noexcept override;
  /// With trailer fields, which only a chunked body has (RFC 9112 section 7.1.2); else they are dropped.
  void finish(std::span<const HeaderField> trailers) noexcept;
  /// The answer cannot be completed: closes the connection, so that the client sees it.
  void abort() noexcept;

  /// Answers 101 with the fields (Connection, Upgrade and what the protocol wants); everything after the request
  /// is the tunnel's. False when the client has left or an answer was begun: the tunnel was never opened then.
  bool upgrade(std::span<const HeaderField> fields, std::unique_ptr<Tunnel> tunnel) noexcept;

  /// Interim answer (RFC 9110 section 15.2), e.g. 103.
  void inform(int status, std::span<const HeaderField> fields) noexcept;

  bool started() const noexcept { return state_ != State::waiting; }
  bool answered() const noexcept { return state_ == State::answered; }
  bool connected() const noexcept override { return connection_ != nullptr; }
  /// A HEAD request: what is written as body is dropped.
  bool head_only() const noexcept { return head.method == Method::head; }
  int status() const noexcept { return status_; }
  std::uint64_t body_bytes_sent() const noexcept { return sent_; }
  std::size_t unsent() const noexcept;
  /// The connection ends after this answer.
  void close_after() noexcept;

  void on_disconnect(Callback fn, void* arg) noexcept override {
    disconnect_ = fn;
    disconnect_arg_ = arg;
  }
  /// Called when everything that write() had left waiting is sent.
  void on_drained(Callback fn, void* arg) noexcept {
    drained_ = fn;
    drained_arg_ = arg;
  }
  /// Half-close of the client does not count as leaving (handlers that cannot be cancelled anyway).
  void tolerate_half_close() noexcept { half_close_ = true; }

  void retain() noexcept override { ++references_; }
  void release() noexcept override {
    if (--references_ <= 1) released();
  }
  std::uint32_t references() const noexcept { return references_; }

 private:
  friend class Connection;
  friend class Server;
  struct BodyStream;
  struct BodyStreamEnd {
    void operator()(BodyStream* stream) const noexcept;
  };
  struct EncoderEnd {
    void operator()(Encoder* encoder) const noexcept;
  };
  enum class State : std::uint8_t { waiting, streaming, answered };
  enum class Framing : std::uint8_t { none, chunked, length, until_close };

  explicit Transaction(Server& server) noexcept : server_(&server) {}
  ~Transaction() = default;
  void released() noexcept;
  void complete() noexcept;
  bool reachable() const noexcept;
  void put_body(std::string_view bytes) noexcept;
  void put_head(std::string_view fields);
  /// Answers with a compressed body, or with a head that says there might be one; false: as if compression were
  /// off.
  bool respond_coded(const HeadTemplate& head, std::string_view body) noexcept;
  bool write_plain(std::string_view chunk) noexcept;
  bool write_source_coded(core::StreamSource chunk) noexcept;
  /// Sets the coder up; the changed head, or "" when nothing changes.
  std::string code_stream(std::string_view fields, bool has_length);
  /// What precedes and follows a piece of the body; false when nothing of it is to be sent.
  bool open_chunk(std::uint64_t size);
  bool close_chunk(std::uint64_t size);
  void resolve_client() const noexcept;
  void drop_connection() noexcept { connection_ = nullptr; }
  /// Views follow the storage that has grown.
  void rebase() noexcept;
  /// The part of the body that is in the storage becomes the start of a stream.
  void begin_stream();
  void body_ended(BodyState state, const ParseError* error = nullptr) noexcept;
  void body_changed() noexcept;

  Server* server_;  // null once the server has gone before whoever keeps this
  Connection* connection_ = nullptr;
  const Route* route_ = nullptr;
  std::string_view body_;
  Callback disconnect_ = nullptr;
  void* disconnect_arg_ = nullptr;
  Callback drained_ = nullptr;
  void* drained_arg_ = nullptr;
  std::unique_ptr<BodyStream, BodyStreamEnd> stream_;
  std::unique_ptr<Encoder, EncoderEnd> encoder_;  // of a streamed answer that is compressed
  core::OutBuffer storage_;                       // head, then body, when the bytes are ours
  std::size_t stored_head_ = 0;
  std::uint64_t remaining_ = 0;  // Framing::length: bytes still to be written
  std::uint64_t sent_ = 0;
  std::int64_t begun_ = 0;  // reactor clock at dispatch
  std::uint32_t references_ = 0;
  std::uint32_t retry_after_ = 0;
  bool guarded_ = false;  // counts as in flight in the server's guard until it is recycled
  int status_ = 0;
  State state_ = State::waiting;
  Framing framing_ = Framing::none;
  Persistence persistence_ = Persistence::implied;
  bool owned_ = false;
  bool half_close_ = false;
  bool identity_only_ = false;             // during start_identity()
  mutable std::int32_t client_port_ = -2;  // -2: not asked yet
  mutable std::string client_host_, client_text_;
  mutable std::vector<HeaderField> fields_;
  Transaction* next_ = nullptr;  // in the server's list of live or of free ones
  Transaction* prev_ = nullptr;
};

/// What answers the requests of a route.
class RequestHandler {
 public:
  virtual ~RequestHandler();
  /// Must answer now, or retain() the transaction and answer later on the same thread.
  virtual void handle(Transaction& transaction) noexcept = 0;
};

}  // namespace fasterapi::http

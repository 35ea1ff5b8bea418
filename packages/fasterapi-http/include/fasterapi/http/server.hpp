#pragma once
// Server: routes, limits, listening sockets and the connections of one reactor.
//   Cost     an idle keep-alive connection is one object of a few hundred bytes and owns no buffer
//   Threads  configured on any thread before start(); then its reactor's thread only
//   Ownership  the server owns its connections and listeners; handlers are shared, and outlive the last request
//   Order    add routes, freeze(), attach(reactor), listen(fd) ..., drain(), destroy when connections() is 0 or
//            after abort_connections()
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <fasterapi/core/reactor.hpp>
#include <fasterapi/core/stream.hpp>
#include <fasterapi/http/compression.hpp>
#include <fasterapi/http/limits.hpp>
#include <fasterapi/http/response_head.hpp>
#include <fasterapi/http/router.hpp>
#include <fasterapi/http/transaction.hpp>

namespace fasterapi::core {
class TlsContext;
class TlsSession;
}  // namespace fasterapi::core

namespace fasterapi::http {

struct Route {
  std::shared_ptr<RequestHandler> handler;
  std::uint64_t max_body = 0;
  bool stream_body = false;  // the handler starts before a long body is here, and reads it through the Transaction
};

struct WebSocketOptions {
  bool deflate = true;          // permessage-deflate, when the client offers it
  int deflate_window_bits = 0;  // 0: shared windows, no context takeover; 9..15: own windows per connection
  std::vector<std::string> allowed_origins;
};

class Guard;     // src/server/guard.hpp
class Handover;  // src/server/handover.hpp
class Networks;  // src/peer/networks.hpp

struct ServerOptions {
  Limits limits;
  WebSocketOptions websocket;
  std::shared_ptr<const Networks> proxy_protocol;  // peers that begin with the PROXY protocol's header; null: none
  std::vector<std::pair<std::string, std::string>> fields;  // of every answer, Server for instance
  bool date_header = true;
  bool redirect_slashes = true;
  RouteOrder order = RouteOrder::registration;
  CompressionOptions compression;         // off
  bool decode_requests = false;           // bodies with a Content-Encoding are decoded before the handler starts
  std::shared_ptr<core::TlsContext> tls;  // of a server: every connection is TLS
};

struct ServerCounters {
  std::uint64_t requests = 0;
  std::uint64_t connections_accepted = 0;
  std::uint64_t connections_refused = 0;
  std::uint64_t protocol_errors = 0;
  std::uint64_t timeouts = 0;
};

class Server {
 public:
  explicit Server(ServerOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // ---- set-up
  /// `max_body` 0 takes the limit of the server. `stream_body`: see Route. The error's text is empty on success.
  RouteError add_route(std::span<const std::string_view> methods, std::string_view path,
                       std::shared_ptr<RequestHandler> handler, std::uint64_t max_body = 0,
                       bool stream_body = false);
  RouteError freeze();
  bool frozen() const noexcept { return routes_.frozen(); }
  /// Takes everything that no route takes (an ASGI application); without it the server answers 404 and 405.
  void set_fallback(std::shared_ptr<RequestHandler> handler, bool stream_body = false) {
    fallback_.handler = std::move(handler);
    fallback_.stream_body = stream_body;
    fallback_.max_body = options_.limits.max_body_bytes;
  }
  /// Takes the WebSocket handshakes, whatever their path; without it they are requests like any other.
  void set_websocket(std::shared_ptr<RequestHandler> handler) { websocket_.handler = std::move(handler); }
  /// Asked instead of the built-in 404, 405 (Transaction::match tells which); may be null.
  void set_unmatched(std::shared_ptr<RequestHandler> handler) { unmatched_ = std::move(handler); }
  /// Called after each answer, while the request can still be read.
  void set_access_log(std::function<void(const Transaction&, std::int64_t elapsed_ns)> log) {
    access_log_ = std::move(log);
  }

  /// The same, beside what was set before.
  void add_observer(std::function<void(const Transaction&, std::int64_t elapsed_ns)> observer);
  /// Peers whose connections begin with the PROXY protocol's header.
  void set_proxy_protocol(std::shared_ptr<const Networks> peers) { options_.proxy_protocol = std::move(peers); }
  /// Refuses requests before their handler sees them.
  void set_guard(std::unique_ptr<Guard> guard);
  const Guard* guard() const noexcept { return guard_.get(); }
  /// Gives accepted connections to other workers. After attach().
  int set_handover(std::unique_ptr<Handover> handover);
  const Handover* handover() const noexcept { return handover_.get(); }

  // ---- running
  void attach(core::Reactor& reactor) noexcept;
  bool attached() const noexcept { return reactor_ != nullptr; }
  /// Accepts connections of a listening, non-blocking socket; it stays the caller's. Returns 0 or an errno.
  int listen(int fd);
  /// Serves a connected, non-blocking socket; takes the descriptor.
  void adopt(int fd) noexcept;
  void stop_listening() noexcept;
  /// Takes the connections that wait to be accepted, stops listening and ends each connection after the answer it
  /// is at. An idle one gets another `idle_grace` (half of it at least, the rest by chance) in which a request
  /// that is on its way is still answered. `emptied` is called (at once, when there is none) when the last
  /// connection has gone.
  void drain(std::function<void()> emptied, core::Nanos idle_grace = 0);
  /// Closes every connection now; handlers that run are told that their client has left.
  void abort_connections() noexcept;
  bool draining() const noexcept { return draining_; }
  std::size_t connections() const noexcept { return connection_count_; }
  const ServerCounters& counters() const noexcept { return counters_; }

  // ---- for the connection and the handlers
  core::Reactor& reactor() const noexcept { return *reactor_; }
  const Limits& limits() const noexcept { return options_.limits; }
  const ServerOptions& options() const noexcept { return options_; }
  bool secure() const noexcept { return options_.tls != nullptr; }
  const RouteTable& routes() const noexcept { return routes_; }
  /// Null when answers are not compressed.
  const CompressionOptions* compression() const noexcept { return compression_; }
  /// The end of a head: date line and empty line.
  std::string_view head_tail() noexcept {
    return options_.date_header ? date_.tail(reactor_->now()) : std::string_view{"\r\n"};
  }
  /// A template with this server's own fields.
  HeadTemplate make_head(int status, std::string_view media_type, std::span<const HeaderField> fields = {}) const {
    return HeadTemplate(status, media_type, fields, own_fields_);
  }

 private:
  friend class Connection;
  friend class Transaction;
  struct ListenerSlot;
  static void accepted(void* self, int fd) noexcept;
  void reclaim(Connection& connection) noexcept;
  bool admit(int fd) noexcept;
  void turn_away(int fd) noexcept;
  void admit(Transaction& transaction) noexcept;
  void leave_guard(Transaction& transaction) noexcept;
  Transaction* acquire();
  void recycle(Transaction& transaction) noexcept;
  /// Finds the route and its body limit; null for the built-in answers.
  const Route* route_for(Transaction& transaction) noexcept;
  void answer_unmatched(Transaction& transaction) noexcept;
  void resume_later(Connection& connection) noexcept;
  void run_resumes() noexcept;

  ServerOptions options_;
  std::string own_fields_;  // options_.fields as lines
  RouteTable routes_;
  std::vector<Route> handlers_;
  Route fallback_, websocket_;
  std::shared_ptr<RequestHandler> unmatched_;
  std::function<void(const Transaction&, std::int64_t)> access_log_;
  std::function<void()> emptied_;
  core::Reactor* reactor_ = nullptr;
  std::unique_ptr<Guard> guard_;
  std::unique_ptr<Handover> handover_;
  std::vector<std::unique_ptr<ListenerSlot>> listeners_;
  Connection* first_ = nullptr;
  std::size_t connection_count_ = 0;
  std::uint64_t max_connections_ = 0, max_per_address_ = 0;
  std::unordered_map<std::uint64_t, std::uint32_t> per_address_;
  Transaction* free_ = nullptr;
  Transaction* live_ = nullptr;
  std::size_t free_count_ = 0;
  std::vector<Connection*> resumes_, resuming_;
  core::Deferred resume_work_;
  DateCache date_;
  const CompressionOptions* compression_ = nullptr;
  ServerCounters counters_;
  core::Nanos idle_grace_ = 0;  // of draining
  bool draining_ = false;
};

}  // namespace fasterapi::http

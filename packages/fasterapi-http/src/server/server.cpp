#include <fasterapi/http/server.hpp>

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include <fasterapi/core/platform.hpp>

#include "../connection/connection.hpp"
#include "../connection/peer.hpp"
#include "guard.hpp"
#include "handover.hpp"

namespace fasterapi::http {
namespace {

constexpr std::size_t kFreeTransactions = 256;
constexpr int kLastAccepts = 4096;              // when a server stops, per listening socket
constexpr std::size_t kKeptStorage = 8 * 1024;  // of a transaction in the free list
constexpr std::string_view kBusy =
    "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 33\r\n"
    "retry-after: 1\r\nconnection: close\r\n\r\n{\"detail\":\"Too many connections\"}";

/// Clients are counted per /24 and /64; 0 for loopback and UNIX sockets, which a proxy in front of us uses.
std::uint64_t address_key(int fd) noexcept {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET) {
    std::uint32_t ip = ntohl(reinterpret_cast<sockaddr_in&>(address).sin_addr.s_addr);
    return ip >> 24 == 127 ? 0 : (std::uint64_t{1} << 32) | (ip >> 8);
  }
  if (address.ss_family == AF_INET6) {
    const auto& in = reinterpret_cast<sockaddr_in6&>(address).sin6_addr;
    if (IN6_IS_ADDR_LOOPBACK(&in)) return 0;
    std::uint64_t key;
    std::memcpy(&key, &in, sizeof key);
    return key | 1;
  }
  return 0;
}

}  // namespace

struct Server::ListenerSlot {
  ListenerSlot(core::Reactor& reactor, int fd, Server& server)
      : fd(fd), listener(reactor, fd, &Server::accepted, &server) {}
  int fd;
  core::Listener listener;
};

Server::Server(ServerOptions options)
    : options_(std::move(options)),
      routes_(options_.order),
      resume_work_([](void* self) noexcept { static_cast<Server*>(self)->run_resumes(); }, this) {
  options_.limits = clamped(options_.limits);
  if (options_.compression.enabled()) compression_ = &options_.compression;
  for (const auto& [name, value] : options_.fields) own_fields_ += name + ": " + value + "\r\n";
}

Server::~Server() {
  stop_listening();
  while (first_) {
    Connection* connection = first_;
    connection->disconnect_active();
    if (connection->incoming_) {
      connection->incoming_->drop_connection();
      connection->incoming_->release();
      connection->incoming_ = nullptr;
    }
    first_ = connection->next_;
    delete connection;
  }
  // Requests that somebody still keeps (a channel, a task) outlive us: they are answered and ours no more.
  for (Transaction* tx = live_; tx; tx = tx->next_) {
    tx->server_ = nullptr;
    tx->state_ = Transaction::State::answered;
  }
  while (free_) {
    Transaction* next = free_->next_;
    delete free_;
    free_ = next;
  }
}

// ---------------------------------------------------------------- routes

RouteError Server::add_route(std::span<const std::string_view> methods, std::string_view path,
                             std::shared_ptr<RequestHandler> handler, std::uint64_t max_body, bool stream_body) {
  MethodSet set = routes_.method_set(methods);
  if (set == 0) return RouteError{.text = "no method, or more than 22 methods that HTTP does not define"};
  RouteError error = routes_.insert(set, path, static_cast<std::uint32_t>(handlers_.size()));
  if (error) return error;
  handlers_.push_back({std::move(handler), max_body ? max_body : options_.limits.max_body_bytes, stream_body});
  return error;
}

RouteError Server::freeze() { return routes_.freeze(); }

const Route* Server::route_for(Transaction& tx) noexcept {
  RequestHead& head = tx.head;
  std::string_view path = head.path();
  if (FASTERAPI_LIKELY(path.front() == '/')) {
    if (FASTERAPI_LIKELY(head.method != Method::other)
            ? routes_.match(head.method, path, tx.match)
            : routes_.match(routes_.bit(head.method, head.method_text()), path, tx.match))
      return &handlers_[tx.match.id];
  } else {
    tx.match.kind = Match::Kind::not_found;
  }
  tx.match.capture_count = 0;
  return fallback_.handler ? &fallback_ : nullptr;
}

void Server::answer_unmatched(Transaction& tx) noexcept {
  RequestHead& head = tx.head;
  try {
    if (head.path() == "*") {  // RFC 9110 section 9.3.7: a question about the server as a whole
      return tx.respond(head.method == Method::options ? 200 : 400, {}, {}, {});
    }
    if (tx.match.kind == Match::Kind::not_found && options_.redirect_slashes &&
        routes_.matches_with_other_slash(head.path())) {
      std::string location;
      if (!head.host().empty()) location.append(secure() ? "https://" : "http://").append(head.host());
      std::string_view path = head.path();
      if (path.back() == '/')
        location.append(path.substr(0, path.size() - 1));
      else
        location.append(path).append("/");
      if (head.query().data()) location.append("?").append(head.query());
      HeaderField field{"location", location};
      return tx.respond(307, {}, {&field, 1}, {});
    }
    if (unmatched_) return unmatched_->handle(tx);
    if (tx.match.kind == Match::Kind::wrong_method) {
      std::string allowed = routes_.method_names(tx.match.allowed);
      HeaderField field{"allow", allowed};
      return tx.respond_error(405, "Method Not Allowed", {&field, 1});
    }
    tx.respond_error(404, "Not Found");
  } catch (const std::bad_alloc&) {
    tx.abort();
  }
}

// ---------------------------------------------------------------- transactions

Transaction* Server::acquire() {
  Transaction* tx = free_;
  if (FASTERAPI_LIKELY(tx != nullptr)) {
    free_ = tx->next_;
    --free_count_;
  } else {
    tx = new Transaction(*this);
  }
  tx->prev_ = nullptr;
  tx->next_ = live_;
  if (live_) live_->prev_ = tx;
  live_ = tx;
  tx->references_ = 1;
  return tx;
}

void Server::recycle(Transaction& tx) noexcept {
  (tx.prev_ ? tx.prev_->next_ : live_) = tx.next_;
  if (tx.next_) tx.next_->prev_ = tx.prev_;
  if (free_count_ >= kFreeTransactions) {
    if (tx.guarded_) leave_guard(tx);
    delete &tx;
    return;
  }
  tx.head.reset();
  tx.match.capture_count = 0;
  tx.connection_ = nullptr;
  tx.route_ = nullptr;
  tx.body_ = {};
  tx.disconnect_ = nullptr;
  tx.drained_ = nullptr;
  if (FASTERAPI_UNLIKELY(tx.owned_)) {
    tx.owned_ = false;
    tx.storage_.clear();
    tx.storage_.shrink(kKeptStorage);
    tx.encoder_.reset();
    tx.stream_.reset();  // only requests that own their bytes have one
  }
  tx.sent_ = 0;
  if (FASTERAPI_UNLIKELY(tx.guarded_)) leave_guard(tx);
  tx.state_ = Transaction::State::waiting;
  tx.half_close_ = false;
  if (FASTERAPI_UNLIKELY(tx.client_port_ != -2)) {
    tx.client_port_ = -2;
    tx.client_host_.clear();
    tx.client_text_.clear();
  }
  if (FASTERAPI_UNLIKELY(!tx.fields_.empty())) tx.fields_.clear();
  tx.next_ = free_;
  free_ = &tx;
  ++free_count_;
}

// ---------------------------------------------------------------- connections

void Server::attach(core::Reactor& reactor) noexcept {
  reactor_ = &reactor;
  const Limits& limits = options_.limits;
  rlimit files{};  // now, not at construction: programs raise it first thing
  ::getrlimit(RLIMIT_NOFILE, &files);
  std::uint64_t room = files.rlim_cur == RLIM_INFINITY ? 1u << 20 : files.rlim_cur;
  max_connections_ = limits.max_connections ? limits.max_connections : room * 8 / 10;
  max_per_address_ = limits.max_connections_per_address ? limits.max_connections_per_address
                                                        : std::max<std::uint64_t>(max_connections_ / 4, 1);
}

int Server::listen(int fd) {
  auto slot = std::make_unique<ListenerSlot>(*reactor_, fd, *this);
  if (int error = slot->listener.start()) return error;
  listeners_.push_back(std::move(slot));
  return 0;
}

void Server::stop_listening() noexcept {
  for (auto& slot : listeners_) slot->listener.stop();
}

void Server::accepted(void* self, int fd) noexcept {
  auto* server = static_cast<Server*>(self);
  if (server->handover_ && server->handover_->offer(fd)) return;
  server->adopt(fd);
}

void Server::add_observer(std::function<void(const Transaction&, std::int64_t)> observer) {
  if (!access_log_) {
    access_log_ = std::move(observer);
    return;
  }
  access_log_ = [first = std::move(access_log_), second = std::move(observer)](const Transaction& tx,
                                                                               std::int64_t elapsed) {
    first(tx, elapsed);
    second(tx, elapsed);
  };
}

void Server::set_guard(std::unique_ptr<Guard> guard) { guard_ = std::move(guard); }

int Server::set_handover(std::unique_ptr<Handover> handover) {
  handover_ = std::move(handover);
  return handover_ ? handover_->start() : 0;
}

void Server::admit(Transaction& tx) noexcept {
  reactor_->refresh_now();
  core::Nanos now = reactor_->now();
  if (const Route* refusal = guard_->check(tx, now)) {
    tx.route_ = refusal;
    return;
  }
  tx.guarded_ = true;
  tx.begun_ = now;
}

void Server::leave_guard(Transaction& tx) noexcept {
  tx.guarded_ = false;
  if (!guard_) return;
  reactor_->refresh_now();
  core::Nanos now = reactor_->now();
  guard_->finished(now, now - tx.begun_);
}

// A full server says so and hangs up; the answer fits any socket buffer. A handshake to say it would cost more
// than serving the client.
void Server::turn_away(int fd) noexcept {
  if (!secure()) {
    [[maybe_unused]] auto sent = ::send(fd, kBusy.data(), kBusy.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  ++counters_.connections_refused;
  ::close(fd);
}

bool Server::admit(int fd) noexcept {
  if (connection_count_ < max_connections_) return true;
  turn_away(fd);
  return false;
}

void Server::adopt(int fd) noexcept {
  if (!admit(fd)) return;
  std::uint64_t key = address_key(fd);
  Connection* connection = nullptr;
  try {
    if (key) {
      std::uint32_t& count = per_address_[key];
      if (count >= max_per_address_) {
        turn_away(fd);
        return;
      }
      ++count;
    }
    connection = new Connection(*this);
  } catch (const std::bad_alloc&) {
    ::close(fd);
    return;
  }
  connection->address_key_ = key;
  connection->next_ = first_;
  if (first_) first_->prev_ = connection;
  first_ = connection;
  ++connection_count_;
  if (FASTERAPI_UNLIKELY(handover_ != nullptr)) handover_->publish(connection_count_);
  connection->serial_ = ++counters_.connections_accepted;
  if (!connection->start(fd)) reclaim(*connection);
}

void Server::reclaim(Connection& connection) noexcept {
  if (connection.queued_) {
    for (auto* list : {&resumes_, &resuming_})
      std::replace(list->begin(), list->end(), &connection, static_cast<Connection*>(nullptr));
  }
  (connection.prev_ ? connection.prev_->next_ : first_) = connection.next_;
  if (connection.next_) connection.next_->prev_ = connection.prev_;
  --connection_count_;
  if (FASTERAPI_UNLIKELY(handover_ != nullptr)) handover_->publish(connection_count_);
  if (connection.address_key_) {
    auto found = per_address_.find(connection.address_key_);
    if (found != per_address_.end() && --found->second == 0) per_address_.erase(found);
  }
  delete &connection;
  if (FASTERAPI_UNLIKELY(draining_ && connection_count_ == 0 && emptied_)) {
    auto emptied = std::move(emptied_);
    emptied_ = nullptr;
    emptied();
  }
}

void Server::resume_later(Connection& connection) noexcept {
  if (connection.queued_) return;
  try {
    resumes_.push_back(&connection);
  } catch (const std::bad_alloc&) {
    return connection.abort(ENOMEM);
  }
  connection.queued_ = true;
  reactor_->defer(resume_work_);
}

void Server::run_resumes() noexcept {
  std::swap(resumes_, resuming_);
  for (std::size_t i = 0; i < resuming_.size(); ++i)
    if (Connection* connection = resuming_[i]) connection->resume();
  resuming_.clear();
}

// ---------------------------------------------------------------- end

void Server::drain(std::function<void()> emptied, core::Nanos idle_grace) {
  if (handover_) handover_->stop();
  // Closing a listening socket resets the clients that wait in its queue.
  for (auto& slot : listeners_)
    for (int i = 0; i < kLastAccepts; ++i) {
      int fd = ::accept4(slot->fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) break;
      adopt(fd);
    }
  stop_listening();
  draining_ = true;
  idle_grace_ = idle_grace;
  emptied_ = std::move(emptied);
  for (Connection* connection = first_; connection;) {
    Connection* next = connection->next_;
    connection->drain();  // never deletes at once: on_closed() comes at the end of the turn
    connection = next;
  }
  if (connection_count_ == 0 && emptied_) {
    auto done = std::move(emptied_);
    emptied_ = nullptr;
    done();
  }
}

void Server::abort_connections() noexcept {
  for (Connection* connection = first_; connection; connection = connection->next_) connection->abort();
}

}  // namespace fasterapi::http

#pragma once
// One connection to a server: login, then a pipeline of operations.
//   Cost     operations are encoded into out() and leave together at the end of the loop turn (flush_soon), or at
//            once (flush_now); answers are taken from the receive buffer in place
//   Threads  the reactor's; a long key derivation runs on a thread of its own
//   Ownership  whoever made it deletes it, not before on_session_closed()
//   Errors   a broken protocol closes the connection; every operation in flight hears on_lost()
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>

#include <fasterapi/core/platform.hpp>
#include <fasterapi/core/reactor.hpp>
#include <fasterapi/core/resolver.hpp>
#include <fasterapi/core/stream.hpp>

#include "connection/operation.hpp"
#include "connection/options.hpp"
#include "protocol/frontend.hpp"
#include "protocol/scram.hpp"

namespace fasterapi::pg {

struct Address {
  core::SocketAddress socket;
  std::string text;  // for messages
  int family() const noexcept { return socket.family(); }
};

class SessionListener {
 public:
  virtual void on_session_ready(Session& session) noexcept = 0;
  /// Once, also when it never became ready. The session may be deleted here.
  virtual void on_session_closed(Session& session, const Failure& why) noexcept = 0;
  /// An operation ended; `status` as in ReadyForQuery.
  virtual void on_session_progress(Session& session) noexcept {}
  virtual void on_notice(Session& session, const backend::Report& report) noexcept {}
  virtual void on_notification(Session& session, std::uint32_t pid, std::string_view channel,
                               std::string_view payload) noexcept {}

 protected:
  ~SessionListener() = default;
};

enum class TlsUse { none, prefer, require };

class Session final : private core::StreamHandler {
 public:
  Session(core::Reactor& reactor, std::shared_ptr<const Options> options, SessionListener* listener);
  ~Session();

  /// Logs in over a connected socket, which it takes. `host` says which password and name count.
  void open(int fd, Address address, std::size_t host, TlsUse tls);
  void set_listener(SessionListener* listener) noexcept { listener_ = listener; }
  SessionListener* listener() const noexcept { return listener_; }

  // ---- operations
  OutBuffer& out() noexcept { return out_; }
  /// The operation whose messages were just appended to out(). It waits for its answers from now on.
  void push(Operation& operation) noexcept;
  void flush_soon() noexcept { reactor_.defer(flush_); }
  void flush_now() noexcept;
  bool pipelined() const noexcept { return head_ != nullptr; }
  std::size_t in_flight() const noexcept { return in_flight_; }
  Operation* running() const noexcept { return head_; }
  /// When the oldest operation was sent; 0 when there is none.
  Nanos oldest() const noexcept { return head_ ? head_->sent_ : 0; }

  /// Name under which `statement` is prepared here. When it is not yet, appends Close for what the cache drops
  /// and Parse (plus Describe when `describe`), and tells `operation` what to expect. Null: too long to send.
  const std::string* prepare(Statement& statement, Operation& operation, bool describe);
  /// Found fast, without preparing.
  Prepared* find(Statement& statement) noexcept;
  void forget(Statement& statement) noexcept;             // the server does not have it (any more)
  void drop(Statement& statement, Operation& operation);  // forget, and Close it on the server
  void forget_all() noexcept;
  std::size_t prepared() const noexcept { return prepared_.size(); }

  bool refuse_copy_in(Operation& operation, bool script) noexcept;

  // ---- state
  bool ready() const noexcept { return state_ == State::ready; }
  bool is_open() const noexcept { return state_ != State::closed; }
  char transaction_status() const noexcept { return status_; }
  /// A ROLLBACK is on its way (its failure closes the session): who comes next starts outside a transaction.
  void assume_idle() noexcept { status_ = 'I'; }
  std::uint32_t pid() const noexcept { return pid_; }
  const std::string& cancel_key() const noexcept { return key_; }
  const Address& address() const noexcept { return address_; }
  std::size_t host() const noexcept { return host_; }
  const Options& options() const noexcept { return *options_; }
  const std::shared_ptr<const Options>& shared_options() const noexcept { return options_; }
  const std::map<std::string, std::string, std::less<>>& parameters() const noexcept { return parameters_; }
  std::string_view parameter(std::string_view name) const noexcept;
  bool tls() const noexcept { return stream_.tls() != nullptr; }
  std::string tls_version() const;
  core::Reactor& reactor() const noexcept { return reactor_; }
  std::uint64_t bytes_received() const noexcept { return received_; }
  std::uint64_t bytes_sent() const noexcept { return sent_; }
  Nanos opened_at() const noexcept { return opened_at_; }

  void close_gracefully() noexcept;  // Terminate, then closed when sent
  void abort(Failure why) noexcept;

  // ---- kept for the owner
  bool dirty = false;  // did something that the next user must not see
  std::uint64_t uses = 0;
  Nanos last_used = 0;
  Nanos last_progress = 0;
  double load_us = 0;  // expected time of what is in flight

 private:
  enum class State { idle, tls_answer, tls_handshake, login, ready, closing, closed };

  void on_connected() noexcept override;
  void on_data(char* data, std::size_t size) noexcept override;
  void on_eof() noexcept override;
  void on_closed(int error) noexcept override;

  void send_startup();
  std::size_t consume(const char* data, std::size_t size);
  bool dispatch(const backend::Message& message);
  bool login_message(const backend::Message& message);
  bool authenticate(const backend::Authentication& a);
  bool begin_sasl(std::string_view mechanisms);
  bool check_method(unsigned bit, const char* name);
  void finish_sasl_first() noexcept;
  const std::optional<std::string>& password() const noexcept;
  bool reject(Failure::Kind kind, std::string message) noexcept;
  bool violation(const char* what) noexcept;
  void lose_operations() noexcept;
  void set_socket_options() noexcept;
  void unlink(Prepared& entry) noexcept;
  void link_newest(Prepared& entry) noexcept;
  void erase(Prepared& entry) noexcept;
  static void deferred_flush(void* self) noexcept { static_cast<Session*>(self)->flush_now(); }

  core::Reactor& reactor_;
  std::shared_ptr<const Options> options_;
  SessionListener* listener_;
  core::Stream stream_;
  core::Deferred flush_;
  OutBuffer out_;
  OutBuffer partial_;  // an incomplete message
  std::size_t partial_wanted_ = 0;
  Operation* head_ = nullptr;
  Operation* tail_ = nullptr;
  std::size_t in_flight_ = 0;
  State state_ = State::idle;
  char status_ = '?';
  TlsUse tls_use_ = TlsUse::none;
  Address address_;
  std::size_t host_ = 0;
  Failure failure_;
  std::uint32_t pid_ = 0;
  std::string key_;
  std::map<std::string, std::string, std::less<>> parameters_;
  std::unordered_map<Statement*, Prepared> prepared_;
  Prepared* newest_ = nullptr;
  Prepared* oldest_prepared_ = nullptr;
  std::uint64_t names_ = 0;
  std::unique_ptr<Scram> scram_;
  bool authenticated_ = false, proved_ = false, deriving_ = false;
  std::thread derivation_;
  std::shared_ptr<Session*> derivation_target_;
  std::uint64_t received_ = 0, sent_ = 0;
  Nanos opened_at_ = 0;
};

}  // namespace fasterapi::pg

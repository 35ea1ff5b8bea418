#pragma once
// Opens a session: hosts in turn, the addresses of a host side by side (core's Connector: an address that does not
// answer costs 250 ms, not the whole time limit), the retries that the TLS modes ask for, a time limit per login,
// target_session_attrs.
//   Threads  the reactor's; names are resolved on the threads of core's Resolver
//   Ownership  the caller's; destroying it gives up silently. on_connector_done() may destroy it.
#include <memory>
#include <vector>

#include <fasterapi/core/connector.hpp>

#include "connection/session.hpp"

namespace fasterapi::pg {

class Connector;

class ConnectorListener {
 public:
  /// Exactly one of `session` and `failure` is set.
  virtual void on_connector_done(Connector& connector, std::unique_ptr<Session> session,
                                 const Failure* failure) noexcept = 0;

 protected:
  ~ConnectorListener() = default;
};

class Connector final : private SessionListener, private core::ConnectorListener {
 public:
  Connector(core::Reactor& reactor, std::shared_ptr<const Options> options, pg::ConnectorListener& listener);
  ~Connector();
  void start();

 private:
  class Probe;

  void on_session_ready(Session& session) noexcept override;
  void on_session_closed(Session& session, const Failure& why) noexcept override;
  void on_connect(core::Connector& connector, int fd, const core::SocketAddress& address) noexcept override;
  void on_connect_failed(core::Connector& connector, const core::ConnectFailure& failure) noexcept override;
  void next_host();
  void resolved(core::Resolution result);
  void use_addresses(std::vector<core::SocketAddress> addresses, const std::string& error);
  void next_address();
  void race(std::vector<core::SocketAddress> addresses);
  void note_attempt(const core::SocketAddress& address, int error);
  std::string text_of(const core::SocketAddress& address) const;
  void note(const Failure& why);
  void give_up() noexcept;
  void check_target(bool read_only, bool standby) noexcept;
  void accept() noexcept;
  void mismatch() noexcept;
  static void timed_out(void* self) noexcept;
  static void cleanup(void* self) noexcept;

  core::Reactor& reactor_;
  std::shared_ptr<const Options> options_;
  pg::ConnectorListener& listener_;
  std::vector<std::size_t> order_;
  std::size_t host_ = 0;                        // position in order_
  std::vector<core::SocketAddress> addresses_;  // of the host; those that are still to be tried
  core::SocketAddress address_;                 // the session's
  core::Resolver::Query query_;
  core::Connector connector_;
  core::Nanos started_ = 0;  // the race for the session's address
  TlsUse tls_ = TlsUse::none;
  bool second_try_ = false;   // sslmode allow/prefer: the other way round
  bool second_pass_ = false;  // prefer-standby: anything will do
  std::unique_ptr<Session> session_;
  std::unique_ptr<Probe> probe_;
  core::Timer timer_;
  core::Deferred continue_;
  std::vector<Failure> failures_;
};

/// Sends a CancelRequest for what `session` runs; `done` is called once the server has closed the connection (it
/// has then signalled the backend) or when that failed. Owns itself.
void send_cancel(Session& session, void (*done)(void* arg) noexcept, void* arg);

}  // namespace fasterapi::pg

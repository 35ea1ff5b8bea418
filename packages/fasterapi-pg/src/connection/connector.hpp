#pragma once
// Opens a session: names resolved off the loop, hosts and addresses in turn, the retries that the TLS modes ask
// for, a time limit per address, target_session_attrs.
//   Threads  the reactor's; name resolution runs on a detached thread that holds nothing of this object
//   Ownership  the caller's; destroying it gives up silently. on_connector_done() may destroy it.
#include <memory>
#include <mutex>
#include <vector>

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

class Connector final : private SessionListener {
 public:
  Connector(core::Reactor& reactor, std::shared_ptr<const Options> options, ConnectorListener& listener);
  ~Connector();
  void start();

 private:
  struct Lookup {  // shared with the resolving thread
    std::mutex mutex;
    Connector* connector = nullptr;  // null once nobody waits
    core::Reactor* reactor = nullptr;
    std::vector<Address> addresses;
    std::string error;
  };
  class Probe;

  void on_session_ready(Session& session) noexcept override;
  void on_session_closed(Session& session, const Failure& why) noexcept override;
  void next_host();
  void use_addresses(std::vector<Address> addresses, const std::string& error);
  void next_address();
  void try_address();
  void note(const Failure& why);
  void give_up() noexcept;
  void check_target(bool read_only, bool standby) noexcept;
  void accept() noexcept;
  void mismatch() noexcept;
  static void timed_out(void* self) noexcept;
  static void cleanup(void* self) noexcept;

  core::Reactor& reactor_;
  std::shared_ptr<const Options> options_;
  ConnectorListener& listener_;
  std::vector<std::size_t> order_;
  std::size_t host_ = 0, address_ = 0;  // positions in order_ and addresses_
  std::vector<Address> addresses_;
  std::shared_ptr<Lookup> lookup_;
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

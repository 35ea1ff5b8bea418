#pragma once
// Connector: from a name to a connected socket, after RFC 8305 (happy eyeballs).
//   The name is resolved off the loop, the families of its addresses take turns, and every `attempt_delay`, or as
//   soon as one has failed, the next attempt starts beside those that still wait. The first that connects wins;
//   the others are closed. Cost     a descriptor per attempt under way; idle: this object Threads  the reactor's
//   Ownership  the caller's; destroying it, or cancel(), gives up silently and closes everything
//   Errors   one text that lists every attempt with its reason
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <fasterapi/core/export.hpp>
#include <fasterapi/core/reactor.hpp>
#include <fasterapi/core/resolver.hpp>

namespace fasterapi::core {

struct ConnectOptions {
  std::string host;  // a name or an address in numbers
  std::uint16_t port = 0;
  std::string unix_path;     // instead of host and port; "@name" for Linux's abstract sockets
  int family = 0;            // AF_INET or AF_INET6 only; 0: whatever there is
  std::string bind_address;  // local address in numbers; addresses of the other family then fail
  std::uint16_t bind_port = 0;
  Nanos attempt_delay = 250'000'000;  // RFC 8305 section 5
  Nanos timeout = 0;                  // of all of it, resolution included; 0: as long as the system tries
};

struct ConnectAttempt {
  SocketAddress address;
  int error = 0;  // errno; EINPROGRESS: no answer when time was up
};

struct ConnectFailure {
  int error =
      0;  // errno of the last attempt; ETIMEDOUT when time was up; EHOSTUNREACH for names without an address
  std::string text;
  std::vector<ConnectAttempt> attempts;
};

class Connector;

class ConnectorListener {
 public:
  /// The descriptor is non-blocking and close-on-exec, and the listener's from now on (Stream::adopt).
  virtual void on_connect(Connector& connector, int fd, const SocketAddress& address) noexcept = 0;
  virtual void on_connect_failed(Connector& connector, const ConnectFailure& failure) noexcept = 0;

 protected:
  ~ConnectorListener() = default;
};

class FASTERAPI_CORE_API Connector {
 public:
  Connector(Reactor& reactor, ConnectorListener& listener, Resolver& resolver = Resolver::shared());
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  /// Starts; one of the listener's methods follows, never from within. The connector may be destroyed there, or
  /// started again. A connector that is at work is cancelled first.
  void connect(ConnectOptions options);
  /// The same to known addresses, in the order given.
  void connect(std::vector<SocketAddress> addresses, ConnectOptions options = {});
  void cancel() noexcept;
  bool active() const noexcept { return active_; }
  /// How the attempts stand; within on_connect() also those that failed before the winner.
  const std::vector<ConnectAttempt>& attempts() const noexcept { return failure_.attempts; }

 private:
  class Attempt;
  void begin(std::vector<SocketAddress> addresses);
  void start_next() noexcept;
  int open(const SocketAddress& address, int& fd) noexcept;
  void attempt_ready(Attempt& attempt) noexcept;
  void fail(int error, std::string text) noexcept;
  void fail_all(int error) noexcept;
  void report() noexcept;

  Reactor& reactor_;
  ConnectorListener& listener_;
  Resolver& resolver_;
  ConnectOptions options_;
  std::vector<SocketAddress> addresses_;
  std::size_t next_ = 0;
  std::vector<std::unique_ptr<Attempt>> attempts_;
  Resolver::Query query_;
  ConnectFailure failure_;
  int won_ = -1;
  SocketAddress won_address_;
  Timer delay_;
  Timer deadline_;
  Deferred report_;
  bool active_ = false, failed_ = false;
};

/// Families in turns, beginning with that of the first address (RFC 8305 section 4); their own orders stay.
FASTERAPI_CORE_API std::vector<SocketAddress> interleave_families(const std::vector<SocketAddress>& addresses);

}  // namespace fasterapi::core

#pragma once
// Names to addresses, off the loop: getaddrinfo on a few threads that hold no GIL.
//   Cost     numeric addresses and cached names are answered at once, without a thread. The threads are started
//   when
//            there is work and end after 10 s without; equal questions that are under way share one answer
//   Threads  resolve() and forget() from any; an answer arrives on the thread of the reactor that asked
//   Limits   `threads` lookups at a time, `max_waiting` more in the queue; what does not fit is an error
//   Ownership  a Query is the wish for an answer: destroying it gives up, and nothing arrives afterwards. It
//   belongs to
//            the reactor's thread and must go before the reactor. The resolver may go before its queries: they
//            then get no answer but their timeout
//   Errors   a text that names the host and gives getaddrinfo's reason
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fasterapi/core/export.hpp>
#include <fasterapi/core/reactor.hpp>

struct sockaddr;

namespace fasterapi::core {

/// Where to connect to: an IP address with its port, or the path of a UNIX socket.
struct FASTERAPI_CORE_API SocketAddress {
  alignas(8) std::array<unsigned char, 128> bytes{};
  unsigned size = 0;  // of the part that counts; 0: none

  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(bytes.data()); }
  sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(bytes.data()); }
  int family() const noexcept;
  void set_port(std::uint16_t port) noexcept;
  /// "127.0.0.1:80", "[::1]:80", "/run/socket", "@abstract".
  std::string text() const;
  std::string host() const;  // without the port
  bool operator==(const SocketAddress& other) const noexcept;

  /// An address in numbers, zone included ("fe80::1%eth0"); none when `host` is a name.
  static std::optional<SocketAddress> numeric(std::string_view host, std::uint16_t port);
  /// A UNIX socket; a leading '@' means Linux's abstract names. None when the path is too long.
  static std::optional<SocketAddress> unix_path(std::string_view path);
};

/// What became of a question; `error` is empty on success.
struct Resolution {
  std::vector<SocketAddress> addresses;  // in getaddrinfo's order (RFC 6724)
  std::string error;
  int code = 0;  // EAI_…; 0 for what is not getaddrinfo's
  bool timed_out = false;
};

struct ResolverOptions {
  unsigned threads = 4;
  std::size_t max_waiting = 256;
  Nanos ttl = 5'000'000'000;  // how long an answer is used again; getaddrinfo tells no TTL. 0: never
  std::size_t max_cached = 256;
  /// Asked instead of getaddrinfo, on a thread of the pool; for tests. The port of the addresses is replaced.
  std::function<Resolution(const std::string& host, int family)> lookup;
};

struct ResolverStats {
  std::uint64_t lookups = 0;    // getaddrinfo calls
  std::uint64_t coalesced = 0;  // questions that joined one under way
  std::uint64_t cached = 0;     // answered from the cache
  std::size_t threads = 0;
  std::size_t waiting = 0;
};

class FASTERAPI_CORE_API Resolver {
 public:
  using Done = std::function<void(Resolution)>;  // must not throw

  explicit Resolver(ResolverOptions options = {});
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  /// The one that a process shares; also in the child of a fork, which gets a fresh one.
  static Resolver& shared();

  class FASTERAPI_CORE_API Query {
   public:
    Query() noexcept = default;
    ~Query() { cancel(); }
    Query(Query&&) noexcept = default;
    Query& operator=(Query&& other) noexcept {
      if (this != &other) {
        cancel();
        waiter_ = std::move(other.waiter_);
      }
      return *this;
    }
    void cancel() noexcept;
    bool pending() const noexcept;

   private:
    friend class Resolver;
    struct Waiter;
    std::shared_ptr<Waiter> waiter_;
  };

  /// The answer, when no thread is needed for it: numbers, and what the cache has. `family` is AF_INET, AF_INET6
  /// or 0.
  std::optional<Resolution> resolve_now(std::string_view host, std::uint16_t port, int family = 0);
  /// Asks; `done` is called later, never from within. `timeout` 0 waits as long as getaddrinfo does.
  [[nodiscard]] Query resolve(Reactor& reactor, std::string_view host, std::uint16_t port, Done done,
                              Nanos timeout = 0, int family = 0);
  /// Drops a name from the cache: its addresses turned out to be of no use.
  void forget(std::string_view host) noexcept;
  ResolverStats stats() const;

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace fasterapi::core

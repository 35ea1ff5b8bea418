#pragma once
// IP addresses and the networks that an operator trusts.
//   Cost     a look-up is a pass over the networks, there are few; no allocation
//   Threads  immutable after add(); any thread
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

struct sockaddr_storage;

namespace fasterapi::http {

/// An IPv4 address is its mapped IPv6 form (::ffff:a.b.c.d), so that one comparison serves both.
struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};
  bool v4() const noexcept;
  std::string text() const;
  bool operator==(const IpAddress&) const = default;
};

/// Only complete literals ("192.0.2.1", "2001:db8::1"); no names, no zone, no brackets.
bool parse_ip(std::string_view text, IpAddress& out) noexcept;
/// "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80"; port 0 when there is none.
bool parse_ip_and_port(std::string_view text, IpAddress& out, int& port) noexcept;
/// False for other families than IPv4 and IPv6.
bool ip_of(const sockaddr_storage& address, IpAddress& out, int& port) noexcept;

class Networks {
 public:
  /// "192.0.2.1", "10.0.0.0/8", "fd00::/8", or "*" for everybody and UNIX sockets too. Anything else is false.
  bool add(std::string_view text);
  bool empty() const noexcept { return !all_ && networks_.empty(); }
  bool all() const noexcept { return all_; }
  bool contains(const IpAddress& address) const noexcept;

 private:
  struct Network {
    IpAddress base;
    unsigned bits;
  };
  std::vector<Network> networks_;
  bool all_ = false;
};

}  // namespace fasterapi::http

#include "networks.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <charconv>
#include <cstring>

namespace fasterapi::http {
namespace {

constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool number(std::string_view text, unsigned limit, unsigned& out) noexcept {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return !text.empty() && error == std::errc{} && end == text.data() + text.size() && out <= limit;
}

}  // namespace

bool IpAddress::v4() const noexcept { return std::memcmp(bytes.data(), kMapped.data(), kMapped.size()) == 0; }

std::string IpAddress::text() const {
  char buffer[INET6_ADDRSTRLEN] = {};
  if (v4())
    ::inet_ntop(AF_INET, bytes.data() + 12, buffer, sizeof buffer);
  else
    ::inet_ntop(AF_INET6, bytes.data(), buffer, sizeof buffer);
  return buffer;
}

bool parse_ip(std::string_view text, IpAddress& out) noexcept {
  char buffer[INET6_ADDRSTRLEN];
  if (text.empty() || text.size() >= sizeof buffer) return false;
  std::memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = 0;
  if (std::strlen(buffer) != text.size()) return false;
  if (text.find(':') != text.npos) return ::inet_pton(AF_INET6, buffer, out.bytes.data()) == 1;
  std::memcpy(out.bytes.data(), kMapped.data(), kMapped.size());
  return ::inet_pton(AF_INET, buffer, out.bytes.data() + 12) == 1;
}

bool parse_ip_and_port(std::string_view text, IpAddress& out, int& port) noexcept {
  port = 0;
  unsigned value = 0;
  if (!text.empty() && text.front() == '[') {
    std::size_t end = text.find(']');
    if (end == text.npos) return false;
    std::string_view rest = text.substr(end + 1);
    if (!rest.empty()) {
      if (rest.front() != ':' || !number(rest.substr(1), 65535, value)) return false;
      port = static_cast<int>(value);
    }
    std::string_view inner = text.substr(1, end - 1);
    return inner.find(':') != inner.npos && parse_ip(inner, out);
  }
  std::size_t colon = text.find(':');
  if (colon != text.npos && text.find(':', colon + 1) == text.npos) {  // one colon: IPv4 with a port
    if (!number(text.substr(colon + 1), 65535, value)) return false;
    port = static_cast<int>(value);
    text = text.substr(0, colon);
  }
  return parse_ip(text, out);
}

bool ip_of(const sockaddr_storage& address, IpAddress& out, int& port) noexcept {
  if (address.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(address);
    std::memcpy(out.bytes.data(), kMapped.data(), kMapped.size());
    std::memcpy(out.bytes.data() + 12, &in.sin_addr, 4);
    port = ntohs(in.sin_port);
    return true;
  }
  if (address.ss_family == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(address);
    std::memcpy(out.bytes.data(), &in.sin6_addr, 16);
    port = ntohs(in.sin6_port);
    return true;
  }
  return false;
}

bool Networks::add(std::string_view text) {
  if (text == "*") {
    all_ = true;
    return true;
  }
  Network network{};
  std::size_t slash = text.find('/');
  if (!parse_ip(text.substr(0, slash), network.base)) return false;
  bool v4 = text.find(':') == text.npos;
  network.bits = 128;
  if (slash != text.npos) {
    unsigned bits = 0;
    if (!number(text.substr(slash + 1), v4 ? 32 : 128, bits)) return false;
    network.bits = v4 ? bits + 96 : bits;
  }
  networks_.push_back(network);
  return true;
}

bool Networks::contains(const IpAddress& address) const noexcept {
  if (all_) return true;
  for (const Network& network : networks_) {
    unsigned whole = network.bits / 8, rest = network.bits % 8;
    if (std::memcmp(network.base.bytes.data(), address.bytes.data(), whole) != 0) continue;
    if (rest == 0) return true;
    auto mask = static_cast<std::uint8_t>(0xff << (8 - rest));
    if ((network.base.bytes[whole] & mask) == (address.bytes[whole] & mask)) return true;
  }
  return false;
}

}  // namespace fasterapi::http

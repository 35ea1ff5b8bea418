#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include <fasterapi/core/resolver.hpp>

namespace fasterapi::core {

static_assert(sizeof(sockaddr_storage) <= sizeof(SocketAddress::bytes));

int SocketAddress::family() const noexcept { return size ? get()->sa_family : AF_UNSPEC; }

void SocketAddress::set_port(std::uint16_t port) noexcept {
  if (family() == AF_INET) reinterpret_cast<sockaddr_in*>(get())->sin_port = htons(port);
  if (family() == AF_INET6) reinterpret_cast<sockaddr_in6*>(get())->sin6_port = htons(port);
}

std::string SocketAddress::host() const {
  if (family() == AF_UNIX) return text();
  char host[NI_MAXHOST] = "";
  ::getnameinfo(get(), size, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  return host;
}

std::string SocketAddress::text() const {
  if (family() == AF_UNIX) {
    const auto* un = reinterpret_cast<const sockaddr_un*>(bytes.data());
    const std::size_t length = size - offsetof(sockaddr_un, sun_path);
    if (length == 0) return "unnamed socket";
    if (un->sun_path[0] == '\0') return '@' + std::string(un->sun_path + 1, length - 1);
    return std::string(un->sun_path, ::strnlen(un->sun_path, length));
  }
  if (family() == AF_INET) {
    return host() + ':' + std::to_string(ntohs(reinterpret_cast<const sockaddr_in*>(bytes.data())->sin_port));
  }
  if (family() == AF_INET6) {
    const auto port = ntohs(reinterpret_cast<const sockaddr_in6*>(bytes.data())->sin6_port);
    return '[' + host() + "]:" + std::to_string(port);
  }
  return "no address";
}

bool SocketAddress::operator==(const SocketAddress& other) const noexcept {
  return size == other.size && std::memcmp(bytes.data(), other.bytes.data(), size) == 0;
}

std::optional<SocketAddress> SocketAddress::numeric(std::string_view host, std::uint16_t port) {
  // Names have letters beyond f and no colon: most of them need no system call to be told from numbers.
  if (host.empty() || host.size() >= NI_MAXHOST || host.find('\0') != host.npos) return std::nullopt;
  if (host.find(':') == host.npos && host.find_first_not_of("0123456789.xXabcdefABCDEF") != host.npos) {
    return std::nullopt;
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  if (::getaddrinfo(std::string(host).c_str(), nullptr, &hints, &list) != 0) return std::nullopt;
  SocketAddress address;
  address.size = list->ai_addrlen;
  std::memcpy(address.bytes.data(), list->ai_addr, list->ai_addrlen);
  ::freeaddrinfo(list);
  address.set_port(port);
  return address;
}

std::optional<SocketAddress> SocketAddress::unix_path(std::string_view path) {
  SocketAddress address;
  auto* un = reinterpret_cast<sockaddr_un*>(address.bytes.data());
  if (path.empty() || path.size() >= sizeof un->sun_path || path.find('\0') != path.npos) return std::nullopt;
  un->sun_family = AF_UNIX;
  std::memcpy(un->sun_path, path.data(), path.size());
  const bool abstract = path[0] == '@';  // a leading NUL and no terminator
  if (abstract) un->sun_path[0] = '\0';
  address.size = static_cast<unsigned>(offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1));
  return address;
}

}  // namespace fasterapi::core

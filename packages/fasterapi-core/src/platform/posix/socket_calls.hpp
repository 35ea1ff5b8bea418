#pragma once
// Socket calls where accept4, SOCK_NONBLOCK and MSG_NOSIGNAL exist: Linux, FreeBSD.
#include <platform/posix_socket.hpp>

namespace fasterapi::core::net {

inline int open_stream(int family) noexcept {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return fd >= 0 ? fd : -errno;
}
inline int accept(int fd) noexcept {
  return static_cast<int>(retried([=] { return ::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); }));
}
inline Length send(const int& fd, const char* data, std::size_t size) noexcept {
  return send_flags<MSG_NOSIGNAL>(fd, data, size);
}
inline Length send(const int& fd, std::string_view head, std::string_view body) noexcept {
  return send_flags<MSG_NOSIGNAL>(fd, head, body);
}

}  // namespace fasterapi::core::net

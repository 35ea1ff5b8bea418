#pragma once
// Socket calls of macOS: flags are set after the descriptor was made, SIGPIPE is switched off per socket.
#include <fcntl.h>

#include <platform/posix_socket.hpp>

namespace fasterapi::core::net {

inline int prepared(int fd) noexcept {  // closes what cannot be prepared
  int on = 1;
  if (::fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
      ::setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on) == 0) {
    return fd;
  }
  const int error = errno;
  ::close(fd);
  return -error;
}
inline int open_stream(int family) noexcept {
  const int fd = ::socket(family, SOCK_STREAM, 0);
  return fd >= 0 ? prepared(fd) : -errno;
}
inline int accept(int fd) noexcept {
  const auto accepted = static_cast<int>(retried([=] { return ::accept(fd, nullptr, nullptr); }));
  return accepted >= 0 ? prepared(accepted) : accepted;
}
inline Length send(const int& fd, const char* data, std::size_t size) noexcept {
  return send_flags<0>(fd, data, size);
}
inline Length send(const int& fd, std::string_view head, std::string_view body) noexcept {
  return send_flags<0>(fd, head, body);
}

}  // namespace fasterapi::core::net

#pragma once
// What the socket calls of all POSIX systems share. Every function returns 0 or more, or -errno; a call that a
// signal interrupted is made again.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string_view>

namespace fasterapi::core::net {

using Length = std::ptrdiff_t;

template <class Call>
inline Length retried(Call call) noexcept {
  for (;;) {
    const auto result = call();
    if (__builtin_expect(result >= 0, 1)) return static_cast<Length>(result);
    if (errno != EINTR) return -errno;
  }
}

inline bool would_block(Length result) noexcept { return result == -EAGAIN || result == -EWOULDBLOCK; }

// Those of every request take the descriptor by reference: it is read again for another try, instead of being kept
// in one more register across the call.
inline Length recv(const int& fd, char* data, std::size_t size) noexcept {
  return retried([&] { return ::recv(fd, data, size, 0); });
}

inline int connect(int fd, const sockaddr* address, unsigned length) noexcept {
  return ::connect(fd, address, length) == 0 ? 0 : -errno;
}
/// The error that waits at the socket, 0 for none; it is taken from there.
inline int take_error(int fd) noexcept {
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}
inline void set_no_delay(int fd) noexcept {
  int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // refused by UNIX sockets, which need none
}
inline void shutdown_write(int fd) noexcept { ::shutdown(fd, SHUT_WR); }
inline void close(int fd) noexcept { ::close(fd); }

template <int kFlags>
inline Length send_flags(const int& fd, const char* data, std::size_t size) noexcept {
  return retried([&] { return ::send(fd, data, size, kFlags); });
}
template <int kFlags>
inline Length send_flags(const int& fd, std::string_view head, std::string_view body) noexcept {
  iovec parts[2] = {{const_cast<char*>(head.data()), head.size()}, {const_cast<char*>(body.data()), body.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  return retried([&] { return ::sendmsg(fd, &message, kFlags); });
}

}  // namespace fasterapi::core::net

#pragma once
#include <winsock2.h>

namespace fasterapi::core::test {

inline SOCKET native(int fd) { return static_cast<SOCKET>(fd); }
inline bool poll_for(int fd, short events, int timeout_ms) {
  WSAPOLLFD item{native(fd), events, 0};
  return ::WSAPoll(&item, 1, timeout_ms) == 1;
}
inline bool wait_readable(int fd, int timeout_ms = 1000) { return poll_for(fd, POLLRDNORM, timeout_ms); }
inline bool wait_writable(int fd, int timeout_ms = 1000) { return poll_for(fd, POLLWRNORM, timeout_ms); }
inline bool reuse_number(int, int) { return false; }  // nobody chooses the value of a handle
inline bool nonblocking(int fd) {                     // there is no way to ask: a receive that returns says it
  char byte;
  return ::recv(native(fd), &byte, 1, MSG_PEEK) == SOCKET_ERROR && ::WSAGetLastError() == WSAEWOULDBLOCK;
}
inline bool is_open(int fd) {
  int type = 0, size = sizeof type;
  return ::getsockopt(native(fd), SOL_SOCKET, SO_TYPE, reinterpret_cast<char*>(&type), &size) == 0;
}

}  // namespace fasterapi::core::test

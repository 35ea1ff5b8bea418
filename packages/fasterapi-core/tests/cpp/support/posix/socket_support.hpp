#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace fasterapi::core::test {

inline int native(int fd) { return fd; }
inline bool poll_for(int fd, short events, int timeout_ms) {
  pollfd item{fd, events, 0};
  return ::poll(&item, 1, timeout_ms) == 1;
}
inline bool wait_readable(int fd, int timeout_ms = 1000) { return poll_for(fd, POLLIN, timeout_ms); }
inline bool wait_writable(int fd, int timeout_ms = 1000) { return poll_for(fd, POLLOUT, timeout_ms); }
/// Opens another socket under the number of a closed one.
inline bool reuse_number(int number, int other) { return ::dup2(other, number) == number; }
inline bool nonblocking(int fd) { return ::fcntl(fd, F_GETFL) & O_NONBLOCK; }
inline bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

}  // namespace fasterapi::core::test

#pragma once
// Loopback sockets for tests, the same on every platform. What differs is in POSIX's and Windows's
// socket_support.hpp beside this file.
#include <gtest/gtest.h>

#include <string_view>
#include <tuple>
#include <utility>

#include "socket_calls.hpp"
#include "socket_support.hpp"

namespace fasterapi::core::test {

/// A listening TCP socket on a free port of the loopback interface.
inline int listen(sockaddr_in& address) {
  const int fd = net::open_stream(AF_INET);
  address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(native(fd), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::listen(native(fd), 64), 0);
  ::getsockname(native(fd), reinterpret_cast<sockaddr*>(&address), &size);
  return fd;
}

inline void set_option(int fd, int option, int value) {
  ::setsockopt(native(fd), SOL_SOCKET, option, reinterpret_cast<const char*>(&value), sizeof value);
}

/// Closes with a reset instead of an orderly end.
inline void reset(int fd) {
  linger hard{};
  hard.l_onoff = 1;
  ::setsockopt(native(fd), SOL_SOCKET, SO_LINGER, reinterpret_cast<const char*>(&hard), sizeof hard);
  net::close(fd);
}

/// A connected client; the listener's backlog takes it.
inline int connect_to(const sockaddr_in& address, int send_buffer = 0) {
  const int fd = net::open_stream(AF_INET);
  if (send_buffer) set_option(fd, SO_SNDBUF, send_buffer);
  const int error = net::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  if (error == -EINPROGRESS) {
    EXPECT_TRUE(wait_writable(fd));
    EXPECT_EQ(net::take_error(fd), 0);
  } else {
    EXPECT_EQ(error, 0);
  }
  return fd;
}

/// Both ends of a connection, non-blocking.
inline std::pair<int, int> tcp_pair(int buffer = 0) {
  sockaddr_in address;
  const int listening = listen(address);
  if (buffer) set_option(listening, SO_RCVBUF, buffer);
  const int one = connect_to(address, buffer);
  wait_readable(listening);
  const int two = net::accept(listening);
  EXPECT_GE(two, 0);
  net::close(listening);
  return {one, two};
}

/// A connection that the test uses directly.
struct Pair {
  Pair() {
    std::tie(ends[0], ends[1]) = tcp_pair();
    net::set_no_delay(ends[1]);
  }
  ~Pair() {
    for (int i : {0, 1}) close(i);
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  void close(int i) {
    if (ends[i] >= 0) net::close(std::exchange(ends[i], -1));
  }
  void send(int i, std::string_view bytes = "x") {
    EXPECT_EQ(net::send(ends[i], bytes.data(), bytes.size()), static_cast<net::Length>(bytes.size()));
    settle(ends[1 - i]);
  }
  int take(int i) {  // one byte, or -1
    char byte;
    return net::recv(ends[i], &byte, 1) == 1 ? byte : -1;
  }
  /// What is sent over loopback arrives on its own time.
  static void settle(int fd) {
    if (fd >= 0) wait_readable(fd);
  }
  int ends[2];
};

}  // namespace fasterapi::core::test

#pragma once
// What the stream tests share: loopback sockets, a handler that records, and a loop with a patience limit.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fasterapi/core/reactor.hpp>
#include <fasterapi/core/stream.hpp>

namespace fasterapi::core::test {

constexpr Nanos kMs = 1'000'000;

/// Records what happens to its stream; the hooks run first.
struct Recorder final : StreamHandler {
  explicit Recorder(Reactor& reactor) : stream(std::make_unique<Stream>(reactor, *this)) {}
  void on_connected() noexcept override {
    ++connected;
    if (connected_hook) connected_hook();
  }
  void on_data(char* data, std::size_t size) noexcept override {
    EXPECT_FALSE(closed) << "data after on_closed";
    received.append(data, size);
    if (data_hook) data_hook(std::string_view(data, size));
  }
  void on_eof() noexcept override {
    ++eof;
    if (eof_hook) eof_hook();
  }
  void on_drained() noexcept override {
    ++drained;
    if (drained_hook) drained_hook();
  }
  void on_closed(int error) noexcept override {
    EXPECT_FALSE(closed) << "on_closed twice";
    closed = error;
    closed_text = stream->error_text(error);
    if (closed_hook) closed_hook();
  }

  std::unique_ptr<Stream> stream;
  std::string received, closed_text;
  int connected = 0, eof = 0, drained = 0;
  std::optional<int> closed;
  std::function<void()> connected_hook, eof_hook, drained_hook, closed_hook;
  std::function<void(std::string_view)> data_hook;
};

class StreamTest : public testing::Test {
 protected:
  /// Turns the reactor until `done`; false after five seconds.
  bool run(const std::function<bool()>& done) {
    const Nanos end = monotonic_now() + 5000 * kMs;
    while (!done()) {
      if (monotonic_now() > end) return false;
      reactor.turn(20 * kMs);
    }
    return true;
  }
  void idle(int turns = 5) {
    for (int i = 0; i < turns; ++i) reactor.turn(0);
  }

  /// A listening TCP socket on a free port of the loopback interface.
  static int listen(sockaddr_in& address) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(fd, 64), 0);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    return fd;
  }
  /// A connected TCP pair, both ends non-blocking.
  static std::pair<int, int> tcp_pair(int buffer = 0) {
    sockaddr_in address;
    const int listening = listen(address);
    const int one = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (buffer) {
      ::setsockopt(one, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
      ::setsockopt(listening, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    }
    EXPECT_EQ(::connect(one, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::fcntl(one, F_SETFL, O_NONBLOCK);
    const int flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
    const int two = ::accept4(listening, nullptr, nullptr, flags);  // NOLINT: the connection is already queued
    EXPECT_GE(two, 0) << errno;
    ::close(listening);
    return {one, two};
  }
  /// Both ends as recorders.
  void make_pair(int buffer = 0) {
    auto [one, two] = tcp_pair(buffer);
    ASSERT_EQ(a.stream->adopt(one), 0);
    ASSERT_EQ(b.stream->adopt(two), 0);
  }
  /// One recorder; the other end is a plain descriptor for the test to misuse.
  int make_half() {
    auto [one, two] = tcp_pair();
    EXPECT_EQ(a.stream->adopt(one), 0);
    return two;
  }
  static void reset(int fd) {  // closes with RST
    linger hard{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    ::close(fd);
  }
  static std::string pattern(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 131 + i / 257);
    return text;
  }

  Reactor reactor;
  Recorder a{reactor}, b{reactor};
};

}  // namespace fasterapi::core::test

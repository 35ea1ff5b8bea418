#pragma once
// What the stream tests share: loopback sockets, a handler that records, and a loop with a patience limit.
#include <gtest/gtest.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fasterapi/core/reactor.hpp>
#include <fasterapi/core/stream.hpp>

#include "../reactor/backends_under_test.hpp"
#include "../reactor/handlers.hpp"
#include "../support/sockets.hpp"

namespace fasterapi::core::test {

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

/// The default backend (FASTERAPI_REACTOR in the environment chooses).
class DefaultBackend : public testing::Test {
 protected:
  std::unique_ptr<Backend> backend() const { return make_backend(); }
};
class EachBackend : public testing::TestWithParam<BackendUnderTest> {
 protected:
  std::unique_ptr<Backend> backend() const { return GetParam()(); }
};

template <class Base>
class StreamFixture : public Base {
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
  static std::string pattern(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 131 + i / 257);
    return text;
  }

  Reactor reactor{this->backend()};
  Recorder a{reactor}, b{reactor};
};

using StreamTest = StreamFixture<DefaultBackend>;
using StreamBehaviour = StreamFixture<EachBackend>;

}  // namespace fasterapi::core::test

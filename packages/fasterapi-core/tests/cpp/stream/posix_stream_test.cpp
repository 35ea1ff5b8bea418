// Streams and listeners where it takes a POSIX system to show it: UNIX sockets, limits of descriptors.
#include <fasterapi/core/stream.hpp>

#include <sys/resource.h>
#include <sys/un.h>

#include "listening.hpp"

namespace fasterapi::core::test {
namespace {

class Posix : public Listening {};
INSTANTIATE_TEST_SUITE_P(Backends, Posix, testing::ValuesIn(backends_under_test()), label_of);

TEST_P(Posix, connects_to_unix_sockets) {
  const std::string path = "/tmp/fasterapi-test-" + std::to_string(::getpid()) + ".sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ::unlink(path.c_str());
  ASSERT_NE(a.stream->connect(reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const int listening = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::bind(listening, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listening, 8), 0);
  ASSERT_EQ(a.stream->connect(reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(b.stream->adopt(::accept4(listening, nullptr, nullptr, SOCK_NONBLOCK)), 0);
  a.stream->write("hello");
  ASSERT_TRUE(run([&] { return b.received == "hello" && a.connected == 1; }));
  ::close(listening);
  ::unlink(path.c_str());
}

TEST_P(Posix, pauses_when_descriptors_are_used_up_and_goes_on_later) {
  ASSERT_EQ(listener.start(), 0);
  connect(2);
  rlimit limit;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const int next = ::dup(0);
  ::close(next);
  rlimit tight = limit;
  tight.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  int dispatched = 0;
  for (int i = 0; i < 20; ++i) dispatched += reactor.turn(kMs);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_TRUE(accepted.empty());
  EXPECT_LE(dispatched, 3) << "spins while there are no descriptors";
  ASSERT_TRUE(run([&] { return accepted.size() == 2; }));
}

// A process that stops listening leaves to the others what it has not answered yet: nobody is reset.
TEST_P(Posix, a_stopped_listener_leaves_in_the_backlog_what_it_did_not_hand_over) {
  struct Stopper final : IoHandler {
    explicit Stopper(Listener& stopped) : listener(stopped) {}
    void on_io(unsigned) noexcept override { listener.stop(); }
    Listener& listener;
  } stopper(listener);
  Pair pair;
  ASSERT_EQ(listener.start(), 0);
  ASSERT_EQ(reactor.add(pair.ends[0], kReadable, &stopper), 0);
  reactor.turn(0);
  pair.send(1);
  connect(3);
  reactor.turn(0);  // learns of both at once
  reactor.remove(pair.ends[0]);
  listener.stop();
  int left = 0;
  for (int taken; (taken = net::accept(fd)) >= 0; ++left) net::close(taken);
  EXPECT_EQ(static_cast<std::size_t>(left) + accepted.size(), 3u);
}

}  // namespace
}  // namespace fasterapi::core::test

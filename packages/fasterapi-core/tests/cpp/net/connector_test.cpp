#include <fasterapi/core/connector.hpp>

#include <dirent.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstring>
#include <functional>
#include <optional>
#include <vector>

#include "../stream/stream_harness.hpp"

namespace fasterapi::core::test {
namespace {

class Connecting : public StreamTest, public ConnectorListener {
 protected:
  Connecting() {
    ResolverOptions options;
    options.ttl = 10'000 * kMs;
    options.lookup = [this](const std::string&, int) {
      ++lookups;
      Resolution result;
      result.addresses = answer;
      if (answer.empty()) result.error = "Name or service not known";
      return result;
    };
    resolver = std::make_unique<Resolver>(options);
    connector = std::make_unique<Connector>(reactor, *this, *resolver);
  }
  ~Connecting() override {
    for (int fd : owned) ::close(fd);
    if (fd >= 0) ::close(fd);
  }
  void on_connect(Connector&, int got, const SocketAddress& at) noexcept override {
    if (fd >= 0) ::close(fd);
    fd = got;
    address = at;
    ++done;
    if (hook) hook();
  }
  void on_connect_failed(Connector&, const ConnectFailure& why) noexcept override {
    failure = why;
    ++done;
    if (hook) hook();
  }
  ConnectFailure fail(ConnectOptions options) {
    done = 0;
    connector->connect(std::move(options));
    EXPECT_TRUE(run([&] { return done > 0; }));
    EXPECT_LT(fd, 0) << "connected";
    return failure;
  }
  bool succeed(ConnectOptions options) {
    done = 0;
    connector->connect(std::move(options));
    EXPECT_TRUE(run([&] { return done > 0; }));
    return fd >= 0 || (ADD_FAILURE() << failure.text, false);
  }

  static std::uint16_t port_of(int socket) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                               : reinterpret_cast<sockaddr_in&>(address).sin_port);
  }
  int listen_on(const char* host, int backlog = 64) {
    SocketAddress at = *SocketAddress::numeric(host, 0);
    const int socket = ::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    owned.push_back(socket);
    if (::bind(socket, at.get(), at.size) != 0 || ::listen(socket, backlog) != 0) return -1;
    return socket;
  }
  static SocketAddress at(const char* host, std::uint16_t port) { return *SocketAddress::numeric(host, port); }
  SocketAddress good(const char* host = "127.0.0.1") { return at(host, port_of(listen_on(host))); }
  // A port on which nobody listens.
  SocketAddress refused(const char* host = "127.0.0.1") {
    SocketAddress any = at(host, 0);
    const int socket = ::socket(any.family(), SOCK_STREAM, 0);
    ::bind(socket, any.get(), any.size);  // kept bound, so that nobody else listens there
    owned.push_back(socket);
    return at(host, port_of(socket));
  }
  // A listening socket whose backlog is full: the system drops what asks to connect, and nobody answers.
  SocketAddress black_hole(const char* host = "127.0.0.1") {
    const int socket = listen_on(host, 0);
    const SocketAddress address = at(host, port_of(socket));
    for (int i = 0; i < 4; ++i) {
      const int filler = ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      ::connect(filler, address.get(), address.size);
      owned.push_back(filler);
    }
    return address;
  }
  static int descriptors() {
    int count = 0;
    DIR* directory = ::opendir("/proc/self/fd");
    while (::readdir(directory)) ++count;
    ::closedir(directory);
    return count;
  }

  std::vector<int> owned;
  std::vector<SocketAddress> answer;
  std::atomic<int> lookups{0};
  std::unique_ptr<Resolver> resolver;
  std::unique_ptr<Connector> connector;
  std::function<void()> hook;
  int fd = -1, done = 0;
  SocketAddress address;
  ConnectFailure failure;
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(Connecting, connects_to_an_address_in_numbers) {
  const int listening = listen_on("127.0.0.1");
  ASSERT_TRUE(succeed({.host = "127.0.0.1", .port = port_of(listening)}));
  EXPECT_EQ(address.text(), "127.0.0.1:" + std::to_string(port_of(listening)));
  EXPECT_TRUE(::fcntl(fd, F_GETFL) & O_NONBLOCK);
  EXPECT_TRUE(::fcntl(fd, F_GETFD) & FD_CLOEXEC);
  EXPECT_EQ(lookups, 0);
  EXPECT_FALSE(connector->active());
  // What it hands out is a working socket.
  Recorder client{reactor};
  ASSERT_EQ(client.stream->adopt(std::exchange(fd, -1)), 0);
  client.stream->write("hello");
  int accepted = -1;
  ASSERT_TRUE(run([&] { return (accepted = ::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC)) >= 0; }));
  char text[8] = {};
  EXPECT_EQ(::recv(accepted, text, sizeof text, 0), 5);
  ::close(accepted);
}

TEST_F(Connecting, resolves_names) {
  answer = {good()};
  const std::uint16_t port = port_of(owned.back());
  ASSERT_TRUE(succeed({.host = "service.example", .port = port}));
  ASSERT_TRUE(succeed({.host = "service.example", .port = port}));
  EXPECT_EQ(lookups, 1) << "not from the cache";
}

TEST_F(Connecting, a_name_that_is_not_known_is_an_error) {
  const ConnectFailure why = fail({.host = "nowhere.example", .port = 1});
  EXPECT_EQ(why.text, "cannot resolve \"nowhere.example\": Name or service not known");
  EXPECT_EQ(why.error, EHOSTUNREACH);
  EXPECT_TRUE(why.attempts.empty());
}

TEST_F(Connecting, goes_on_at_once_when_an_attempt_fails) {
  answer = {refused(), refused(), good()};
  const Nanos start = monotonic_now();
  connector->connect(answer, {.attempt_delay = 3000 * kMs});
  ASSERT_TRUE(run([&] { return done > 0; }));
  EXPECT_GE(fd, 0) << failure.text;
  EXPECT_LT(monotonic_now() - start, 1500 * kMs);
}

TEST_F(Connecting, does_not_wait_for_an_address_that_does_not_answer) {
  const SocketAddress hole = black_hole(), there = good();
  const Nanos start = monotonic_now();
  connector->connect({hole, there}, {.attempt_delay = 50 * kMs});
  ASSERT_TRUE(run([&] { return done > 0; }));
  EXPECT_GE(fd, 0) << failure.text;
  EXPECT_EQ(address, there);
  EXPECT_GE(monotonic_now() - start, 45 * kMs) << "the first address had no head start";
}

TEST_F(Connecting, the_first_to_answer_wins_and_the_others_are_closed) {
  if (listen_on("::1") < 0) GTEST_SKIP() << "this machine has no IPv6";
  const int before = descriptors();
  const SocketAddress hole = black_hole("::1"), there = good();
  const int sockets = descriptors();
  connector->connect({hole, there}, {.attempt_delay = 20 * kMs});
  ASSERT_TRUE(run([&] { return done > 0; }));
  EXPECT_EQ(address, there);
  EXPECT_EQ(descriptors(), sockets + 1) << "only the winner stays";
  EXPECT_GT(sockets, before);
  idle();
  EXPECT_EQ(done, 1);
}

TEST_F(Connecting, families_take_turns) {
  const auto a1 = at("192.0.2.1", 1), a2 = at("192.0.2.2", 1), a3 = at("192.0.2.3", 1);
  const auto b1 = at("2001:db8::1", 1), b2 = at("2001:db8::2", 1);
  using List = std::vector<SocketAddress>;
  EXPECT_EQ(interleave_families({b1, b2, a1, a2, a3}), (List{b1, a1, b2, a2, a3}));
  EXPECT_EQ(interleave_families({a1, a2, a3, b1}), (List{a1, b1, a2, a3}));
  EXPECT_EQ(interleave_families({a1, a2}), (List{a1, a2}));
  EXPECT_EQ(interleave_families({}), List{});
}

TEST_F(Connecting, the_error_lists_every_attempt) {
  answer = {refused(), refused()};
  const ConnectFailure why = fail({.host = "service.example", .port = port_of(owned.back())});
  EXPECT_EQ(why.error, ECONNREFUSED);
  ASSERT_EQ(why.attempts.size(), 2u);
  EXPECT_EQ(why.attempts[0].error, ECONNREFUSED);
  EXPECT_HAS(why.text, "cannot connect to \"service.example\" port ");
  EXPECT_HAS(why.text, why.attempts[0].address.text() + ": Connection refused; ");
  EXPECT_HAS(why.text, why.attempts[1].address.text() + ": Connection refused");
  // The addresses were of no use: the next try asks again.
  fail({.host = "service.example", .port = port_of(owned.back())});
  EXPECT_EQ(lookups, 2);
}

TEST_F(Connecting, a_deadline_ends_everything) {
  const SocketAddress hole = black_hole(), other = black_hole();
  const int before = descriptors();
  connector->connect({hole, other, good()}, {.attempt_delay = 40 * kMs, .timeout = 60 * kMs});
  const int listener = 1;
  ASSERT_TRUE(run([&] { return done > 0; }));
  EXPECT_LT(fd, 0);
  EXPECT_EQ(failure.error, ETIMEDOUT);
  EXPECT_HAS(failure.text, "within 60 ms");
  EXPECT_HAS(failure.text, hole.text() + ": no answer; " + other.text() + ": no answer; 1 more not tried");
  EXPECT_EQ(descriptors(), before + listener);
}

TEST_F(Connecting, the_deadline_covers_the_resolution) {
  ResolverOptions slow;
  slow.lookup = [](const std::string&, int) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    return Resolution{};
  };
  Resolver sleepy(slow);
  Connector waiting(reactor, *this, sleepy);
  waiting.connect({.host = "a.example", .port = 1, .timeout = 30 * kMs});
  ASSERT_TRUE(run([&] { return done > 0; }));
  EXPECT_EQ(failure.error, ETIMEDOUT);
  EXPECT_HAS(failure.text, "cannot connect to \"a.example\" port 1 within 30 ms: the name is not resolved yet");
  std::this_thread::sleep_for(std::chrono::milliseconds(250));
  idle();
  EXPECT_EQ(done, 1);
}

TEST_F(Connecting, cancelling_closes_everything_and_says_nothing) {
  const SocketAddress hole = black_hole(), other = black_hole();
  const int before = descriptors();
  connector->connect({hole, other}, {.attempt_delay = 1 * kMs});
  for (int i = 0; i < 10; ++i) reactor.turn(2 * kMs);
  EXPECT_EQ(descriptors(), before + 2);
  connector->cancel();
  EXPECT_EQ(descriptors(), before);
  connector->connect({hole}, {});
  connector.reset();
  EXPECT_EQ(descriptors(), before);
  idle();
  EXPECT_EQ(done, 0);
}

TEST_F(Connecting, a_failure_that_is_not_reported_yet_does_not_hit_the_next_try) {
  connector->connect(ConnectOptions{.host = "127.0.0.1", .port = 1, .bind_address = "nonsense"});
  const SocketAddress there = good();
  connector->connect({there}, {});
  ASSERT_TRUE(run([&] { return done > 0; }));
  EXPECT_GE(fd, 0) << failure.text;
  idle();
  EXPECT_EQ(done, 1);
}

TEST_F(Connecting, may_be_destroyed_or_started_again_within_its_answer) {
  const SocketAddress there = good();
  int rounds = 0;
  hook = [&] {
    if (++rounds < 3) return connector->connect({there}, {});
    connector.reset();
  };
  connector->connect({there}, {});
  ASSERT_TRUE(run([&] { return !connector; }));
  EXPECT_EQ(rounds, 3);
  connector = std::make_unique<Connector>(reactor, *this, *resolver);
  hook = [&] { connector.reset(); };
  connector->connect({refused()}, {});
  ASSERT_TRUE(run([&] { return !connector; }));
}

TEST_F(Connecting, connects_to_unix_sockets) {
  const std::string path = "/tmp/fasterapi-connector-" + std::to_string(::getpid());
  for (const std::string& name : {path, '@' + path}) {
    const SocketAddress address = *SocketAddress::unix_path(name);
    const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(::bind(socket, address.get(), address.size), 0) << std::strerror(errno);
    ASSERT_EQ(::listen(socket, 0), 0);
    owned.push_back(socket);
    EXPECT_TRUE(succeed({.unix_path = name}));
    EXPECT_EQ(this->address.text(), name);
    ::close(std::exchange(fd, -1));
  }
  // Nobody accepts: the first one waits in the backlog, the second does not fit.
  const ConnectFailure full = fail({.unix_path = path});
  EXPECT_HAS(full.text, path + ": the server's backlog is full");
  ::unlink(path.c_str());
  const ConnectFailure gone = fail({.unix_path = path});
  EXPECT_EQ(gone.error, ENOENT);
  EXPECT_HAS(gone.text, "cannot connect to \"" + path + "\": " + path + ": No such file or directory");
  EXPECT_HAS(fail({.unix_path = std::string(300, 'x')}).text, "too long");
}

TEST_F(Connecting, binds_the_local_address) {
  const int listening = listen_on("127.0.0.1");
  ASSERT_TRUE(succeed({.host = "127.0.0.1", .port = port_of(listening), .bind_address = "127.0.0.9"}));
  sockaddr_in local{};
  socklen_t size = sizeof local;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size);
  EXPECT_EQ(ntohl(local.sin_addr.s_addr), 0x7f000009u);
  ::close(std::exchange(fd, -1));
  EXPECT_EQ(fail({.host = "127.0.0.1", .port = port_of(listening), .bind_address = "::1"}).error, EAFNOSUPPORT);
  EXPECT_EQ(fail({.host = "127.0.0.1", .port = port_of(listening), .bind_address = "here"}).error, EINVAL);
}

TEST_F(Connecting, no_address_is_an_error) {
  connector->connect(std::vector<SocketAddress>{}, {});
  ASSERT_TRUE(run([&] { return done > 0; }));
  EXPECT_EQ(failure.error, EHOSTUNREACH);
  EXPECT_EQ(failure.text, "cannot connect: there is no address");
}

TEST_F(Connecting, a_thousand_rounds_leave_nothing_behind) {
  const SocketAddress there = good(), nobody = refused();
  const int listening = owned.front(), before = descriptors();
  for (int i = 0; i < 1000; ++i) {
    done = 0;
    connector->connect(i % 3 ? std::vector{nobody, there} : std::vector{nobody}, {});
    if (i % 7 == 0) {
      connector->cancel();
      continue;
    }
    ASSERT_TRUE(run([&] { return done > 0; }));
    if (fd >= 0) reset(std::exchange(fd, -1));
    const int accepted = ::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
    if (accepted >= 0) ::close(accepted);
  }
  EXPECT_EQ(descriptors(), before);
  EXPECT_EQ(reactor.descriptors(), 0u);
}

}  // namespace
}  // namespace fasterapi::core::test

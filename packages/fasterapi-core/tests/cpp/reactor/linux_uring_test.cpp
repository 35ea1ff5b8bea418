// What only io_uring can get wrong: requests that are in flight when a descriptor, a thread or a process goes,
// buffers that the kernel has, and kernels that refuse.
#include <fasterapi/core/log.hpp>
#include <fasterapi/core/reactor.hpp>
#include <fasterapi/core/stream.hpp>

#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "../stream/stream_harness.hpp"
#include "handlers.hpp"

namespace fasterapi::core::test {
namespace {

constexpr int kIoUringSetup = 425, kIoUringEnter = 426;  // on every architecture

/// Runs `body` in a child; 0 when it returned true.
int in_child(const std::function<bool()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body() && !testing::Test::HasFailure() ? 0 : 1);
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

bool answer_system_call(int number, unsigned answer) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, answer),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{4, filter};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

struct Lines final : log::Sink {
  void write(const log::Record& record) noexcept override { lines.emplace_back(record.text()); }
  std::vector<std::string> lines;
};

TEST(UringRefused, epoll_takes_its_place_with_exactly_one_line) {
  for (int error : {EPERM, ENOSYS, EINVAL}) {
    EXPECT_EQ(in_child([error] {
                const unsigned answer = SECCOMP_RET_ERRNO | static_cast<unsigned>(error);
                if (!answer_system_call(kIoUringSetup, answer)) return false;
                Lines log;
                log::set_sink(&log);
                for (int i = 0; i < 3; ++i) {
                  if (std::string(make_backend("io_uring")->name()) != "epoll") return false;
                }
                log::set_sink(nullptr);
                return log.lines.size() == 1 && log.lines[0].find("using epoll instead") != std::string::npos;
              }),
              0)
        << error;
  }
}

class Uring : public testing::Test {
 protected:
  void SetUp() override {
    auto backend = make_backend("io_uring");
    if (std::string(backend->name()) != "io_uring") GTEST_SKIP() << "refused here, or built without liburing";
    reactor = std::make_unique<Reactor>(std::move(backend));
  }
  bool run(const std::function<bool()>& done) {
    const Nanos end = monotonic_now() + 5000 * kMs;
    while (!done()) {
      if (monotonic_now() > end) return false;
      reactor->turn(20 * kMs);
    }
    return true;
  }
  std::unique_ptr<Reactor> reactor;
};

TEST_F(Uring, close_after_remove_is_a_close_at_once) {
  Pair pair;
  Handler handler;
  ASSERT_EQ(reactor->add(pair.ends[0], kReadable, &handler), 0);
  reactor->turn(0);  // the poll is in flight
  reactor->remove(pair.ends[0]);
  pair.close(0);
  EXPECT_TRUE(wait_readable(pair.ends[1])) << "the kernel still has the socket";
  EXPECT_EQ(pair.take(1), -1);
}

TEST_F(Uring, a_closed_stream_is_closed_at_once_and_its_port_is_free) {
  sockaddr_in address;
  const int listening = listen(address);
  Listener listener(
      *reactor, listening, [](void*, int fd) noexcept { net::close(fd); }, nullptr);
  ASSERT_EQ(listener.start(), 0);
  reactor->turn(0);  // its poll is in flight
  listener.stop();
  net::close(listening);
  const int client = net::open_stream(AF_INET);
  net::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address);
  wait_writable(client);
  EXPECT_EQ(net::take_error(client), ECONNREFUSED);
  net::close(client);
}

TEST_F(Uring, a_number_that_was_closed_without_remove_can_be_added_again) {
  Handler old, fresh;
  Pair first, second;
  const int number = first.ends[0];
  ASSERT_EQ(reactor->add(number, kReadable, &old), 0);
  reactor->turn(0);
  ASSERT_TRUE(reuse_number(number, second.ends[0]));
  EXPECT_EQ(reactor->modify(number, kReadable | kWritable), ENOENT);
  ASSERT_EQ(reactor->add(number, kReadable, &fresh), 0);
  second.send(1);
  ASSERT_TRUE(run([&] { return fresh.calls > 0; }));
  EXPECT_EQ(old.calls, 0);
  reactor->remove(number);
}

TEST_F(Uring, a_changed_interest_counts_at_once) {
  Pair pair;
  Handler handler;
  ASSERT_EQ(reactor->add(pair.ends[0], kReadable, &handler), 0);
  EXPECT_EQ(reactor->turn(0), 0);
  ASSERT_EQ(reactor->modify(pair.ends[0], kWritable), 0);
  EXPECT_EQ(reactor->turn(0), 1);
  EXPECT_EQ(handler.last, kWritable);
  reactor->remove(pair.ends[0]);
}

TEST_F(Uring, regular_files_are_refused_as_epoll_does) {
  Handler handler;
  std::FILE* file = std::tmpfile();
  EXPECT_EQ(reactor->add(::fileno(file), kReadable, &handler), EPERM);
  std::fclose(file);
}

TEST_F(Uring, eventfds_are_level_triggered) {
  const int fd = ::eventfd(1, EFD_NONBLOCK);
  Handler handler;
  ASSERT_EQ(reactor->add(fd, kReadable, &handler), 0);
  for (int i = 0; i < 5; ++i) reactor->turn(0);
  EXPECT_EQ(handler.calls, 5);
  std::uint64_t value;
  ASSERT_EQ(::read(fd, &value, sizeof value), 8);
  EXPECT_EQ(reactor->turn(0), 0);
  reactor->remove(fd);
  ::close(fd);
}

TEST_F(Uring, more_streams_receive_at_once_than_there_are_buffers) {
  constexpr int kStreams = 300;
  std::vector<std::unique_ptr<Recorder>> readers;
  std::vector<int> peers;
  for (int i = 0; i < kStreams; ++i) {
    auto [one, two] = tcp_pair();
    readers.push_back(std::make_unique<Recorder>(*reactor));
    ASSERT_EQ(readers.back()->stream->adopt(one), 0);
    peers.push_back(two);
  }
  for (int round = 1; round <= 10; ++round) {
    for (int peer : peers) ASSERT_EQ(net::send(peer, "0123456789", 10), 10);
    ASSERT_TRUE(run([&] {
      for (auto& reader : readers) {
        if (reader->received.size() != static_cast<std::size_t>(round) * 10) return false;
      }
      return true;
    })) << "round "
        << round;
  }
  for (int peer : peers) net::close(peer);
}

TEST_F(Uring, pausing_and_closing_with_receives_in_flight_leaks_no_buffer) {
  const std::string text(100'000, 'x');
  for (int i = 0; i < 400;
       ++i) {  // there are 128 buffers of 32 KiB: a leak of one per round starves the last ones
    auto [one, two] = tcp_pair();
    Recorder reader(*reactor);
    ASSERT_EQ(reader.stream->adopt(one), 0);
    reactor->turn(0);
    ASSERT_GT(net::send(two, text.data(), text.size()), 0);
    reader.data_hook = [&](std::string_view) {
      if (i % 2) {
        reader.stream->pause_reading();
      } else {
        reader.stream->close();
      }
    };
    ASSERT_TRUE(run([&] { return !reader.received.empty(); })) << "round " << i;
    if (i % 3) reactor->turn(0);
    reader.stream->close();
    ASSERT_TRUE(run([&] { return reader.closed.has_value(); }));
    net::close(two);
  }
}

TEST_F(Uring, what_arrived_before_a_pause_took_effect_comes_after_resuming_in_order) {
  auto [one, two] = tcp_pair();
  Recorder reader(*reactor);
  ASSERT_EQ(reader.stream->adopt(one), 0);
  std::string sent;
  reader.data_hook = [&](std::string_view) { reader.stream->pause_reading(); };
  for (int i = 0; i < 300; ++i) {
    const std::string piece = std::to_string(i) + "," + std::string(static_cast<std::size_t>(i * 37 % 9000), 'p');
    ASSERT_EQ(net::send(two, piece.data(), piece.size()), static_cast<net::Length>(piece.size()));
    sent += piece;
    const std::size_t before = reader.received.size();
    if (i % 3 == 0) {
      ASSERT_TRUE(run([&] { return reader.received.size() > before; }));
    }
    const std::size_t paused_at = reader.received.size();
    if (!reader.stream->reading()) {
      for (int turn = 0; turn < i % 4; ++turn) reactor->turn(0);
      EXPECT_EQ(reader.received.size(), paused_at) << "data while paused";
      reader.stream->resume_reading();
    }
  }
  net::close(two);
  reader.data_hook = {};
  reader.stream->resume_reading();
  ASSERT_TRUE(run([&] { return reader.eof == 1; }));
  EXPECT_EQ(reader.received, sent);
}

TEST_F(Uring, a_loop_may_move_to_another_thread_and_back) {
  auto [one, two] = tcp_pair();
  Recorder reader(*reactor);
  ASSERT_EQ(reader.stream->adopt(one), 0);
  sockaddr_in address;
  const int listening = listen(address);
  static std::vector<int> accepted;
  Listener listener(
      *reactor, listening, [](void*, int fd) noexcept { accepted.push_back(fd); }, nullptr);
  ASSERT_EQ(listener.start(), 0);
  std::string expected;
  std::vector<int> clients;
  for (int i = 0; i < 6; ++i) {
    auto step = [&] {
      ASSERT_EQ(net::send(two, "abc", 3), 3);
      expected += "abc";
      clients.push_back(connect_to(address));
      ASSERT_TRUE(run([&] { return reader.received == expected && accepted.size() == clients.size(); }));
      ASSERT_EQ(net::send(two, "left behind", 11), 11);  // may be completed when the thread ends
      expected += "left behind";
      reactor->turn(0);
    };
    if (i % 2) {
      step();
    } else {
      std::thread(step).join();
    }
  }
  ASSERT_TRUE(run([&] { return reader.received == expected; }));
  listener.stop();
  for (int fd : accepted) net::close(fd);
  for (int fd : clients) net::close(fd);
  net::close(listening);
  net::close(two);
}

TEST_F(Uring, the_child_of_a_fork_takes_nothing_away_from_its_parent) {
  auto [one, two] = tcp_pair();
  Recorder reader(*reactor);
  ASSERT_EQ(reader.stream->adopt(one), 0);
  reactor->turn(0);
  EXPECT_EQ(in_child([&] {
              reactor.reset();  // its destructor must not cancel what the parent has in flight
              return true;
            }),
            0);
  ASSERT_EQ(net::send(two, "for the parent", 14), 14);
  ASSERT_TRUE(run([&] { return reader.received == "for the parent"; }));
  net::close(two);
}

TEST_F(Uring, a_reactor_reopened_in_the_child_of_a_fork_works_there) {
  Pair pair;
  Handler handler([&](unsigned) { pair.take(0); });
  ASSERT_EQ(reactor->add(pair.ends[0], kReadable, &handler), 0);
  reactor->turn(0);
  EXPECT_EQ(in_child([&] {
              reactor->reopen_after_fork();
              pair.send(1);
              return run([&] { return handler.calls == 1; });
            }),
            0);
  EXPECT_EQ(handler.calls, 0);
  pair.send(1, "yy");
  ASSERT_TRUE(run([&] { return handler.calls >= 1; }));
  reactor->remove(pair.ends[0]);
}

TEST_F(Uring, a_destroyed_reactor_lets_go_of_sockets_although_a_child_has_the_ring) {
  auto [one, two] = tcp_pair();
  auto reader = std::make_unique<Recorder>(*reactor);
  ASSERT_EQ(reader->stream->adopt(one), 0);
  reactor->turn(0);
  int gate[2];
  ASSERT_EQ(::pipe(gate), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(one);
    char byte;
    ::close(gate[1]);
    [[maybe_unused]] ssize_t got = ::read(gate[0], &byte, 1);  // until the parent has looked
    ::_exit(0);
  }
  reader.reset();
  reactor.reset();
  // The child keeps its copy of the ring; only requests in flight could still hold the connection.
  EXPECT_TRUE(wait_readable(two, 2000));
  ::close(gate[0]);
  ::close(gate[1]);
  ::waitpid(child, nullptr, 0);
  net::close(two);
}

int open_descriptors() {
  int count = 0;
  DIR* folder = ::opendir("/proc/self/fd");
  while (::readdir(folder)) ++count;
  ::closedir(folder);
  return count;
}

TEST_F(Uring, nothing_grows_over_many_reactors_and_connections) {
  const int before = open_descriptors();
  for (int i = 0; i < 50; ++i) {
    Reactor local(make_backend("io_uring"));
    sockaddr_in address;
    const int listening = listen(address);
    Listener listener(
        local, listening, [](void*, int fd) noexcept { net::close(fd); }, nullptr);
    ASSERT_EQ(listener.start(), 0);
    local.turn(0);
    const int client = connect_to(address);
    if (i % 2) local.turn(kMs);
    listener.stop();  // with a connection in the backlog, in the other rounds
    net::close(client);
    net::close(listening);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(Uring, a_poll_with_nothing_to_say_makes_no_system_call) {
  Pair pair;
  Handler handler;
  ASSERT_EQ(reactor->add(pair.ends[0], kReadable, &handler), 0);
  EXPECT_EQ(in_child([&] {
              reactor->reopen_after_fork();
              for (int i = 0; i < 3; ++i) reactor->turn(0);
              if (!answer_system_call(kIoUringEnter, SECCOMP_RET_KILL_PROCESS)) return false;
              for (int i = 0; i < 1000; ++i) reactor->turn(0);
              return true;
            }),
            0);
  reactor->remove(pair.ends[0]);
}

}  // namespace
}  // namespace fasterapi::core::test

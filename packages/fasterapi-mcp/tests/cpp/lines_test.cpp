// Lines over real pipes on a real reactor.
#include "stdio/lines.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

namespace fasterapi::mcp {
namespace {

struct Pipe {
  Pipe() {
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
  }
  ~Pipe() {
    close_reader();
    close_writer();
  }
  void close_reader() {
    if (fds[0] >= 0) ::close(fds[0]);
    fds[0] = -1;
  }
  void close_writer() {
    if (fds[1] >= 0) ::close(fds[1]);
    fds[1] = -1;
  }
  void put(std::string_view text) { ASSERT_EQ(::write(fds[1], text.data(), text.size()), ssize_t(text.size())); }
  std::string take(std::size_t n) {
    std::string text(n, '\0');
    ssize_t got = ::read(fds[0], text.data(), n);
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
  }
  int fds[2];
};

struct Log final : LineHandler {
  void on_line(std::string_view line) noexcept override { lines.emplace_back(line); }
  void on_line_too_long() noexcept override { ++too_long; }
  void on_input_end() noexcept override { ++ends; }
  void on_output_drained() noexcept override { ++drained; }
  void on_output_error(int error) noexcept override { output_error = error; }
  std::vector<std::string> lines;
  int too_long = 0, ends = 0, drained = 0, output_error = 0;
};

void turns(core::Reactor& reactor, int count = 5) {
  for (int i = 0; i < count; ++i) reactor.turn(2'000'000);
}

TEST(LineReader, lines_arrive_whole_however_they_are_cut) {
  std::string text = "one\n\n  \ntwo\r\nthr\xC3\xA9\x65\nlast";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    core::Reactor reactor;
    Pipe pipe;
    Log log;
    LineReader reader(reactor, pipe.fds[0], 100, log);
    ASSERT_EQ(reader.start(), 0);
    pipe.put(text.substr(0, cut));
    turns(reactor, 2);
    pipe.put(text.substr(cut));
    pipe.close_writer();
    turns(reactor);
    EXPECT_EQ(log.lines, (std::vector<std::string>{"one", "two", "thr\xC3\xA9\x65", "last"})) << cut;
    EXPECT_EQ(log.ends, 1);
    EXPECT_EQ(log.too_long, 0);
  }
}

TEST(LineReader, long_lines_are_skipped_once) {
  core::Reactor reactor;
  Pipe pipe;
  Log log;
  LineReader reader(reactor, pipe.fds[0], 10, log);
  ASSERT_EQ(reader.start(), 0);
  pipe.put("0123456789\n");
  pipe.put("01234567890\nok\n");
  turns(reactor, 2);
  EXPECT_EQ(log.too_long, 1);
  for (int i = 0; i < 20; ++i) {
    pipe.put("xxxxxxxxxx");
    turns(reactor, 1);
  }
  pipe.put("\nagain\n");
  turns(reactor, 2);
  EXPECT_EQ(log.too_long, 2);
  EXPECT_EQ(log.lines, (std::vector<std::string>{"0123456789", "ok", "again"}));
}

TEST(LineReader, paused_input_waits) {
  core::Reactor reactor;
  Pipe pipe;
  Log log;
  LineReader reader(reactor, pipe.fds[0], 100, log);
  ASSERT_EQ(reader.start(), 0);
  reader.pause();
  pipe.put("held\n");
  pipe.close_writer();
  turns(reactor);
  EXPECT_TRUE(log.lines.empty());
  EXPECT_EQ(log.ends, 0);
  reader.resume();
  turns(reactor, 20);
  EXPECT_EQ(log.lines, std::vector<std::string>{"held"});
  EXPECT_EQ(log.ends, 1);
}

TEST(LineReader, regular_files_are_read_too) {
  char name[] = "/tmp/lines_test_XXXXXX";
  int fd = mkstemp(name);
  ASSERT_GE(fd, 0);
  unlink(name);
  ASSERT_EQ(::write(fd, "a\nb\n", 4), 4);
  lseek(fd, 0, SEEK_SET);
  core::Reactor reactor;
  Log log;
  LineReader reader(reactor, fd, 100, log);
  ASSERT_EQ(reader.start(), 0);
  turns(reactor, 20);
  EXPECT_EQ(log.lines, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(log.ends, 1);
  ::close(fd);
}

TEST(LineWriter, one_write_per_turn) {
  core::Reactor reactor;
  Pipe pipe;
  Log log;
  LineWriter writer(reactor, pipe.fds[1], log);
  for (int i = 0; i < 3; ++i) {
    writer.out().append("x");
    writer.end_line();
  }
  fcntl(pipe.fds[0], F_SETFL, O_NONBLOCK);
  EXPECT_EQ(pipe.take(100), "");
  turns(reactor, 1);
  EXPECT_EQ(pipe.take(100), "x\nx\nx\n");
  EXPECT_TRUE(writer.idle());
}

TEST(LineWriter, what_a_full_pipe_does_not_take_follows) {
  core::Reactor reactor;
  Pipe pipe;
  Log log;
  LineWriter writer(reactor, pipe.fds[1], log);
  std::string sent;
  for (int i = 0; sent.size() < 3 * LineWriter::kBacklog; ++i) {
    std::string line(1000, static_cast<char>('a' + i % 26));
    writer.out().append(line);
    writer.end_line();
    sent += line + "\n";
  }
  EXPECT_TRUE(writer.congested());
  fcntl(pipe.fds[0], F_SETFL, O_NONBLOCK);
  std::string got;
  while (got.size() < sent.size()) {
    turns(reactor, 1);
    got += pipe.take(1 << 16);
  }
  turns(reactor, 2);
  EXPECT_EQ(got, sent);
  EXPECT_EQ(log.drained, 1);
  EXPECT_TRUE(writer.idle());
}

TEST(LineWriter, a_reader_that_is_gone_is_told_once) {
  signal(SIGPIPE, SIG_IGN);
  core::Reactor reactor;
  Pipe pipe;
  Log log;
  LineWriter writer(reactor, pipe.fds[1], log);
  pipe.close_reader();
  for (int i = 0; i < 3; ++i) {
    writer.out().append("x");
    writer.end_line();
    turns(reactor, 1);
  }
  EXPECT_EQ(log.output_error, EPIPE);
  EXPECT_TRUE(writer.idle());
}

}  // namespace
}  // namespace fasterapi::mcp

// Sources: memory and files that a stream sends from where they lie, plain and over TLS.
#include <cstdlib>
#include <vector>

#include <fasterapi/core/tls.hpp>

#include "../support/certificates.hpp"
#include "stream_harness.hpp"

namespace fasterapi::core::test {
namespace {

class Source : public StreamTest, public testing::WithParamInterface<bool> {
 protected:
  void start(int buffer = 0) {
    make_pair(buffer);
    if (!GetParam()) return;
    const auto identity = certificates.issue();
    TlsServerOptions server_options;
    server_options.cert_file = identity.cert_file;
    server_options.key_file = identity.key_file;
    TlsClientOptions client_options;
    client_options.ca_file = certificates.ca_file();
    ASSERT_EQ(b.stream->start_tls(TlsContext::client(client_options), "localhost"), 0);
    ASSERT_EQ(a.stream->start_tls(TlsContext::server(server_options), {}), 0);
    ASSERT_TRUE(run([&] { return a.connected && b.connected; }));
  }
  StreamSource memory(std::string_view bytes) {
    return {.data = bytes.data(), .size = bytes.size(), .release = &Source::released, .arg = this};
  }
  StreamSource file(std::string_view bytes, std::uint64_t offset, std::uint64_t size) {
    char name[] = "/tmp/fasterapi-source-XXXXXX";
    const int fd = ::mkstemp(name);
    ::unlink(name);
    EXPECT_EQ(::write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    files.push_back(fd);
    return {.file = fd, .offset = offset, .size = size, .release = &Source::released, .arg = this};
  }
  static void released(void* self) noexcept { ++static_cast<Source*>(self)->releases; }
  void TearDown() override {
    for (int fd : files) ::close(fd);
  }

  Certificates certificates;
  std::vector<int> files;
  int releases = 0;
};

TEST_P(Source, memory_follows_the_head_and_what_is_written_meanwhile_follows_it) {
  start(8192);
  const std::string big = pattern(3 << 20);
  a.stream->out().append("head ");
  a.stream->send_source(memory(big));
  EXPECT_GT(a.stream->unsent(), 2u << 20);
  a.stream->write("tail");
  a.stream->out().append(" more");
  a.stream->flush_with(" still");
  ASSERT_TRUE(run([&] { return b.received.size() >= big.size() + 20; })) << b.received.size();
  EXPECT_TRUE(b.received == "head " + big + "tail more still");
  ASSERT_TRUE(run([&] { return a.stream->unsent() == 0; }));
  EXPECT_EQ(releases, 1);
  EXPECT_GE(a.drained, 1);
  a.stream->write("!");
  ASSERT_TRUE(run([&] { return b.received.ends_with("!"); }));
}

TEST_P(Source, a_part_of_a_file) {
  start(8192);
  const std::string text = pattern(2 << 20);
  a.stream->send_source(file(text, 1000, text.size() - 3000));
  ASSERT_TRUE(run([&] { return b.received.size() >= text.size() - 3000; })) << b.received.size();
  EXPECT_TRUE(b.received == text.substr(1000, text.size() - 3000));
  EXPECT_EQ(releases, 1);
}

TEST_P(Source, several_in_a_row_keep_their_order) {
  start(8192);
  const std::string big = pattern(500'000);
  std::string expected;
  for (int i = 0; i < 3; ++i) {
    a.stream->out().append("m");
    a.stream->send_source(memory(big));
    a.stream->out().append("f");
    a.stream->send_source(file(big, 5, 400'000));
    expected += "m" + big + "f" + big.substr(5, 400'000);
  }
  ASSERT_TRUE(run([&] { return b.received.size() >= expected.size(); }));
  EXPECT_TRUE(b.received == expected);
  EXPECT_EQ(releases, 6);
}

TEST_P(Source, a_small_one_is_sent_at_once) {
  start();
  a.stream->out().append("a");
  a.stream->send_source(memory("b"));
  EXPECT_EQ(releases, 1);
  EXPECT_EQ(a.stream->unsent(), 0u);
  ASSERT_TRUE(run([&] { return b.received == "ab"; }));
}

TEST_P(Source, close_when_sent_waits_for_it) {
  start(8192);
  const std::string big = pattern(1 << 20);
  a.stream->send_source(memory(big));
  a.stream->close_when_sent();
  ASSERT_TRUE(run([&] { return b.eof == 1 && a.closed; }));
  EXPECT_EQ(b.received.size(), big.size());
  EXPECT_EQ(a.closed, 0);
  EXPECT_EQ(releases, 1);
}

TEST_P(Source, shutdown_write_waits_for_it) {
  start(8192);
  const std::string big = pattern(1 << 20);
  a.stream->send_source(memory(big));
  a.stream->shutdown_write();
  ASSERT_TRUE(run([&] { return b.eof == 1; }));
  EXPECT_EQ(b.received.size(), big.size());
}

TEST_P(Source, a_closed_stream_lets_go_of_it) {
  start(8192);
  const std::string big = pattern(3 << 20);
  a.stream->send_source(memory(big));
  EXPECT_EQ(releases, 0);
  a.stream->close();
  EXPECT_EQ(releases, 1);
  a.stream->send_source(memory(big));
  EXPECT_EQ(releases, 2);
}

TEST_P(Source, a_file_that_is_shorter_than_promised_closes_the_stream) {
  start(8192);
  a.stream->send_source(file("short", 0, 100));
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
  EXPECT_EQ(a.closed, EIO);
  EXPECT_EQ(releases, 1);
}

TEST_P(Source, what_the_peer_has_taken_is_known) {
  start(8192);
  const std::string big = pattern(1 << 20);
  b.stream->pause_reading();
  a.stream->send_source(memory(big));
  idle();
  const std::int64_t before = a.stream->taken_late();
  idle(50);
  EXPECT_LE(a.stream->taken_late() - before, 64 * 1024);
  b.stream->resume_reading();
  ASSERT_TRUE(run([&] { return b.received.size() >= big.size(); }));
  idle();
  EXPECT_GT(a.stream->taken_late() - before, 800'000);
}

INSTANTIATE_TEST_SUITE_P(Streams, Source, testing::Bool(),
                         [](const auto& info) { return info.param ? "tls" : "plain"; });

}  // namespace
}  // namespace fasterapi::core::test

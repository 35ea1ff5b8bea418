// Streams over TLS: what holds for plain ones holds here, and the handshake's own ways to fail.
#include <fasterapi/core/error.hpp>
#include <fasterapi/core/tls.hpp>

#include "../support/certificates.hpp"
#include "stream_harness.hpp"

namespace fasterapi::core::test {
namespace {

class Secure : public StreamTest {
 protected:
  Secure() {
    const auto identity = certificates.issue();
    TlsServerOptions server_options;
    server_options.cert_file = identity.cert_file;
    server_options.key_file = identity.key_file;
    server = TlsContext::server(server_options);
    TlsClientOptions client_options;
    client_options.ca_file = certificates.ca_file();
    client = TlsContext::client(client_options);
  }
  // a is the client, b the server.
  void start(int buffer = 0, const char* host = "localhost") {
    make_pair(buffer);
    ASSERT_EQ(b.stream->start_tls(server, {}), 0);
    ASSERT_EQ(a.stream->start_tls(client, host), 0);
  }
  bool shake() {
    return run([&] { return a.connected && b.connected; });
  }
  Certificates certificates;
  std::shared_ptr<TlsContext> server, client;
};

TEST_F(Secure, connects_and_carries_bytes_both_ways) {
  start();
  ASSERT_TRUE(shake());
  EXPECT_EQ(a.stream->tls()->version(), "TLSv1.3");
  a.stream->write("ping");
  ASSERT_TRUE(run([&] { return b.received == "ping"; }));
  b.stream->out().append("po");
  b.stream->flush_with("ng");
  ASSERT_TRUE(run([&] { return a.received == "pong"; }));
  EXPECT_EQ(a.connected, 1);
  EXPECT_EQ(b.connected, 1);
}

TEST_F(Secure, echoes_a_megabyte_through_small_socket_buffers) {
  start(8192);
  ASSERT_TRUE(shake());
  const std::string text = pattern(1 << 20);
  b.data_hook = [&](std::string_view bytes) { b.stream->write(bytes); };
  a.stream->write(text);
  ASSERT_TRUE(run([&] { return a.received.size() >= text.size() || a.closed || b.closed; })) << a.received.size();
  EXPECT_FALSE(a.closed) << a.closed_text;
  EXPECT_FALSE(b.closed) << b.closed_text;
  EXPECT_TRUE(a.received == text);
}

TEST_F(Secure, keeps_the_order_of_many_writes_when_the_socket_is_full) {
  start(8192);
  ASSERT_TRUE(shake());
  std::string expected;
  for (int i = 0; i < 40; ++i) {
    const std::string head = "head " + std::to_string(i) + "\n";
    const std::string body = pattern(20'000 + static_cast<std::size_t>(i));
    a.stream->out().append(head);
    a.stream->flush_with(body);
    expected += head + body;
  }
  ASSERT_TRUE(run([&] { return b.received.size() >= expected.size() || a.closed || b.closed; }));
  EXPECT_FALSE(b.closed) << b.closed_text;
  EXPECT_TRUE(b.received == expected);
}

TEST_F(Secure, sends_what_was_written_before_the_handshake_was_done) {
  start();
  a.stream->write("early");
  ASSERT_TRUE(run([&] { return b.received == "early" || a.closed || b.closed; })) << b.received;
  EXPECT_FALSE(b.closed) << b.closed_text;
}

TEST_F(Secure, sends_what_is_written_within_on_connected) {
  a.connected_hook = [&] { a.stream->write("first"); };
  b.connected_hook = [&] { b.stream->write("welcome"); };
  start();
  ASSERT_TRUE(run([&] { return b.received == "first" && a.received == "welcome"; }));
}

TEST_F(Secure, a_peer_of_another_name_is_refused_with_a_text) {
  start(0, "example.org");
  ASSERT_TRUE(run([&] { return a.closed && b.closed; }));
  EXPECT_EQ(a.closed, EPROTO);
  EXPECT_NE(a.closed_text.find("hostname mismatch"), std::string::npos) << a.closed_text;
  EXPECT_EQ(b.closed, EPROTO) << "the alert did not arrive";
  EXPECT_EQ(a.connected, 0);
}

TEST_F(Secure, plain_text_from_the_peer_is_an_error) {
  const int peer = make_half();
  ASSERT_EQ(a.stream->start_tls(server, {}), 0);
  ASSERT_EQ(::write(peer, "GET / HTTP/1.1\r\n\r\n", 18), 18);
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
  EXPECT_EQ(a.closed, EPROTO);
  EXPECT_NE(a.closed_text.find("http request"), std::string::npos) << a.closed_text;
  ::close(peer);
}

TEST_F(Secure, a_handshake_that_is_cut_is_an_error) {
  const int peer = make_half();
  ASSERT_EQ(a.stream->start_tls(client, "localhost"), 0);
  ::shutdown(peer, SHUT_WR);
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
  EXPECT_NE(a.closed, 0);
  ::close(peer);
}

TEST_F(Secure, close_notify_is_the_end_of_the_stream) {
  start();
  ASSERT_TRUE(shake());
  a.stream->write("bye");
  a.stream->close_when_sent();
  ASSERT_TRUE(run([&] { return b.eof == 1; }));
  EXPECT_EQ(b.received, "bye");
  EXPECT_FALSE(b.closed);
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
  idle();
  EXPECT_EQ(reactor.turn(5 * kMs), 0) << "spins on the end of the socket";
  EXPECT_EQ(b.eof, 1);
}

TEST_F(Secure, a_half_closed_peer_still_gets_its_answer) {
  start();
  ASSERT_TRUE(shake());
  b.eof_hook = [&] { b.stream->write("answer"); };
  a.stream->write("question");
  a.stream->shutdown_write();
  ASSERT_TRUE(run([&] { return a.received == "answer" || a.closed; }));
  EXPECT_EQ(b.received, "question");
  EXPECT_EQ(a.received, "answer");
}

TEST_F(Secure, a_stream_cut_without_close_notify_is_an_error_and_no_end) {
  start();
  ASSERT_TRUE(shake());
  ::shutdown(a.stream->fd(), SHUT_WR);  // behind TLS's back
  ASSERT_TRUE(run([&] { return b.eof || b.closed; }));
  EXPECT_EQ(b.eof, 0) << "a truncated stream passes as a complete one";
  ASSERT_TRUE(run([&] { return b.closed.has_value(); }));
  EXPECT_EQ(b.closed, EPROTO);
}

TEST_F(Secure, close_when_sent_loses_nothing) {
  start(8192);
  ASSERT_TRUE(shake());
  const std::string text = pattern(300'000);
  a.stream->write(text);
  a.stream->close_when_sent();
  ASSERT_TRUE(run([&] { return b.eof == 1 || b.closed; }));
  EXPECT_TRUE(b.received == text) << b.received.size();
}

TEST_F(Secure, shutdown_comes_after_everything_that_is_unsent) {
  start(8192);
  ASSERT_TRUE(shake());
  const std::string text = pattern(300'000);
  a.stream->write(text);
  a.stream->shutdown_write();
  ASSERT_TRUE(run([&] { return b.eof == 1 || b.closed; }));
  EXPECT_TRUE(b.received == text) << b.received.size();
}

TEST_F(Secure, paused_streams_deliver_nothing_until_resumed) {
  start();
  ASSERT_TRUE(shake());
  b.data_hook = [&](std::string_view) { b.stream->pause_reading(); };
  const std::string text = pattern(200'000);
  a.stream->write(text);
  ASSERT_TRUE(run([&] { return !b.received.empty(); }));
  const std::size_t before = b.received.size();
  idle();
  EXPECT_EQ(b.received.size(), before);
  b.data_hook = {};
  b.stream->resume_reading();
  ASSERT_TRUE(run([&] { return b.received.size() == text.size() || b.closed; })) << b.received.size();
  EXPECT_TRUE(b.received == text);
}

TEST_F(Secure, pausing_within_on_data_takes_effect_at_once) {
  start();
  ASSERT_TRUE(shake());
  int calls = 0;
  b.data_hook = [&](std::string_view) {
    ++calls;
    b.stream->pause_reading();
  };
  const std::string text = pattern(100'000);
  a.stream->write(text);
  ASSERT_TRUE(run([&] { return calls > 0; }));
  idle();
  EXPECT_EQ(calls, 1);
  while (b.received.size() < text.size() && calls < 1000) {
    const int before = calls;
    b.stream->resume_reading();
    ASSERT_TRUE(run([&] { return calls > before; }));
  }
  EXPECT_TRUE(b.received == text);
}

TEST_F(Secure, closing_within_callbacks_is_safe) {
  a.connected_hook = [&] { a.stream->write(pattern(100'000)); };
  b.data_hook = [&](std::string_view) { b.stream->close(); };
  a.eof_hook = [&] { a.stream->close(); };
  start();
  ASSERT_TRUE(run([&] { return a.closed && b.closed; }));
}

TEST_F(Secure, start_tls_needs_an_open_stream_and_happens_once) {
  EXPECT_NE(a.stream->start_tls(client, "localhost"), 0);
  start();
  EXPECT_NE(a.stream->start_tls(client, "localhost"), 0);
}

TEST_F(Secure, may_follow_a_plain_text_exchange) {
  make_pair();
  b.data_hook = [&](std::string_view bytes) {
    if (bytes == "starttls?") {
      b.stream->write("yes");
      ASSERT_EQ(b.stream->start_tls(server, {}), 0);
    }
  };
  a.data_hook = [&](std::string_view bytes) {
    if (bytes == "yes") {
      ASSERT_EQ(a.stream->start_tls(client, "localhost"), 0);
    }
  };
  a.stream->write("starttls?");
  ASSERT_TRUE(shake());
  a.stream->write("secret");
  ASSERT_TRUE(run([&] { return b.received == "starttls?secret"; }));
}

}  // namespace
}  // namespace fasterapi::core::test

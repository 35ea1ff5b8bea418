#include <fasterapi/core/stream.hpp>

#include "listening.hpp"

namespace fasterapi::core::test {
namespace {

class Plain : public StreamBehaviour {};
INSTANTIATE_TEST_SUITE_P(Backends, Plain, testing::ValuesIn(backends_under_test()), label_of);

TEST_P(Plain, carries_bytes_both_ways) {
  make_pair();
  a.stream->write("ping");
  ASSERT_TRUE(run([&] { return b.received == "ping"; }));
  b.stream->write("pong");
  ASSERT_TRUE(run([&] { return a.received == "pong"; }));
  EXPECT_EQ(a.stream->unsent(), 0u);
}

TEST_P(Plain, echoes_a_megabyte_through_small_socket_buffers) {
  make_pair(8192);
  const std::string text = pattern(1 << 20);
  b.data_hook = [&](std::string_view bytes) { b.stream->write(bytes); };
  a.stream->write(text);
  EXPECT_GT(a.stream->unsent(), 0u);
  ASSERT_TRUE(run([&] { return a.received.size() == text.size(); }));
  EXPECT_EQ(a.received, text);
  EXPECT_GE(a.drained, 1);
  EXPECT_EQ(a.stream->unsent(), 0u);
}

TEST_P(Plain, keeps_the_order_of_heads_and_bodies_when_the_socket_is_full) {
  make_pair(8192);
  std::string expected;
  for (int i = 0; i < 50; ++i) {
    const std::string head = "head " + std::to_string(i) + "\n";
    const std::string body = pattern(20'000 + static_cast<std::size_t>(i));
    a.stream->out().append(head);
    a.stream->flush_with(body);
    expected += head + body;
  }
  ASSERT_TRUE(run([&] { return b.received.size() >= expected.size(); }));
  EXPECT_EQ(b.received, expected);
}

TEST_P(Plain, a_body_without_a_head_is_sent) {
  make_pair();
  a.stream->flush_with("body only");
  ASSERT_TRUE(run([&] { return b.received == "body only"; }));
}

TEST_P(Plain, two_streams_may_be_written_at_once) {
  make_pair();
  Recorder c(reactor), d(reactor);
  auto [one, two] = tcp_pair();
  c.stream->adopt(one);
  d.stream->adopt(two);
  a.stream->out().append("for b");
  c.stream->out().append("for d");
  c.stream->flush();
  a.stream->flush();
  ASSERT_TRUE(run([&] { return !b.received.empty() && !d.received.empty(); }));
  EXPECT_EQ(b.received, "for b");
  EXPECT_EQ(d.received, "for d");
}

TEST_P(Plain, several_writes_of_a_turn_may_be_flushed_together) {
  make_pair();
  a.stream->out().append("one ");
  a.stream->out().append("two");
  a.stream->flush();
  ASSERT_TRUE(run([&] { return b.received == "one two"; }));
}

TEST_P(Plain, closing_between_out_and_flush_frees_the_scratch) {
  make_pair();
  a.stream->out().append("never sent");
  a.stream->close();
  b.stream->write("still works");
  EXPECT_EQ(reactor.scratch_owner(), nullptr);
  ASSERT_TRUE(run([&] { return a.closed && b.eof; }));
  EXPECT_EQ(b.received, "");
}

TEST_P(Plain, writing_after_close_is_harmless) {
  make_pair();
  a.stream->close();
  a.stream->write("x");
  a.stream->flush_with("y");
  a.stream->close();
  a.stream->shutdown_write();
  a.stream->close_when_sent();
  a.stream->pause_reading();
  a.stream->resume_reading();
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
  EXPECT_EQ(a.closed, 0);
  EXPECT_EQ(reactor.scratch_owner(), nullptr);
}

// ---- ends

TEST_P(Plain, a_half_closed_peer_still_gets_its_answer) {
  make_pair();
  a.stream->write("question");
  a.stream->shutdown_write();
  b.eof_hook = [&] { b.stream->write("answer"); };
  ASSERT_TRUE(run([&] { return a.received == "answer"; }));
  EXPECT_EQ(b.received, "question");
  EXPECT_EQ(b.eof, 1);
  EXPECT_EQ(a.eof, 0);
  b.stream->close();
  ASSERT_TRUE(run([&] { return a.eof == 1; }));
}

TEST_P(Plain, shutdown_comes_after_everything_that_is_unsent) {
  make_pair(8192);
  const std::string text = pattern(300'000);
  a.stream->write(text);
  a.stream->shutdown_write();
  ASSERT_TRUE(run([&] { return b.eof == 1; }));
  EXPECT_EQ(b.received, text);
}

TEST_P(Plain, close_when_sent_loses_nothing) {
  make_pair(8192);
  const std::string text = pattern(300'000);
  a.stream->write(text);
  a.stream->close_when_sent();
  ASSERT_TRUE(run([&] { return b.eof == 1 && a.closed; }));
  EXPECT_EQ(b.received, text);
  EXPECT_EQ(a.closed, 0);
}

TEST_P(Plain, close_when_sent_closes_at_once_when_nothing_is_left) {
  make_pair();
  a.stream->write("all");
  a.stream->close_when_sent();
  EXPECT_FALSE(a.stream->open());
  ASSERT_TRUE(run([&] { return b.eof == 1 && a.closed; }));
  EXPECT_EQ(b.received, "all");
}

TEST_P(Plain, close_when_sent_gives_up_when_the_peer_resets) {
  make_pair(8192);
  a.stream->write(pattern(1 << 20));
  a.stream->close_when_sent();
  const int fd = b.stream->fd();
  linger hard{};
  hard.l_onoff = 1;
  ::setsockopt(native(fd), SOL_SOCKET, SO_LINGER, reinterpret_cast<const char*>(&hard), sizeof hard);
  b.stream->close();
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
}

TEST_P(Plain, end_of_stream_is_reported_once_and_does_not_spin) {
  const int peer = make_half();
  net::shutdown_write(peer);
  ASSERT_TRUE(run([&] { return a.eof == 1; }));
  EXPECT_EQ(reactor.turn(0), 0);
  EXPECT_EQ(reactor.turn(5 * kMs), 0);
  EXPECT_EQ(a.eof, 1);
  EXPECT_TRUE(a.stream->open());
  net::close(peer);
}

TEST_P(Plain, a_reset_closes_with_its_errno) {
  reset(make_half());
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
  EXPECT_EQ(a.closed, ECONNRESET);
  EXPECT_EQ(a.eof, 0);
  EXPECT_FALSE(a.closed_text.empty());
}

TEST_P(Plain, a_reset_is_noticed_while_reading_is_paused) {
  const int peer = make_half();
  a.stream->pause_reading();
  reset(peer);
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
  EXPECT_EQ(a.closed, ECONNRESET);
}

TEST_P(Plain, a_reset_is_noticed_after_end_of_stream) {
  const int peer = make_half();
  net::shutdown_write(peer);
  ASSERT_TRUE(run([&] { return a.eof == 1; }));
  reset(peer);
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
}

TEST_P(Plain, writing_to_a_peer_that_left_closes_with_an_error_and_no_signal) {
  const int peer = make_half();
  net::close(peer);
  for (int i = 0; i < 200 && !a.closed; ++i) {
    a.stream->write("data");
    idle(1);
  }
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
  EXPECT_TRUE(*a.closed == EPIPE || *a.closed == ECONNRESET) << *a.closed;
}

TEST_P(Plain, bytes_before_the_end_are_delivered_first) {
  const int peer = make_half();
  ASSERT_EQ(net::send(peer, "last", 4), 4);
  net::close(peer);
  a.eof_hook = [&] { EXPECT_EQ(a.received, "last"); };
  ASSERT_TRUE(run([&] { return a.eof == 1; }));
}

// ---- back-pressure

TEST_P(Plain, paused_streams_read_nothing_until_resumed) {
  make_pair();
  b.stream->pause_reading();
  EXPECT_FALSE(b.stream->reading());
  a.stream->write("wait");
  idle();
  EXPECT_EQ(b.received, "");
  b.stream->resume_reading();
  ASSERT_TRUE(run([&] { return b.received == "wait"; }));
}

TEST_P(Plain, pausing_within_on_data_stops_the_flow) {
  make_pair();
  b.data_hook = [&](std::string_view) { b.stream->pause_reading(); };
  const std::string text = pattern(2 << 20);
  a.stream->write(text);
  ASSERT_TRUE(run([&] { return !b.received.empty(); }));
  const std::size_t before = b.received.size();
  idle();
  EXPECT_EQ(b.received.size(), before);
  b.data_hook = {};
  b.stream->resume_reading();
  ASSERT_TRUE(run([&] { return b.received.size() == text.size(); }));
  EXPECT_EQ(b.received, text);
}

TEST_P(Plain, a_writer_learns_when_its_bytes_are_gone) {
  make_pair(8192);
  b.stream->pause_reading();
  a.stream->write(pattern(500'000));
  idle();
  EXPECT_EQ(a.drained, 0);
  EXPECT_GT(a.stream->unsent(), 0u);
  b.stream->resume_reading();
  ASSERT_TRUE(run([&] { return a.drained == 1; }));
  EXPECT_EQ(a.stream->unsent(), 0u);
}

TEST_P(Plain, writing_within_on_drained_goes_on) {
  make_pair(8192);
  int rounds = 0;
  const std::string text = pattern(200'000);
  a.drained_hook = [&] {
    if (++rounds < 4) a.stream->write(text);
  };
  a.stream->write(text);
  ASSERT_TRUE(run([&] { return b.received.size() == 4 * text.size(); }));
}

// ---- closing inside callbacks

TEST_P(Plain, closing_within_on_data_is_followed_by_on_closed_only) {
  make_pair();
  a.data_hook = [&](std::string_view) {
    a.stream->close(ECANCELED);
    EXPECT_FALSE(a.closed) << "on_closed with the stream on the stack";
  };
  b.stream->write(pattern(600'000));  // more than one read
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
  EXPECT_EQ(a.closed, ECANCELED);
  idle();
}

TEST_P(Plain, closing_within_on_eof_and_on_drained_is_safe) {
  make_pair(8192);
  b.eof_hook = [&] { b.stream->close(); };
  a.drained_hook = [&] { a.stream->close(); };
  a.stream->write(pattern(100'000));
  ASSERT_TRUE(run([&] { return a.closed && b.closed; }));
}

TEST_P(Plain, a_stream_may_be_deleted_within_on_closed) {
  make_pair();
  a.closed_hook = [&] { a.stream.reset(); };
  b.stream->close();
  a.eof_hook = [&] { a.stream->close(); };
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
  EXPECT_EQ(a.stream, nullptr);
  idle();
}

TEST_P(Plain, a_stream_may_be_deleted_without_closing) {
  make_pair();
  a.stream->out().append("half written");
  a.stream.reset();
  EXPECT_EQ(reactor.scratch_owner(), nullptr);
  ASSERT_TRUE(run([&] { return b.eof == 1; }));
  EXPECT_FALSE(a.closed);
}

TEST_P(Plain, one_handler_may_close_another_stream_of_the_same_turn) {
  make_pair();
  Recorder c(reactor);
  auto [one, two] = tcp_pair();
  c.stream->adopt(one);
  a.data_hook = [&](std::string_view) { c.stream->close(); };
  c.data_hook = [&](std::string_view) { a.stream->close(); };
  b.stream->write("x");
  ASSERT_EQ(net::send(two, "y", 1), 1);
  ASSERT_TRUE(run([&] { return a.closed || c.closed; }));
  idle();
  EXPECT_EQ(a.received.size() + c.received.size(), 1u);
  net::close(two);
}

// ---- connecting

TEST_P(Plain, connects_and_sends_what_was_written_before) {
  sockaddr_in address;
  const int listening = listen(address);
  ASSERT_EQ(a.stream->connect(reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  a.stream->write("early");
  idle();
  wait_readable(listening);
  const int peer = net::accept(listening);
  ASSERT_GE(peer, 0);
  ASSERT_EQ(b.stream->adopt(peer), 0);
  ASSERT_TRUE(run([&] { return b.received == "early"; }));
  EXPECT_EQ(a.connected, 1);
  net::close(listening);
}

TEST_P(Plain, a_refused_connection_is_an_errno) {
  sockaddr_in address;
  net::close(listen(address));
  const int error = a.stream->connect(reinterpret_cast<sockaddr*>(&address), sizeof address);
  if (error == 0) {
    ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
    EXPECT_EQ(a.closed, ECONNREFUSED);
  } else {
    EXPECT_EQ(error, ECONNREFUSED);
    EXPECT_FALSE(a.stream->open());
  }
  EXPECT_EQ(a.connected, 0);
}

TEST_P(Plain, closing_while_connecting_reports_once) {
  sockaddr_in address;
  const int listening = listen(address);
  ASSERT_EQ(a.stream->connect(reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  a.stream->close();
  ASSERT_TRUE(run([&] { return a.closed.has_value(); }));
  EXPECT_EQ(a.connected, 0);
  net::close(listening);
}

// ---- listener

INSTANTIATE_TEST_SUITE_P(Backends, Listening, testing::ValuesIn(backends_under_test()), label_of);

TEST_P(Listening, accepts_all_that_wait) {
  ASSERT_EQ(listener.start(), 0);
  ASSERT_EQ(listener.start(), 0);
  connect(40);
  ASSERT_TRUE(run([&] { return accepted.size() == 40; }));
  for (int accepted_fd : accepted) EXPECT_TRUE(nonblocking(accepted_fd));
}

TEST_P(Listening, takes_nobody_after_stop_and_goes_on_after_start) {
  ASSERT_EQ(listener.start(), 0);
  listener.stop();
  listener.stop();
  connect(1);
  idle();
  EXPECT_TRUE(accepted.empty());
  ASSERT_EQ(listener.start(), 0);
  ASSERT_TRUE(run([&] { return accepted.size() == 1; }));
}

}  // namespace
}  // namespace fasterapi::core::test

// The connection over a socket pair: what goes in as bytes comes out as answers in order.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include <fasterapi/core/reactor.hpp>
#include <fasterapi/http/server.hpp>

namespace fasterapi::http {
namespace {

class Fn final : public RequestHandler {
 public:
  explicit Fn(std::function<void(Transaction&)> fn) : fn_(std::move(fn)) {}
  void handle(Transaction& tx) noexcept override { fn_(tx); }

 private:
  std::function<void(Transaction&)> fn_;
};

class ConnectionTest : public testing::Test {
 protected:
  void start(ServerOptions options = {}) {
    options.date_header = false;
    server = std::make_unique<Server>(std::move(options));
    route("GET", "/", [this](Transaction& tx) { tx.respond(hello, "hello"); });
    route("POST", "/echo", [](Transaction& tx) { tx.respond(200, "text/plain", {}, tx.body()); });
    route("GET", "/slow", [this](Transaction& tx) {
      tx.retain();
      waiting.push_back(&tx);
    });
    hello = server->make_head(200, "text/plain");
    server->set_fallback(nullptr);
  }
  void route(std::string_view method, std::string_view path, std::function<void(Transaction&)> fn) {
    ASSERT_EQ(server->add_route({&method, 1}, path, std::make_shared<Fn>(std::move(fn))).text, "");
  }
  void open() {
    if (!server->frozen()) {
      ASSERT_EQ(server->freeze().text, "");
    }
    server->attach(reactor);
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    server->adopt(pair[0]);
    client = pair[1];
  }
  void TearDown() override {
    if (client >= 0) ::close(client);
    for (int i = 0; i < 5; ++i) reactor.turn(0);
    for (Transaction* tx : waiting) tx->release();
    server.reset();
  }
  void send(std::string_view bytes) {
    ASSERT_EQ(::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    turn();
  }
  void turn() {
    for (int i = 0; i < 3; ++i) reactor.turn(0);
  }
  std::string receive() {
    std::string all;
    char buffer[65536];
    for (;;) {
      ssize_t n = ::recv(client, buffer, sizeof buffer, MSG_DONTWAIT);
      if (n == 0) {
        closed = true;
        return all;
      }
      if (n < 0) return all;
      all.append(buffer, static_cast<std::size_t>(n));
    }
  }

  core::Reactor reactor;
  std::unique_ptr<Server> server;
  HeadTemplate hello;
  std::vector<Transaction*> waiting;
  int client = -1;
  bool closed = false;
};

const std::string kGet = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const std::string kHello = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello";

TEST_F(ConnectionTest, answers_and_keeps_the_connection) {
  start(), open();
  for (int i = 0; i < 3; ++i) {
    send(kGet);
    EXPECT_EQ(receive(), kHello);
  }
  EXPECT_FALSE(closed);
  EXPECT_EQ(server->counters().requests, 3u);
}

TEST_F(ConnectionTest, pipelined_requests_are_answered_in_order_in_one_send) {
  start(), open();
  std::string in, out;
  for (int i = 0; i < 20; ++i) in += kGet, out += kHello;
  send(in);
  EXPECT_EQ(receive(), out);
}

TEST_F(ConnectionTest, a_request_may_be_split_at_every_byte) {
  start(), open();
  std::string request = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd" + kGet;
  for (std::size_t split = 1; split < request.size(); ++split) {
    send(request.substr(0, split));
    send(request.substr(split));
    std::string answer = receive();
    EXPECT_TRUE(answer.ends_with("\r\n\r\nabcd" + kHello)) << split << ": " << answer;
  }
}

TEST_F(ConnectionTest, byte_by_byte_with_a_chunked_body) {
  start(), open();
  std::string request =
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n" +
      kGet;
  for (char c : request) send({&c, 1});
  std::string answer = receive();
  EXPECT_TRUE(answer.ends_with("\r\n\r\nabcde" + kHello)) << answer;
}

TEST_F(ConnectionTest, later_requests_wait_for_a_handler_that_suspends) {
  start(), open();
  send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + kGet + kGet);
  EXPECT_EQ(receive(), "");
  ASSERT_EQ(waiting.size(), 1u);
  EXPECT_EQ(waiting[0]->path(), "/slow");
  EXPECT_EQ(waiting[0]->header("host"), "x");
  waiting[0]->respond(hello, "slow!");
  turn();
  std::string slow = kHello;
  slow.replace(slow.size() - 5, 5, "slow!");
  EXPECT_EQ(receive(), slow + kHello + kHello);
}

TEST_F(ConnectionTest, dropping_an_unanswered_transaction_answers_500) {
  start(), open();
  send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
  Transaction* tx = waiting[0];
  waiting.clear();
  tx->release();
  turn();
  EXPECT_TRUE(receive().starts_with("HTTP/1.1 500 "));
}

TEST_F(ConnectionTest, client_leaving_is_told_once) {
  start(), open();
  send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
  static int told;
  told = 0;
  waiting[0]->on_disconnect([](void*) noexcept { ++told; }, nullptr);
  ::close(client);
  client = -1;
  turn();
  EXPECT_EQ(told, 1);
  EXPECT_FALSE(waiting[0]->connected());
  EXPECT_EQ(server->connections(), 0u);
  waiting[0]->respond(hello, "late");  // ignored
}

TEST_F(ConnectionTest, malformed_is_answered_400_and_closed_after_the_earlier_answers) {
  start(), open();
  send(kGet + "GET / HTTP/1.1\r\nBad Header: x\r\n\r\n" + kGet);
  std::string answer = receive();
  EXPECT_TRUE(answer.starts_with(kHello + "HTTP/1.1 400 Bad Request\r\n")) << answer;
  EXPECT_NE(answer.find("connection: close"), answer.npos);
  EXPECT_TRUE(closed);
}

TEST_F(ConnectionTest, malformed_behind_a_handler_that_suspends) {
  start(), open();
  send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + kGet + "GET / HTTP/1.1\r\nBad Header: x\r\n\r\n" + kGet);
  waiting[0]->respond(hello, "hello");
  turn();
  std::string answer = receive();
  EXPECT_TRUE(answer.starts_with(kHello + kHello + "HTTP/1.1 400 Bad Request\r\n")) << answer;
  EXPECT_TRUE(closed);
}

TEST_F(ConnectionTest, unknown_path_and_method) {
  start(), open();
  send("GET /nope HTTP/1.1\r\nHost: x\r\n\r\nDELETE /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  std::string answer = receive();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 404 Not Found\r\n")) << answer;
  EXPECT_NE(answer.find("HTTP/1.1 405 Method Not Allowed\r\ncontent-type: application/json\r\nallow: POST\r\n"),
            answer.npos);
}

TEST_F(ConnectionTest, body_limit) {
  ServerOptions options;
  options.limits.max_body_bytes = 10;
  start(options), open();
  send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n");
  EXPECT_TRUE(receive().starts_with("HTTP/1.1 413 "));
  ::close(client);
  turn();
  open();
  send(
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
      "chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n");
  EXPECT_TRUE(receive().starts_with("HTTP/1.1 413 "));
}

TEST_F(ConnectionTest, expect_continue) {
  start(), open();
  send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(receive(), "HTTP/1.1 100 Continue\r\n\r\n");
  send("abc");
  EXPECT_TRUE(receive().ends_with("\r\n\r\nabc"));
}

TEST_F(ConnectionTest, http_1_0_closes_unless_asked) {
  start(), open();
  send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_NE(receive().find("connection: keep-alive\r\n"), std::string::npos);
  EXPECT_FALSE(closed);
  send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_NE(receive().find("connection: close\r\n"), std::string::npos);
  turn();
  receive();
  EXPECT_TRUE(closed);
}

TEST_F(ConnectionTest, half_close_after_the_request_still_answers) {
  start(), open();
  ASSERT_EQ(::send(client, kGet.data(), kGet.size(), 0), static_cast<ssize_t>(kGet.size()));
  ::shutdown(client, SHUT_WR);
  turn();
  EXPECT_EQ(receive(), kHello);
  EXPECT_TRUE(closed);
}

TEST_F(ConnectionTest, streamed_answers_are_chunked) {
  start();
  route("GET", "/stream", [](Transaction& tx) {
    tx.start(200, "text/plain", {});
    tx.write("abc");
    tx.write("");
    tx.write(std::string(20000, 'x'));
    tx.finish();
  });
  open();
  send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n" + kGet);
  EXPECT_EQ(
      receive(),
      "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4e20\r\n" +
          std::string(20000, 'x') + "\r\n0\r\n\r\n" + kHello);
}

TEST_F(ConnectionTest, streamed_answer_of_a_wrong_length_ends_the_connection) {
  start();
  route("GET", "/short", [](Transaction& tx) {
    HeaderField length{"content-length", "10"};
    tx.start(200, "text/plain", {&length, 1});
    tx.write("abc");
    tx.finish();
  });
  open();
  send("GET /short HTTP/1.1\r\nHost: x\r\n\r\n");
  turn();
  receive();
  receive();
  EXPECT_TRUE(closed);
}

TEST_F(ConnectionTest, slow_reader_holds_back_later_answers) {
  start();
  std::string big(200000, 'b');
  int calls = 0;
  route("GET", "/big", [&](Transaction& tx) {
    ++calls;
    tx.respond(hello, big);
  });
  open();
  std::string in;
  for (int i = 0; i < 20; ++i) in += "GET /big HTTP/1.1\r\nHost: x\r\n\r\n";
  send(in);
  EXPECT_LT(calls, 10);
  std::size_t got = 0;
  for (int i = 0; i < 5000 && calls < 20; ++i) got += receive().size(), turn();
  for (int i = 0; i < 200; ++i) got += receive().size(), turn();
  EXPECT_EQ(calls, 20);
  EXPECT_EQ(
      got,
      20 * (big.size() +
            std::string("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 200000\r\n\r\n").size()));
}

TEST_F(ConnectionTest, drain_closes_idle_connections_and_finishes_running_ones) {
  start(), open();
  send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
  bool emptied = false;
  server->drain([&] { emptied = true; });
  turn();
  EXPECT_FALSE(emptied);
  waiting[0]->respond(hello, "hello");
  turn();
  EXPECT_NE(receive().find("connection: close"), std::string::npos);
  EXPECT_TRUE(emptied);
}

TEST_F(ConnectionTest, options_star_and_absolute_form) {
  start(), open();
  send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\nGET http://y/ HTTP/1.1\r\nHost: y\r\n\r\n");
  EXPECT_EQ(receive(), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" + kHello);
}

TEST_F(ConnectionTest, timeouts) {
  ServerOptions options;
  options.limits.header_timeout_ms = 30;
  options.limits.keep_alive_ms = 60;
  start(options), open();
  send("GET / HT");
  for (int i = 0; i < 40; ++i) reactor.turn(2'000'000);
  EXPECT_TRUE(receive().starts_with("HTTP/1.1 408 "));
  EXPECT_TRUE(closed);
  ::close(client);
  closed = false;
  open();
  send(kGet);
  EXPECT_EQ(receive(), kHello);
  for (int i = 0; i < 100; ++i) reactor.turn(2'000'000);
  EXPECT_EQ(receive(), "");
  EXPECT_TRUE(closed);
}

}  // namespace
}  // namespace fasterapi::http

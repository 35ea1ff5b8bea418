// Session against a scripted server on a unix socket: login, pipelining, and every cut and mutation of its
// answers.
#include "connection/session.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <random>

#include "protocol/wire.hpp"

namespace fasterapi::pg {
namespace {

using namespace std::string_literals;

std::string u16(unsigned v) { return {static_cast<char>(v >> 8), static_cast<char>(v)}; }
std::string u32(std::uint32_t v) {
  std::string s(4, '\0');
  wire::put32(s.data(), v);
  return s;
}
std::string message(char type, const std::string& body) {
  return std::string(1, type) + u32(static_cast<std::uint32_t>(body.size() + 4)) + body;
}
std::string z(const std::string& s) { return s + '\0'; }

const std::string kLogin = message('R', u32(0)) + message('S', z("server_version") + z("15.1")) +
                           message('K', u32(77) + u32(1)) + message('Z', "I");
std::string error(const std::string& sqlstate, const std::string& severity = "ERROR") {
  return message('E', "S" + z(severity) + "V" + z(severity) + "C" + z(sqlstate) + "M" + z("bad") + "\0"s);
}
const std::string kColumn = message('t', u16(0)) + message('T', u16(1) + z("a") + u32(0) + u16(0) + u32(23) +
                                                                    u16(4) + u32(0xffffffff) + u16(1));
const std::string kRow = message('D', u16(1) + u32(4) + u32(5));
const std::string kAnswer =
    message('1', "") + kColumn + message('2', "") + kRow + kRow + message('C', z("SELECT 2")) + message('Z', "I");

class Query final : public Operation {
 public:
  int rows = 0, ended = 0;
  bool ok = false, lost = false;
  std::string tag;
  Failure why;
  void send(Session& s, Statement& statement) {
    const std::string* name = s.prepare(statement, *this, true);
    ASSERT_TRUE(name);
    std::uint16_t binary[] = {1};
    std::size_t mark = frontend::bind_begin(s.out(), "", *name, binary, 0);
    frontend::bind_end(s.out(), mark, binary);
    frontend::execute_and_sync(s.out());
    expect_executions(1);
    s.push(*this);
    s.flush_now();
  }

 private:
  bool on_row(std::string_view body) noexcept override {
    ++rows;
    return backend::data_row(body, 1);
  }
  void on_complete(std::string_view t, bool) noexcept override { tag = t; }
  void on_ready(Session&, char) noexcept override {
    ++ended;
    ok = !failed();
  }
  void on_lost(Session&, const Failure& f) noexcept override {
    ++ended;
    lost = true;
    why = f;
  }
};

class SessionTest : public testing::Test, public SessionListener {
 protected:
  SessionTest() {
    address_.text = "test";
    options_->hosts.push_back({"@test", "", 5432, {}});
    options_->user = "me";
    options_->database = "db";
  }
  ~SessionTest() override {
    if (peer_ >= 0) ::close(peer_);
  }
  /// The session on one end of a pair of sockets, the test on the other.
  void open(TlsUse tls = TlsUse::none) {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    ::fcntl(ends[1], F_SETFL, ::fcntl(ends[1], F_GETFL) & ~O_NONBLOCK);
    peer_ = ends[1];
    session_ = std::make_unique<Session>(reactor_, options_, this);
    session_->open(ends[0], address_, 0, tls);
    turns();
  }
  void turns(int n = 6) {
    for (int i = 0; i < n; ++i) reactor_.turn(0);
  }
  void answer(std::string_view bytes) {
    ASSERT_EQ(::send(peer_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    turns();
  }
  void hang_up() {
    if (peer_ >= 0) ::close(std::exchange(peer_, -1));
    turns();
  }
  std::string sent() {
    char buffer[65536];
    ssize_t n = ::recv(peer_, buffer, sizeof buffer, MSG_DONTWAIT);
    return n > 0 ? std::string(buffer, static_cast<std::size_t>(n)) : std::string();
  }
  void login() {
    open();
    answer(kLogin);
    ASSERT_TRUE(ready_);
    sent();
  }
  void on_session_ready(Session&) noexcept override { ready_ = true; }
  void on_session_closed(Session&, const Failure& why) noexcept override {
    closed_ = true;
    why_ = why;
  }
  void on_notification(Session&, std::uint32_t, std::string_view, std::string_view payload) noexcept override {
    payload_ = payload;
  }

  core::Reactor reactor_;
  Address address_;
  int peer_ = -1;
  std::shared_ptr<Options> options_ = std::make_shared<Options>();
  std::unique_ptr<Session> session_;
  bool ready_ = false, closed_ = false;
  Failure why_;
  std::string payload_;
};

TEST_F(SessionTest, trust_login) {
  login();
  EXPECT_EQ(session_->pid(), 77u);
  EXPECT_EQ(session_->parameter("server_version"), "15.1");
  EXPECT_EQ(session_->transaction_status(), 'I');
}

TEST_F(SessionTest, query_and_statement_cache) {
  login();
  StatementRef s(new Statement("SELECT 1"));
  Query a, b;
  a.send(*session_, *s);
  EXPECT_EQ(sent().substr(0, 1), "P");
  answer(kAnswer);
  EXPECT_TRUE(a.ok);
  EXPECT_EQ(a.rows, 2);
  EXPECT_EQ(a.tag, "SELECT 2");
  b.send(*session_, *s);
  EXPECT_EQ(sent().substr(0, 1), "D");  // no Parse: it is prepared
}

TEST_F(SessionTest, answers_of_a_pipeline_stay_apart) {
  login();
  StatementRef s(new Statement("SELECT 1")), t(new Statement("SELECT 2"));
  Query a, b;
  a.send(*session_, *s);
  b.send(*session_, *t);
  answer(error("42601") + message('Z', "I") + kAnswer);
  EXPECT_EQ(a.ended, 1);
  EXPECT_FALSE(a.ok);
  EXPECT_EQ(a.report().sqlstate(), "42601");
  EXPECT_TRUE(b.ok);
  EXPECT_EQ(session_->find(*s), nullptr);  // its Parse failed
  EXPECT_NE(session_->find(*t), nullptr);
}

TEST_F(SessionTest, every_chunking_of_an_answer_gives_the_same) {
  for (std::size_t size = 1; size <= kAnswer.size(); ++size) {
    ready_ = false;
    if (peer_ >= 0) ::close(peer_);
    login();
    StatementRef s(new Statement("SELECT 1"));
    Query q;
    q.send(*session_, *s);
    for (std::size_t at = 0; at < kAnswer.size(); at += size) answer(kAnswer.substr(at, size));
    EXPECT_TRUE(q.ok) << size;
    EXPECT_EQ(q.rows, 2);
    session_.reset();
  }
}

TEST_F(SessionTest, a_connection_cut_at_any_byte_ends_the_query_once) {
  for (std::size_t size = 0; size < kAnswer.size(); ++size) {
    ready_ = closed_ = false;
    login();
    StatementRef s(new Statement("SELECT 1"));
    Query q;
    q.send(*session_, *s);
    if (size) answer(kAnswer.substr(0, size));
    hang_up();
    EXPECT_EQ(q.ended, 1) << size;
    EXPECT_TRUE(q.lost);
    EXPECT_TRUE(closed_);
    EXPECT_EQ(why_.kind, Failure::Kind::lost);
    session_.reset();
  }
}

TEST_F(SessionTest, mutated_answers_never_crash_and_always_end) {
  std::mt19937 random(5);
  for (int round = 0; round < 1500; ++round) {
    ready_ = closed_ = false;
    login();
    StatementRef s(new Statement("SELECT 1"));
    Query q;
    q.send(*session_, *s);
    std::string bytes = kAnswer;
    for (unsigned n = 1 + random() % 3; n > 0; --n) bytes[random() % bytes.size()] = static_cast<char>(random());
    ::send(peer_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    turns(3);
    hang_up();
    EXPECT_EQ(q.ended, 1);
    session_.reset();
  }
}

TEST_F(SessionTest, mutated_logins_never_crash_and_always_end) {
  std::mt19937 random(6);
  options_->password = "secret";
  std::string logins[] = {
      kLogin, message('R', u32(10) + z("SCRAM-SHA-256") + "\0"s) + message('R', u32(11) + "r=x,s=AAAA,i=4096"),
      message('R', u32(5) + "salt") + kLogin, message('v', u32(3 << 16) + u32(0)) + kLogin,
      error("28P01", "FATAL")};
  for (int round = 0; round < 1500; ++round) {
    ready_ = closed_ = false;
    open();
    std::string bytes = logins[round % 5];
    for (unsigned n = random() % 4; n > 0; --n) bytes[random() % bytes.size()] = static_cast<char>(random());
    ::send(peer_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    turns(3);
    hang_up();
    EXPECT_TRUE(closed_);
    session_.reset();
  }
}

TEST_F(SessionTest, messages_out_of_order_are_refused) {
  const std::string bind = message('2', ""), parse = message('1', ""), ready = message('Z', "I"),
                    done = message('C', z("SELECT 0"));
  for (const std::string& bytes :
       {kRow, bind, done, ready, parse + bind, parse + kColumn + kRow, parse + kColumn + done,
        parse + kColumn + bind + ready, parse + parse, parse + kColumn + bind + bind,
        parse + kColumn + bind + done + done, kAnswer + ready, kAnswer + kRow, message('x', ""),
        parse + message('T', u16(0)), message('W', ""), parse + kColumn + bind + message('d', "x"),
        error("1") + kRow, error("1") + error("2")}) {
    ready_ = closed_ = false;
    login();
    StatementRef s(new Statement("SELECT 1"));
    Query q;
    q.send(*session_, *s);
    answer(bytes);
    EXPECT_TRUE(closed_);
    EXPECT_EQ(why_.kind, Failure::Kind::protocol);
    EXPECT_EQ(q.ended, 1);
    session_.reset();
    hang_up();
  }
}

TEST_F(SessionTest, fewer_fields_than_columns_end_the_connection) {
  login();
  StatementRef s(new Statement("SELECT 1"));
  Query q;
  q.send(*session_, *s);
  answer(message('1', "") + kColumn + message('2', "") + message('D', u16(0)));
  EXPECT_TRUE(closed_);
  EXPECT_EQ(why_.kind, Failure::Kind::protocol);
}

TEST_F(SessionTest, message_above_the_limit_ends_the_connection) {
  options_->max_message = 1000;
  login();
  StatementRef s(new Statement("SELECT 1"));
  Query q;
  q.send(*session_, *s);
  answer("D" + u32(1001));
  EXPECT_TRUE(closed_);
}

TEST_F(SessionTest, authentication_ok_without_the_scram_proof_is_refused) {
  options_->password = "secret";
  open();
  answer(message('R', u32(10) + z("SCRAM-SHA-256") + "\0"s));
  answer(kLogin);
  EXPECT_FALSE(ready_);
  EXPECT_TRUE(closed_);
  EXPECT_EQ(why_.kind, Failure::Kind::authentication);
}

TEST_F(SessionTest, sasl_messages_out_of_order_are_refused) {
  options_->password = "secret";
  for (const std::string& bytes :
       {message('R', u32(11) + "r=x"), message('R', u32(12) + "v=x"),
        message('R', u32(10) + z("SCRAM-SHA-256") + "\0"s) + message('R', u32(12) + "v=x"),
        message('R', u32(10) + z("OTHER") + "\0"s), message('Z', "I"), message('R', u32(99))}) {
    ready_ = closed_ = false;
    open();
    answer(bytes);
    EXPECT_TRUE(closed_);
    EXPECT_FALSE(ready_);
    session_.reset();
    hang_up();
  }
}

TEST_F(SessionTest, required_methods_fail_closed) {
  options_->password = "secret";
  options_->require_auth = kMethodScram;
  for (const std::string& bytes : {kLogin, message('R', u32(3)), message('R', u32(5) + "salt")}) {
    ready_ = closed_ = false;
    open();
    sent();
    answer(bytes);
    EXPECT_TRUE(closed_);
    EXPECT_FALSE(ready_);
    EXPECT_EQ(sent(), "");  // above all no password
    session_.reset();
    hang_up();
  }
}

TEST_F(SessionTest, channel_binding_required_fails_closed) {
  options_->password = "secret";
  options_->channel_binding = ChannelBinding::require;
  for (const std::string& bytes :
       {kLogin, message('R', u32(10) + z("SCRAM-SHA-256") + z("SCRAM-SHA-256-PLUS") + "\0"s)}) {
    ready_ = closed_ = false;
    open();
    answer(bytes);
    EXPECT_TRUE(closed_);
    EXPECT_EQ(why_.kind, Failure::Kind::authentication);
    session_.reset();
    hang_up();
  }
}

TEST_F(SessionTest, notices_and_notifications_between_anything) {
  login();
  StatementRef s(new Statement("SELECT 1"));
  Query q;
  q.send(*session_, *s);
  std::string notice = message('N', "S"s + z("NOTICE") + "M" + z("hi") + "\0"s);
  std::string note = message('A', u32(5) + z("c") + z("payload"));
  answer(message('1', "") + notice + kColumn + note + message('2', "") + kRow + notice +
         message('C', z("SELECT 1")) + note + message('Z', "I") + note);
  EXPECT_TRUE(q.ok);
  EXPECT_EQ(payload_, "payload");
}

TEST_F(SessionTest, fatal_error_reaches_the_query_with_its_fields) {
  login();
  StatementRef s(new Statement("SELECT 1"));
  Query q;
  q.send(*session_, *s);
  answer(error("57P01", "FATAL"));
  EXPECT_TRUE(q.lost);
  EXPECT_EQ(q.why.kind, Failure::Kind::server);
}

TEST_F(SessionTest, cache_closes_what_it_drops_ahead_of_the_next_parse) {
  options_->statement_cache_size = 1;
  login();
  StatementRef s(new Statement("SELECT 1")), t(new Statement("SELECT 2"));
  Query a, b;
  a.send(*session_, *s);
  answer(kAnswer);
  sent();
  b.send(*session_, *t);
  EXPECT_EQ(sent().substr(0, 1), "C");
  answer(message('3', "") + kAnswer);
  EXPECT_TRUE(b.ok);
  EXPECT_EQ(session_->find(*s), nullptr);
}

TEST_F(SessionTest, no_cache_means_unnamed_statements) {
  options_->statement_cache_size = 0;
  login();
  StatementRef s(new Statement("SELECT 1"));
  Query a;
  a.send(*session_, *s);
  EXPECT_EQ(sent().substr(5, 1), "\0"s);
  answer(kAnswer);
  EXPECT_TRUE(a.ok);
  EXPECT_EQ(session_->prepared(), 0u);
}

TEST_F(SessionTest, settings_cannot_change_who_we_are) {
  options_->settings = {{"user", "root"}, {"replication", "true"}, {"application_name", "x"}};
  open();
  std::string startup = sent();
  EXPECT_EQ(startup.find("root"), std::string::npos);
  EXPECT_EQ(startup.find("replication"), std::string::npos);
  EXPECT_NE(startup.find("application_name"), std::string::npos);
}

TEST_F(SessionTest, a_peer_that_leaves_before_the_login_is_a_connect_failure) {
  open();
  hang_up();
  EXPECT_TRUE(closed_);
  EXPECT_FALSE(ready_);
  EXPECT_EQ(why_.kind, Failure::Kind::connect);
}

TEST_F(SessionTest, graceful_close_says_terminate) {
  login();
  session_->close_gracefully();
  turns();
  EXPECT_EQ(sent(), "X\0\0\0\x04"s);
  EXPECT_TRUE(closed_);
  EXPECT_EQ(why_.kind, Failure::Kind::closed);
}

}  // namespace
}  // namespace fasterapi::pg

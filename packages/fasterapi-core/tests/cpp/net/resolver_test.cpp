#include <fasterapi/core/resolver.hpp>

#include <netinet/in.h>
#include <sys/wait.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "../stream/stream_harness.hpp"

namespace fasterapi::core::test {
namespace {

// A lookup that waits until the test lets it go.
class Gate {
 public:
  Resolution operator()(const std::string& host, int) {
    std::unique_lock lock(mutex_);
    ++calls_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    Resolution result;
    if (host.starts_with("bad")) {
      result.error = "Name or service not known";
      result.code = -2;
    } else {
      result.addresses = {*SocketAddress::numeric("127.0.0.7", 0)};
    }
    return result;
  }
  void open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_for_calls(int count) {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, std::chrono::seconds(5), [&] { return calls_ >= count; })) << calls_;
  }
  int calls() {
    std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
  int calls_ = 0;
};

class Resolving : public StreamTest {
 protected:
  explicit Resolving() {
    options.lookup = [this](const std::string& host, int family) { return gate(host, family); };
  }
  ~Resolving() override { gate.open(); }
  struct Answer {
    std::optional<Resolution> result;
    Resolver::Query query;
  };
  void ask(Answer& answer, const char* host, Nanos timeout = 0, std::uint16_t port = 80) {
    answer.query = resolver->resolve(
        reactor, host, port, [&answer](Resolution r) { answer.result = std::move(r); }, timeout);
    EXPECT_FALSE(answer.result) << "answered from within";
  }
  void make() { resolver = std::make_unique<Resolver>(options); }
  Gate gate;
  ResolverOptions options;
  std::unique_ptr<Resolver> resolver;
};

TEST_F(Resolving, numbers_are_answered_at_once) {
  make();
  auto now = resolver->resolve_now("192.0.2.1", 443);
  ASSERT_TRUE(now);
  EXPECT_EQ(now->addresses.at(0).text(), "192.0.2.1:443");
  EXPECT_EQ(resolver->resolve_now("::1", 80)->addresses.at(0).text(), "[::1]:80");
  EXPECT_EQ(resolver->resolve_now("fe80::1%lo", 80)->addresses.at(0).host(), "fe80::1%lo");
  EXPECT_FALSE(resolver->resolve_now("example.org", 80));
  EXPECT_FALSE(resolver->resolve_now("127.0.0.1", 80, AF_INET6)->error.empty());
  Answer answer;
  ask(answer, "192.0.2.1");
  ASSERT_TRUE(run([&] { return answer.result.has_value(); }));
  EXPECT_EQ(answer.result->addresses.at(0).text(), "192.0.2.1:80");
  EXPECT_EQ(gate.calls(), 0);
}

TEST_F(Resolving, addresses_have_texts) {
  EXPECT_EQ(SocketAddress::unix_path("/run/x")->text(), "/run/x");
  EXPECT_EQ(SocketAddress::unix_path("@abstract")->text(), "@abstract");
  EXPECT_FALSE(SocketAddress::unix_path(std::string(200, 'x')));
  EXPECT_FALSE(SocketAddress::unix_path(""));
  EXPECT_EQ(SocketAddress().text(), "no address");
  EXPECT_EQ(*SocketAddress::numeric("127.0.0.1", 1), *SocketAddress::numeric("127.0.0.1", 1));
  EXPECT_FALSE(*SocketAddress::numeric("127.0.0.1", 1) == *SocketAddress::numeric("127.0.0.1", 2));
  EXPECT_FALSE(SocketAddress::numeric("decaf.babe", 1));
  EXPECT_FALSE(SocketAddress::numeric("", 1));
}

TEST_F(Resolving, answers_on_the_reactors_thread) {
  make();
  gate.open();
  std::optional<std::thread::id> thread;
  auto query =
      resolver->resolve(reactor, "a.example", 80, [&](Resolution) { thread = std::this_thread::get_id(); });
  EXPECT_TRUE(query.pending());
  ASSERT_TRUE(run([&] { return thread.has_value(); }));
  EXPECT_EQ(thread, std::this_thread::get_id());
  EXPECT_FALSE(query.pending());
}

TEST_F(Resolving, equal_questions_share_one_lookup) {
  make();
  std::vector<Answer> answers(5);
  for (std::size_t i = 0; i < answers.size(); ++i)
    ask(answers[i], "a.example", 0, static_cast<std::uint16_t>(i + 1));
  gate.open();
  ASSERT_TRUE(run([&] { return answers.back().result.has_value(); }));
  for (std::size_t i = 0; i < answers.size(); ++i) {
    ASSERT_TRUE(answers[i].result);
    EXPECT_EQ(answers[i].result->addresses.at(0).text(), "127.0.0.7:" + std::to_string(i + 1));
  }
  EXPECT_EQ(gate.calls(), 1);
  EXPECT_EQ(resolver->stats().coalesced, 4u);
}

TEST_F(Resolving, answers_are_used_again_for_a_while) {
  options.ttl = 50 * kMs;
  make();
  gate.open();
  Answer first;
  ask(first, "a.example");
  ASSERT_TRUE(run([&] { return first.result.has_value(); }));
  auto again = resolver->resolve_now("a.example", 443);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->addresses.at(0).text(), "127.0.0.7:443");
  EXPECT_FALSE(resolver->resolve_now("a.example", 443, AF_INET6)) << "another question";
  resolver->forget("a.example");
  EXPECT_FALSE(resolver->resolve_now("a.example", 443));
  Answer second;
  ask(second, "a.example");
  ASSERT_TRUE(run([&] { return second.result.has_value(); }));
  EXPECT_EQ(gate.calls(), 2);
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  EXPECT_FALSE(resolver->resolve_now("a.example", 443)) << "too old";
}

TEST_F(Resolving, remembers_nothing_when_told_so_and_no_failures) {
  options.ttl = 0;
  make();
  gate.open();
  Answer first;
  ask(first, "a.example");
  ASSERT_TRUE(run([&] { return first.result.has_value(); }));
  EXPECT_FALSE(resolver->resolve_now("a.example", 80));
  options.ttl = 1000 * kMs;
  make();
  Answer bad;
  ask(bad, "bad.example");
  ASSERT_TRUE(run([&] { return bad.result.has_value(); }));
  EXPECT_FALSE(resolver->resolve_now("bad.example", 80));
}

TEST_F(Resolving, the_cache_is_bounded) {
  options.max_cached = 3;
  options.ttl = 10'000 * kMs;
  make();
  gate.open();
  for (int i = 0; i < 10; ++i) {
    Answer answer;
    ask(answer, ("host" + std::to_string(i)).c_str());
    ASSERT_TRUE(run([&] { return answer.result.has_value(); }));
  }
  int kept = 0;
  for (int i = 0; i < 10; ++i) kept += resolver->resolve_now("host" + std::to_string(i), 1).has_value();
  EXPECT_EQ(kept, 3);
  EXPECT_TRUE(resolver->resolve_now("host9", 1));
}

TEST_F(Resolving, errors_name_the_host_and_the_reason) {
  make();
  gate.open();
  Answer answer;
  ask(answer, "bad.example");
  ASSERT_TRUE(run([&] { return answer.result.has_value(); }));
  EXPECT_EQ(answer.result->error, "cannot resolve \"bad.example\": Name or service not known");
  EXPECT_EQ(answer.result->code, -2);
  EXPECT_FALSE(answer.result->timed_out);
  EXPECT_NE(resolver->resolve_now(std::string(300, 'x'), 80)->error.find("1 to 255 bytes"), std::string::npos);
  EXPECT_NE(resolver->resolve_now(std::string_view("a\0b", 3), 80)->error.find("zero byte"), std::string::npos);
  EXPECT_FALSE(resolver->resolve_now("", 80)->error.empty());
}

TEST_F(Resolving, a_question_has_a_time_limit) {
  make();
  Answer slow;
  ask(slow, "a.example", 30 * kMs);
  ASSERT_TRUE(run([&] { return slow.result.has_value(); }));
  EXPECT_EQ(slow.result->error, "cannot resolve \"a.example\": no answer within 30 ms");
  EXPECT_TRUE(slow.result->timed_out);
  gate.open();
  idle();
  EXPECT_TRUE(slow.result->timed_out) << "answered twice";
}

TEST_F(Resolving, nothing_arrives_after_cancelling) {
  make();
  int answers = 0;
  {
    auto query = resolver->resolve(reactor, "a.example", 80, [&](Resolution) { ++answers; });
    gate.wait_for_calls(1);
  }
  auto other = resolver->resolve(reactor, "a.example", 80, [&](Resolution) { answers += 100; });
  gate.open();
  ASSERT_TRUE(run([&] { return answers > 0; }));
  idle();
  EXPECT_EQ(answers, 100);
  // Given up when the answer is already on its way to the reactor.
  bool late = false;
  auto query = resolver->resolve(reactor, "127.0.0.1", 80, [&](Resolution) { late = true; });
  query.cancel();
  idle();
  EXPECT_FALSE(late);
}

TEST_F(Resolving, a_query_may_give_up_within_its_answer) {
  make();
  gate.open();
  std::optional<Resolver::Query> query;
  bool done = false;
  query = resolver->resolve(reactor, "a.example", 80, [&](Resolution) {
    query.reset();
    done = true;
  });
  ASSERT_TRUE(run([&] { return done; }));
}

TEST_F(Resolving, lookups_at_a_time_and_waiting_ones_are_bounded) {
  options.threads = 2;
  options.max_waiting = 3;
  make();
  std::vector<Answer> answers(6);
  ask(answers[0], "h0");
  ask(answers[1], "h1");
  gate.wait_for_calls(2);
  for (std::size_t i = 2; i < 6; ++i) ask(answers[i], ("h" + std::to_string(i)).c_str());
  ASSERT_TRUE(run([&] { return answers[5].result.has_value(); }));
  EXPECT_NE(answers[5].result->error.find("3 lookups are waiting already (max_waiting)"), std::string::npos)
      << answers[5].result->error;
  EXPECT_EQ(gate.calls(), 2);
  EXPECT_EQ(resolver->stats().threads, 2u);
  gate.open();
  ASSERT_TRUE(run([&] { return answers[2].result && answers[3].result && answers[4].result; }));
  EXPECT_TRUE(answers[4].result->error.empty());
}

TEST_F(Resolving, questions_that_nobody_waits_for_are_not_looked_up) {
  options.threads = 1;
  make();
  Answer first, given_up, last;
  ask(first, "h0");
  gate.wait_for_calls(1);
  ask(given_up, "h1");
  given_up.query.cancel();
  ask(last, "h2");
  gate.open();
  ASSERT_TRUE(run([&] { return last.result.has_value(); }));
  EXPECT_EQ(gate.calls(), 2);
}

TEST_F(Resolving, the_resolver_may_go_before_its_answers) {
  make();
  Answer answer;
  ask(answer, "a.example", 200 * kMs);
  gate.wait_for_calls(1);
  resolver.reset();
  gate.open();
  ASSERT_TRUE(run([&] { return answer.result.has_value(); }));
}

TEST_F(Resolving, the_reactor_may_go_once_its_queries_have) {
  make();
  {
    Reactor other;
    auto query = resolver->resolve(other, "a.example", 80, [](Resolution) { ADD_FAILURE(); });
    gate.wait_for_calls(1);
    query.cancel();
  }
  gate.open();
  Answer after;
  ask(after, "b.example");
  ASSERT_TRUE(run([&] { return after.result.has_value(); }));
}

TEST_F(Resolving, asks_the_system) {
  Answer answer;
  resolver = std::make_unique<Resolver>();
  ask(answer, "localhost", 5000 * kMs);
  ASSERT_TRUE(run([&] { return answer.result.has_value(); }));
  ASSERT_FALSE(answer.result->addresses.empty()) << answer.result->error;
  EXPECT_TRUE(answer.result->addresses[0].text() == "127.0.0.1:80" ||
              answer.result->addresses[0].text() == "[::1]:80");
  Answer none;
  ask(none, "no-such-host.invalid", 5000 * kMs);
  ASSERT_TRUE(run([&] { return none.result.has_value(); }));
  EXPECT_NE(none.result->error.find("cannot resolve \"no-such-host.invalid\": "), std::string::npos)
      << none.result->error;
}

TEST_F(Resolving, works_in_the_child_of_a_fork) {
  Answer answer;
  answer.query = Resolver::shared().resolve(
      reactor, "localhost", 80, [&](Resolution r) { answer.result = std::move(r); }, 5000 * kMs);
  ASSERT_TRUE(run([&] { return answer.result.has_value(); }));
  Resolver* const parents = &Resolver::shared();
  const pid_t child = ::fork();
  if (child == 0) {
    answer.query.cancel();
    Reactor own;
    bool done = false;
    auto query = Resolver::shared().resolve(
        own, "localhost", 80, [&](Resolution) { done = true; }, 5000 * kMs);
    for (int i = 0; i < 300 && !done; ++i) own.turn(20 * kMs);
    ::_exit(done && &Resolver::shared() != parents ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(ResolverThreads, many_questions_from_many_threads) {
  ResolverOptions options;
  options.ttl = 1 * kMs;
  options.lookup = [](const std::string&, int) {
    Resolution result;
    result.addresses = {*SocketAddress::numeric("127.0.0.1", 0)};
    return result;
  };
  Resolver resolver(options);
  std::atomic<int> answered{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      Reactor reactor;
      for (int i = 0; i < 500; ++i) {
        bool done = false;
        auto one = resolver.resolve(reactor, "h" + std::to_string(i % 7), 80, [&](Resolution) { done = true; });
        auto gone = resolver.resolve(reactor, "h" + std::to_string(i % 5), 80, [](Resolution) {});
        if (i % 2) gone.cancel();
        const Nanos end = monotonic_now() + 5000 * kMs;
        while (!done && monotonic_now() < end) reactor.turn(10 * kMs);
        answered += done;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(answered, 1500);
}

}  // namespace
}  // namespace fasterapi::core::test

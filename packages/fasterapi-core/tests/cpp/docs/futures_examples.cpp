// The programs of docs/futures.md: a Python test compares the two, this one runs them.
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include <fasterapi/core/deadline.hpp>
#include <fasterapi/core/future.hpp>

using namespace fasterapi::core;

namespace {

// [chain]
Future<std::string> greeting(Future<int> id) {
  return id
      .then([](int value) { return "user-" + std::to_string(value); })  // a value
      .then([](std::string name) { return make_ready(name + "!"); });   // or another future
}
// [end]

TEST(FuturesGuide, chain) {
  // [promise]
  Promise<int> promise;
  Future<std::string> text = greeting(promise.get_future());
  promise.set_value(7);  // runs the continuations before it returns
  EXPECT_EQ(text.get(), "user-7!");
  // [end]
}

TEST(FuturesGuide, errors) {
  // [errors]
  Future<int> safe = make_ready(1)
                         .then([](int) -> int { throw std::runtime_error("broken"); })
                         .then([](int value) { return value + 1; })  // passed by
                         .handle_error([](std::exception_ptr) { return -1; })
                         .finally([] { /* close what has to be closed */ });
  EXPECT_EQ(safe.get(), -1);
  // [end]
}

// [coroutine]
Future<int> sum(Future<int> left, Future<int> right) {
  co_return co_await std::move(left) + co_await std::move(right);
}
// [end]

TEST(FuturesGuide, several) {
  EXPECT_EQ(sum(make_ready(1), make_ready(2)).get(), 3);
  // [several]
  Promise<int> slow, fast;
  std::vector<Future<int>> both;
  both.push_back(slow.get_future());
  both.push_back(fast.get_future());
  Future<First<int>> first = when_any(std::move(both));
  fast.set_value(5);
  EXPECT_EQ(first.get().index, 1u);

  auto all = when_all(make_ready(1), make_ready(std::string("two")));
  auto [number, word] = all.get();  // ready futures: each has its value or its error
  EXPECT_EQ(number.get(), 1);
  EXPECT_EQ(word.get(), "two");
  // [end]
}

// [operation]
class Query {
 public:
  Future<int> start() {
    promise_.on_cancel(&stop_);
    return promise_.get_future();
  }
  void answered(int rows) { promise_.set_value(rows); }
  bool stopped = false;

 private:
  Promise<int> promise_;
  CancelHandler stop_{[](void* self) noexcept { static_cast<Query*>(self)->stopped = true; }, this};
};
// [end]

TEST(FuturesGuide, cancel) {
  Query query, other;
  // [cancel]
  CancellationSource source;
  Future<int> rows = query.start().then([](int count) { return count * 2; }).with(source.token());
  source.cancel();
  EXPECT_THROW(rows.get(), Cancelled);
  EXPECT_TRUE(query.stopped);
  // [end]
  // [deadline]
  Reactor reactor;
  Future<int> soon = with_deadline(other.start(), reactor, 2'000'000);  // 2 ms
  while (!soon.ready()) reactor.turn(-1);
  EXPECT_THROW(soon.get(), DeadlineExceeded);
  // [end]
}

TEST(FuturesGuide, request) {
  // [request]
  Reactor reactor;
  CancellationSource request;
  request.cancel_after(reactor, 5'000'000'000);   // the request's deadline: 5 s
  CancellationSource upstream(request.token());   // one part of it, which may be given up alone
  upstream.cancel_after(reactor, 1'000'000'000);  // and has 1 s
  Promise<int> answer;
  Future<int> waiting = answer.get_future().with(upstream.token());
  request.cancel();  // the client has gone
  EXPECT_THROW(waiting.get(), Cancelled);
  // [end]
}

TEST(FuturesGuide, threads) {
  // [threads]
  auto promise = Promise<int>::across_threads();
  Future<int> result = promise.get_future();
  std::thread worker([promise = std::move(promise)]() mutable { promise.set_value(42); });
  EXPECT_EQ(result.get_for(std::chrono::seconds(5)), 42);
  worker.join();
  // [end]
}

}  // namespace

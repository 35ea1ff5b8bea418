// Nothing grows: what the allocator has handed out is the same before and after many operations of each kind.
// FASTERAPI_GROWTH_OPERATIONS is how many (20,000 in a normal run, 1,000,000 in the long one).
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <fasterapi/core/cancellation.hpp>
#include <fasterapi/core/connection_pool.hpp>
#include <fasterapi/core/deadline.hpp>
#include <fasterapi/core/future.hpp>
#include <fasterapi/core/mpmc_queue.hpp>
#include <fasterapi/core/object_pool.hpp>
#include <fasterapi/core/queue.hpp>
#include <fasterapi/core/slice.hpp>
#include <fasterapi/core/spsc_queue.hpp>
#include <fasterapi/core/timer_wheel.hpp>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they have allocators of their own

namespace fasterapi::core {
namespace {

std::uint64_t operations() {
  const char* asked = std::getenv("FASTERAPI_GROWTH_OPERATIONS");
  return asked ? std::strtoull(asked, nullptr, 10) : 20'000;
}

void nothing_grows(const std::function<void(std::uint64_t)>& operation) {
  for (std::uint64_t i = 0; i < 2'000; ++i) operation(i);  // pools and recycled memory fill
  const auto before = mallinfo2();
  const std::uint64_t all = operations();
  for (std::uint64_t i = 0; i < all; ++i) operation(i);
  const auto after = mallinfo2();
  EXPECT_LE(after.uordblks + after.hblkhd, before.uordblks + before.hblkhd + 4096);
}

TEST(Growth, futures) {
  nothing_grows([](std::uint64_t i) {
    Promise<std::string> promise;
    auto future = promise.get_future()
                      .then([](std::string text) { return text + " and a text that is too long to be inside"; })
                      .then([i](std::string text) -> Future<std::string> {
                        if (i % 3 == 0) throw std::runtime_error("three");
                        return make_ready(std::move(text));
                      });
    if (i % 5 == 0) return;  // broken
    promise.set_value("value");
    if (i % 7 == 0) return;  // dropped
    if (future.failed() == (i % 3 != 0)) std::abort();
  });
}

TEST(Growth, futures_across_threads) {
  nothing_grows([](std::uint64_t i) {
    auto promise = Promise<int>::across_threads();
    auto future = promise.get_future().then([](int value) { return value + 1; });
    if (i % 3) promise.set_value(1);
  });
}

Future<int> wait_for(Future<int> value) { co_return co_await std::move(value) + 1; }

TEST(Growth, coroutines_and_joins) {
  nothing_grows([](std::uint64_t i) {
    Promise<int> one, two;
    std::vector<Future<int>> both;
    both.push_back(wait_for(one.get_future()));
    both.push_back(two.get_future());
    auto joined = i % 2 ? when_all(std::move(both)).then([](std::vector<Future<int>> done) { return done.size(); })
                        : when_any(std::move(both)).then([](First<int> first) { return first.index; });
    one.set_value(1);
    if (i % 3) two.set_value(2);
  });
}

TEST(Growth, cancellation_and_deadlines) {
  Reactor reactor;
  nothing_grows([&](std::uint64_t i) {
    CancellationSource source, child(source.token());
    child.cancel_after(reactor, 1'000'000'000);
    Promise<int> promise;
    auto future = with_deadline(promise.get_future().with(child.token()), reactor, 1'000'000'000);
    if (i % 2) source.cancel();
    if (i % 3) promise.set_value(1);
  });
}

TEST(Growth, pools_slabs_and_chains) {
  ObjectPool<std::string> objects;
  SlabPool slabs;
  nothing_grows([&](std::uint64_t i) {
    auto object = objects.make("a text that is too long to be inside the string");
    Chain chain;
    for (int k = 0; k < 20; ++k) chain.append(Slice::copied(slabs, std::string(100 + i % 3000, 'x')));
    chain.consume(i % 5000);
    Chain front = chain.take(1000);
    chain.linearize(slabs);
    front.append(std::move(chain));
  });
}

TEST(Growth, queues) {
  SpscQueue<std::unique_ptr<int>> spsc(16);
  MpscQueue<std::unique_ptr<int>> mpsc;
  MpmcQueue<std::unique_ptr<int>> mpmc(16);
  nothing_grows([&](std::uint64_t) {
    std::unique_ptr<int> value;
    for (int k = 0; k < 20; ++k) {
      spsc.try_push(std::make_unique<int>(k));
      mpsc.push(std::make_unique<int>(k));
      mpmc.try_push(std::make_unique<int>(k));
    }
    while (spsc.try_pop(value) || mpsc.pop(value) || mpmc.try_pop(value)) value.reset();
  });
}

TEST(Growth, timers) {
  TimerWheel wheel(0);
  std::int64_t now = 0;
  nothing_grows([&](std::uint64_t i) {
    auto timer = std::make_unique<Timer>([](void*) noexcept {}, nullptr);
    wheel.arm(*timer, now + static_cast<std::int64_t>(i % 100) * TimerWheel::kTick);
    wheel.advance(now += TimerWheel::kTick / 3);
  });
}

struct Wire {};
struct WireDriver final : ConnectionPool<Wire>::Driver {
  void open(ConnectionPool<Wire>& pool) noexcept override {
    if (++attempts % 10 == 0) return pool.open_failed(ECONNREFUSED, "refused by a text of some length");
    pool.opened(std::make_unique<Wire>());
  }
  bool healthy(Wire&, Nanos) noexcept override { return attempts % 7 != 0; }
  void close(std::unique_ptr<Wire>) noexcept override {}
  int attempts = 0;
};
struct WireWaiter final : ConnectionPool<Wire>::Waiter {
  void on_lease(ConnectionPool<Wire>::Lease given) noexcept override { lease = std::move(given); }
  void on_no_lease(int, const std::string&) noexcept override {}
  ConnectionPool<Wire>::Lease lease;
};

TEST(Growth, leases) {
  Reactor reactor;
  WireDriver driver;
  PoolOptions options;
  options.max_size = 3;
  ConnectionPool<Wire> pool(reactor, driver, options);
  nothing_grows([&](std::uint64_t i) {
    WireWaiter waiters[4];
    for (auto& waiter : waiters) pool.acquire(waiter, i % 3 ? 0 : reactor.now() + 1'000'000'000);
    reactor.turn(0);
    if (i % 4 == 0) waiters[0].lease.discard();
  });
}

}  // namespace
}  // namespace fasterapi::core
#endif

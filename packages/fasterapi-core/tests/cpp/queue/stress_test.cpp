// Eight threads on queues, pools and futures across threads at once, for ThreadSanitizer above all. Small here;
// FASTERAPI_STRESS=10000000 is the number of operations of each kind that the nightly run sets.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include <fasterapi/core/future.hpp>
#include <fasterapi/core/mpmc_queue.hpp>
#include <fasterapi/core/object_pool.hpp>
#include <fasterapi/core/queue.hpp>
#include <fasterapi/core/spsc_queue.hpp>

namespace fasterapi::core {
namespace {

constexpr int kThreads = 8;

std::uint64_t operations() {
  const char* asked = std::getenv("FASTERAPI_STRESS");
  return asked ? std::strtoull(asked, nullptr, 10) : 40'000;
}

template <class Work>
void in_threads(int count, Work work) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back([=] { work(i); });
  for (auto& thread : threads) thread.join();
}

TEST(Stress, mpmc_among_eight_threads) {
  const std::uint64_t each = operations() / kThreads;
  MpmcQueue<std::unique_ptr<std::uint64_t>> queue(256);
  std::atomic<std::uint64_t> sum{0}, taken{0};
  in_threads(kThreads, [&](int self) {
    std::uint64_t pushed = 0, mine = 0;
    while (pushed < each || taken.load(std::memory_order_relaxed) < each * kThreads) {
      if (pushed < each && queue.try_push(std::make_unique<std::uint64_t>(self * each + pushed))) ++pushed;
      std::unique_ptr<std::uint64_t> value;
      if (queue.try_pop(value)) {
        mine += *value;
        taken.fetch_add(1, std::memory_order_relaxed);
      } else if (pushed == each) {
        std::this_thread::yield();
      }
    }
    sum.fetch_add(mine);
  });
  const std::uint64_t all = each * kThreads;
  EXPECT_EQ(sum.load(), all * (all - 1) / 2);
}

TEST(Stress, mpsc_and_spsc_from_seven_threads_to_one) {
  const std::uint64_t each = operations() / kThreads;
  MpscQueue<std::pair<int, std::uint64_t>> shared;
  std::vector<std::unique_ptr<SpscQueue<std::uint64_t>>> own;
  for (int i = 1; i < kThreads; ++i) own.push_back(std::make_unique<SpscQueue<std::uint64_t>>(64));
  in_threads(kThreads, [&](int self) {
    if (self > 0) {
      for (std::uint64_t i = 0; i < each; ++i) {
        shared.push({self, i});
        while (!own[static_cast<std::size_t>(self - 1)]->try_push(std::uint64_t{i})) std::this_thread::yield();
      }
      return;
    }
    std::uint64_t left = 2 * each * (kThreads - 1);
    std::vector<std::uint64_t> next_shared(kThreads), next_own(kThreads);
    while (left) {
      std::pair<int, std::uint64_t> value;
      bool idle = true;
      if (shared.pop(value)) {
        ASSERT_EQ(value.second, next_shared[static_cast<std::size_t>(value.first)]++);
        --left;
        idle = false;
      }
      for (std::size_t i = 0; i < own.size(); ++i) {
        std::uint64_t number;
        if (!own[i]->try_pop(number)) continue;
        ASSERT_EQ(number, next_own[i]++);
        --left;
        idle = false;
      }
      if (idle) std::this_thread::yield();
    }
  });
}

TEST(Stress, objects_of_one_pool_are_given_back_by_seven_threads) {
  const std::uint64_t all = operations();
  struct Object {
    explicit Object(std::uint64_t number) : number(number) {}
    std::uint64_t number;
  };
  MpmcQueue<Object*> on_the_way(128);
  std::atomic<bool> end{false};
  std::atomic<std::uint64_t> sum{0};
  in_threads(kThreads, [&](int self) {
    static ObjectPool<Object>* pool = nullptr;
    static std::atomic<int> ready{0};
    if (self == 0) {
      ObjectPool<Object> mine(256);
      pool = &mine;
      ready.store(1, std::memory_order_release);
      for (std::uint64_t i = 0; i < all; ++i) {
        Object* object = mine.acquire(i);
        while (!on_the_way.try_push(std::move(object))) std::this_thread::yield();
      }
      while (mine.statistics().in_use) {
        mine.trim(256);  // collects what has come back
        std::this_thread::yield();
      }
      EXPECT_LE(mine.statistics().idle, 256u);
      end.store(true, std::memory_order_release);
      ready.store(0);
      return;
    }
    while (!ready.load(std::memory_order_acquire) && !end.load()) std::this_thread::yield();
    while (!end.load(std::memory_order_acquire)) {
      Object* object;
      if (on_the_way.try_pop(object)) {
        sum.fetch_add(object->number, std::memory_order_relaxed);
        pool->release(object);
      } else {
        std::this_thread::yield();
      }
    }
  });
  EXPECT_EQ(sum.load(), all * (all - 1) / 2);
}

TEST(Stress, futures_across_eight_threads) {
  const std::uint64_t each = operations() / kThreads / 4;
  std::vector<std::unique_ptr<MpmcQueue<std::unique_ptr<Promise<std::uint64_t>>>>> inbox;
  for (int i = 0; i < kThreads; ++i)
    inbox.push_back(std::make_unique<MpmcQueue<std::unique_ptr<Promise<std::uint64_t>>>>(64));
  std::atomic<int> asking{kThreads};
  std::atomic<std::uint64_t> broken{0};
  in_threads(kThreads, [&](int self) {  // each asks its neighbour, and answers
    auto answer = [&](bool one) {
      std::unique_ptr<Promise<std::uint64_t>> promise;
      for (std::uint64_t n = 0; inbox[static_cast<std::size_t>(self)]->try_pop(promise); ++n) {
        if (n % 16 == 15) {
          promise.reset();  // broken
        } else {
          promise->set_value(n);
        }
        if (one) return;
      }
    };
    auto& neighbour = *inbox[static_cast<std::size_t>((self + 1) % kThreads)];
    for (std::uint64_t i = 0; i < each; ++i) {
      auto promise = std::make_unique<Promise<std::uint64_t>>(Promise<std::uint64_t>::across_threads());
      auto future = promise->get_future();
      if (i % 5 == 0) future = future.then([](std::uint64_t value) { return value + 1; });
      while (!neighbour.try_push(std::move(promise))) answer(false);
      if (i % 7 == 0) continue;  // nobody waits for this one
      while (!future.ready()) {
        answer(true);
        std::this_thread::yield();
      }
      broken.fetch_add(future.failed(), std::memory_order_relaxed);
    }
    asking.fetch_sub(1);
    while (asking.load()) {
      answer(false);
      std::this_thread::yield();
    }
    answer(false);
  });
  EXPECT_LE(broken.load(), each * kThreads);
}

}  // namespace
}  // namespace fasterapi::core

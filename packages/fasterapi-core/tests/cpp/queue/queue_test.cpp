// The queues on real threads; run under ThreadSanitizer too.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <fasterapi/core/mpmc_queue.hpp>
#include <fasterapi/core/queue.hpp>
#include <fasterapi/core/spsc_queue.hpp>

namespace fasterapi::core {
namespace {

constexpr int kItems = 50'000;

TEST(SpscQueue, is_full_at_its_capacity_and_leaves_the_value_alone) {
  SpscQueue<std::unique_ptr<int>> queue(3);
  EXPECT_EQ(queue.capacity(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(queue.try_push(std::make_unique<int>(i)));
  auto extra = std::make_unique<int>(9);
  EXPECT_FALSE(queue.try_push(std::move(extra)));
  EXPECT_NE(extra, nullptr);
  std::unique_ptr<int> out;
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(queue.try_pop(out));
    EXPECT_EQ(*out, i);
  }
  EXPECT_FALSE(queue.try_pop(out));
  EXPECT_EQ(queue.size(), 0u);
}

TEST(SpscQueue, hands_values_over_between_threads_in_order) {
  SpscQueue<int> queue(64);
  std::thread producer([&] {
    for (int i = 0; i < kItems; ++i) {
      while (!queue.try_push(int{i})) std::this_thread::yield();
    }
  });
  for (int i = 0, value; i < kItems; ++i) {
    while (!queue.try_pop(value)) std::this_thread::yield();
    ASSERT_EQ(value, i);
  }
  producer.join();
}

TEST(MpscQueue, is_fifo_and_frees_what_is_left) {
  MpscQueue<std::unique_ptr<int>> queue;
  std::unique_ptr<int> out;
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.pop(out));
  for (int i = 0; i < 5; ++i) queue.push(std::make_unique<int>(i));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(queue.pop(out));
    EXPECT_EQ(*out, i);
  }
  EXPECT_FALSE(queue.empty());
}

TEST(MpscQueue, is_fifo_for_each_of_many_producers) {
  MpscQueue<std::pair<int, int>> queue;
  std::vector<std::thread> producers;
  for (int p = 0; p < 4; ++p) {
    producers.emplace_back([&, p] { for (int i = 0; i < kItems / 4; ++i) queue.push({p, i}); });
  }
  int next[4] = {}, count = 0;
  std::pair<int, int> value;
  while (count < kItems / 4 * 4) {
    if (!queue.pop(value)) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(value.second, next[value.first]++);
    ++count;
  }
  for (auto& producer : producers) producer.join();
  EXPECT_TRUE(queue.empty());
}

TEST(MpmcQueue, is_full_at_its_capacity_and_leaves_the_value_alone) {
  MpmcQueue<std::unique_ptr<int>> queue(2);
  EXPECT_TRUE(queue.try_push(std::make_unique<int>(0)));
  EXPECT_TRUE(queue.try_push(std::make_unique<int>(1)));
  auto extra = std::make_unique<int>(9);
  EXPECT_FALSE(queue.try_push(std::move(extra)));
  EXPECT_NE(extra, nullptr);
  EXPECT_EQ(queue.size(), 2u);
  std::unique_ptr<int> out;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(queue.try_pop(out));
    EXPECT_EQ(*out, i);
  }
  EXPECT_FALSE(queue.try_pop(out));
}

TEST(MpmcQueue, loses_and_doubles_nothing_among_many_threads) {
  MpmcQueue<int> queue(128);
  std::vector<std::atomic<int>> seen(kItems);
  std::atomic<int> taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = t; i < kItems; i += 3) {
        while (!queue.try_push(int{i})) std::this_thread::yield();
      }
    });
    threads.emplace_back([&] {
      int value;
      while (taken.load() < kItems) {
        if (!queue.try_pop(value)) {
          std::this_thread::yield();
          continue;
        }
        seen[static_cast<std::size_t>(value)].fetch_add(1);
        taken.fetch_add(1);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (auto& count : seen) ASSERT_EQ(count.load(), 1);
}

}  // namespace
}  // namespace fasterapi::core

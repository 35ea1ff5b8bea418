#include <fasterapi/core/object_pool.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace fasterapi::core {
namespace {

TEST(ObjectPool, reuses_the_memory_of_what_was_released) {
  ObjectPool<std::string> pool;
  std::string* first = pool.acquire("one");
  pool.release(first);
  std::string* second = pool.acquire("two");
  EXPECT_EQ(static_cast<void*>(first), static_cast<void*>(second));
  EXPECT_EQ(*second, "two");
  pool.release(second);
  EXPECT_EQ(pool.statistics().allocated, 1u);
  EXPECT_EQ(pool.statistics().reused, 1u);
  EXPECT_EQ(pool.statistics().in_use, 0u);
  EXPECT_EQ(pool.statistics().idle, 1u);
}

TEST(ObjectPool, keeps_no_more_than_its_bound) {
  ObjectPool<int> pool(2);
  std::vector<int*> taken;
  for (int i = 0; i < 5; ++i) taken.push_back(pool.acquire(i));
  for (int* object : taken) pool.release(object);
  EXPECT_EQ(pool.statistics().idle, 2u);
  EXPECT_EQ(pool.statistics().freed, 3u);
  pool.trim(0);
  EXPECT_EQ(pool.statistics().idle, 0u);
}

TEST(ObjectPool, a_pointer_gives_itself_back) {
  ObjectPool<std::string> pool;
  { auto pointer = pool.make("text"); }
  EXPECT_EQ(pool.statistics().idle, 1u);
}

TEST(ObjectPool, a_constructor_that_throws_loses_nothing) {
  struct Picky {
    explicit Picky(bool fail) {
      if (fail) throw std::runtime_error("no");
    }
  };
  ObjectPool<Picky> pool;
  EXPECT_THROW(pool.acquire(true), std::runtime_error);
  EXPECT_EQ(pool.statistics().in_use, 0u);
  EXPECT_EQ(pool.statistics().idle, 1u);
  pool.release(pool.acquire(false));
}

TEST(ObjectPool, keeps_the_alignment_of_its_objects) {
  struct alignas(128) Wide {
    char byte;
  };
  ObjectPool<Wide> pool;
  auto one = pool.make(), two = pool.make();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(one.get()) % 128, 0u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(two.get()) % 128, 0u);
}

TEST(ObjectPool, other_threads_give_back_and_the_owner_collects) {
  ObjectPool<std::string> pool(1000);
  std::vector<std::string*> taken;
  for (int i = 0; i < 200; ++i) taken.push_back(pool.acquire("a text that is too long for the object itself"));
  std::thread one([&] { for (int i = 0; i < 100; ++i) pool.release(taken[i]); });
  std::thread two([&] { for (int i = 100; i < 200; ++i) pool.release(taken[i]); });
  one.join();
  two.join();
  for (int i = 0; i < 200; ++i) taken[i] = pool.acquire("again");
  EXPECT_EQ(pool.statistics().allocated, 200u);
  EXPECT_EQ(pool.statistics().in_use, 200u);
  for (auto* object : taken) pool.release(object);
}

TEST(ObjectPool, objects_may_travel_between_threads_for_long) {
  constexpr int kRounds = 20'000;
  ObjectPool<std::uint64_t> pool(64);
  std::atomic<std::uint64_t*> box{nullptr};
  std::uint64_t sum = 0;
  std::thread other([&] {
    for (int i = 0; i < kRounds; ++i) {
      std::uint64_t* object;
      while (!(object = box.exchange(nullptr, std::memory_order_acquire))) std::this_thread::yield();
      sum += *object;
      pool.release(object);
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    auto* object = pool.acquire(static_cast<std::uint64_t>(i));
    std::uint64_t* empty = nullptr;
    while (!box.compare_exchange_weak(empty, object, std::memory_order_release)) {
      empty = nullptr;
      std::this_thread::yield();
    }
  }
  other.join();
  EXPECT_EQ(sum, std::uint64_t{kRounds} * (kRounds - 1) / 2);
  EXPECT_LE(pool.statistics().allocated, static_cast<std::uint64_t>(kRounds));
}

#ifndef NDEBUG
TEST(ObjectPoolDeathTest, an_object_that_outlives_its_pool_aborts) {
  EXPECT_DEATH({ ObjectPool<int> pool; pool.acquire(1); }, "outlives its pool");
}
#endif

}  // namespace
}  // namespace fasterapi::core

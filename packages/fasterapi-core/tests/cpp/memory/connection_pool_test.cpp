#include <fasterapi/core/connection_pool.hpp>

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <set>

namespace fasterapi::core {
namespace {

constexpr Nanos kMs = 1'000'000;

struct Connection {
  int id;
  bool healthy = true;
};
using Pool = ConnectionPool<Connection>;

struct TestDriver final : Pool::Driver {
  void open(Pool& pool) noexcept override {
    ++attempts;
    if (manual) {
      ++pending;
    } else if (refuse) {
      pool.open_failed(ECONNREFUSED, "refused");
    } else {
      pool.opened(std::make_unique<Connection>(Connection{next++}));
    }
  }
  bool healthy(Connection& connection, Nanos idle) noexcept override {
    last_idle = idle;
    return connection.healthy;
  }
  void close(std::unique_ptr<Connection> connection) noexcept override { closed.push_back(connection->id); }
  void answer(Pool& pool) {
    --pending;
    pool.opened(std::make_unique<Connection>(Connection{next++}));
  }
  bool manual = false, refuse = false;
  int attempts = 0, pending = 0, next = 0;
  Nanos last_idle = -1;
  std::vector<int> closed;
};

struct Client final : Pool::Waiter {
  void on_lease(Pool::Lease given) noexcept override {
    lease = std::move(given);
    if (order) order->push_back(this);
  }
  void on_no_lease(int failure, const std::string& why) noexcept override {
    error = failure;
    text = why;
  }
  Pool::Lease lease;
  int error = 0;
  std::string text;
  std::vector<Client*>* order = nullptr;
};

class PoolTest : public testing::Test {
 protected:
  bool run(const std::function<bool()>& done) {
    for (int i = 0; i < 500 && !done(); ++i) reactor.turn(10 * kMs);
    return done();
  }
  Reactor reactor;
  TestDriver driver;
  PoolOptions options;
};

TEST_F(PoolTest, opens_on_demand_and_reuses_without_suspension) {
  Pool pool(reactor, driver, options);
  EXPECT_FALSE(pool.try_acquire());
  Client client;
  pool.acquire(client, 0);
  ASSERT_TRUE(run([&] { return static_cast<bool>(client.lease); }));
  EXPECT_EQ(client.lease->id, 0);
  client.lease.release();
  auto lease = pool.try_acquire();
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease->id, 0);
  EXPECT_FALSE(pool.try_acquire());
  EXPECT_EQ(driver.attempts, 1);
  EXPECT_EQ(pool.statistics().acquired, 2u);
}

TEST_F(PoolTest, keeps_its_minimum_ready) {
  options.min_size = 3;
  Pool pool(reactor, driver, options);
  pool.start();
  EXPECT_EQ(pool.statistics().idle, 3u);
  auto lease = pool.try_acquire();
  lease.discard();
  EXPECT_EQ(driver.closed.size(), 1u);
  EXPECT_EQ(pool.size(), 3u);
}

TEST_F(PoolTest, never_opens_more_than_its_maximum) {
  options.max_size = 2;
  driver.manual = true;
  Pool pool(reactor, driver, options);
  Client clients[5];
  for (auto& client : clients) pool.acquire(client, 0);
  EXPECT_EQ(driver.attempts, 2);
  driver.answer(pool);
  driver.answer(pool);
  reactor.turn(0);
  EXPECT_TRUE(clients[0].lease && clients[1].lease);
  EXPECT_FALSE(clients[2].lease);
  EXPECT_EQ(driver.attempts, 2);
  EXPECT_EQ(pool.statistics().waiting, 3u);
}

TEST_F(PoolTest, serves_waiters_first_come_first_served_and_nobody_overtakes) {
  options.max_size = 1;
  Pool pool(reactor, driver, options);
  Client holder;
  pool.acquire(holder, 0);
  ASSERT_TRUE(run([&] { return static_cast<bool>(holder.lease); }));
  std::vector<Client*> order;
  Client clients[4];
  for (auto& client : clients) {
    client.order = &order;
    pool.acquire(client, 0);
  }
  holder.lease.release();
  EXPECT_FALSE(pool.try_acquire()) << "overtook those who wait";
  for (int i = 0; i < 4; ++i) {
    reactor.turn(0);
    ASSERT_EQ(order.size(), static_cast<std::size_t>(i) + 1);
    EXPECT_EQ(order.back(), &clients[i]);
    clients[i].lease.release();
  }
  EXPECT_EQ(pool.statistics().waited, 5u);
}

TEST_F(PoolTest, a_waiter_gives_up_at_its_deadline) {
  driver.manual = true;
  Pool pool(reactor, driver, options);
  Client client;
  pool.acquire(client, monotonic_now() + 5 * kMs);
  ASSERT_TRUE(run([&] { return client.error != 0; }));
  EXPECT_EQ(client.error, ETIMEDOUT);
  EXPECT_EQ(pool.statistics().timed_out, 1u);
  driver.answer(pool);
  reactor.turn(0);
  EXPECT_FALSE(client.lease);
  EXPECT_EQ(pool.statistics().idle, 1u);
}

TEST_F(PoolTest, a_waiter_that_goes_away_costs_nobody_a_connection) {
  options.max_size = 1;
  driver.manual = true;
  Pool pool(reactor, driver, options);
  auto first = std::make_unique<Client>();
  Client second;
  pool.acquire(*first, 0);
  pool.acquire(second, 0);
  driver.answer(pool);
  first.reset();
  reactor.turn(0);
  EXPECT_TRUE(second.lease);
  EXPECT_EQ(pool.statistics().cancelled, 1u);
}

TEST_F(PoolTest, closes_what_is_not_healthy_and_opens_anew) {
  Pool pool(reactor, driver, options);
  Client client;
  pool.acquire(client, 0);
  ASSERT_TRUE(run([&] { return static_cast<bool>(client.lease); }));
  client.lease->healthy = false;
  client.lease.release();
  EXPECT_FALSE(pool.try_acquire());
  EXPECT_EQ(driver.closed, (std::vector<int>{0}));
  pool.acquire(client, 0);
  ASSERT_TRUE(run([&] { return static_cast<bool>(client.lease); }));
  EXPECT_EQ(client.lease->id, 1);
  EXPECT_EQ(pool.statistics().closed_unhealthy, 1u);
}

TEST_F(PoolTest, a_failed_attempt_tells_the_one_who_waits_why) {
  driver.refuse = true;
  Pool pool(reactor, driver, options);
  Client clients[3];
  for (auto& client : clients) {
    pool.acquire(client, 0);
    EXPECT_EQ(client.error, 0) << "called while the pool is on the stack";
  }
  reactor.turn(0);
  for (auto& client : clients) {
    EXPECT_EQ(client.error, ECONNREFUSED);
    EXPECT_EQ(client.text, "refused");
  }
  EXPECT_EQ(driver.attempts, 3);
}

TEST_F(PoolTest, tries_again_for_its_minimum_with_growing_pauses) {
  options.min_size = 2;
  options.retry_after = 3 * kMs;
  driver.refuse = true;
  Pool pool(reactor, driver, options);
  pool.start();
  EXPECT_LE(driver.attempts, 2);
  const int before = driver.attempts;
  ASSERT_TRUE(run([&] { return driver.attempts > before + 1; }));
  driver.refuse = false;
  ASSERT_TRUE(run([&] { return pool.statistics().idle == 2; }));
  EXPECT_LT(driver.attempts, 20);
}

TEST_F(PoolTest, replaces_connections_that_are_too_old) {
  options.min_size = 1;
  options.max_age = 20 * kMs;
  options.age_jitter = 0.5;
  Pool pool(reactor, driver, options);
  pool.start();
  ASSERT_TRUE(run([&] { return !driver.closed.empty() && pool.statistics().idle == 1; }));
  EXPECT_GE(pool.statistics().closed_age, 1u);
  auto lease = pool.try_acquire();
  ASSERT_TRUE(lease);
  const int id = lease->id;
  const Nanos end = monotonic_now() + 30 * kMs;
  while (monotonic_now() < end) reactor.turn(5 * kMs);
  lease.release();  // too old by now: it does not come back
  EXPECT_EQ(driver.closed.back(), id);
}

TEST_F(PoolTest, closes_what_is_idle_for_long_down_to_its_minimum) {
  options.min_size = 1;
  options.max_idle = 10 * kMs;
  Pool pool(reactor, driver, options);
  Client clients[4];
  for (auto& client : clients) pool.acquire(client, 0);
  ASSERT_TRUE(run([&] { return static_cast<bool>(clients[3].lease); }));
  for (auto& client : clients) client.lease.release();
  EXPECT_EQ(pool.statistics().idle, 4u);
  ASSERT_TRUE(run([&] { return pool.statistics().idle == 1; }));
  for (int i = 0; i < 5; ++i) reactor.turn(5 * kMs);
  EXPECT_EQ(pool.statistics().idle, 1u);
  EXPECT_EQ(pool.statistics().closed_idle, 3u);
}

TEST_F(PoolTest, refuses_when_too_many_wait) {
  options.max_waiting = 2;
  driver.manual = true;
  Pool pool(reactor, driver, options);
  Client clients[3];
  for (auto& client : clients) pool.acquire(client, 0);
  reactor.turn(0);
  EXPECT_EQ(clients[2].error, EAGAIN);
  EXPECT_TRUE(clients[0].waiting() && clients[1].waiting());
}

TEST_F(PoolTest, closing_fails_waiters_and_completes_with_the_last_lease) {
  options.max_size = 1;
  Pool pool(reactor, driver, options);
  Client holder, waiter, late;
  pool.acquire(holder, 0);
  ASSERT_TRUE(run([&] { return static_cast<bool>(holder.lease); }));
  pool.acquire(waiter, 0);
  bool done = false;
  pool.close([&] { done = true; });
  reactor.turn(0);
  EXPECT_EQ(waiter.error, ESHUTDOWN);
  pool.acquire(late, 0);
  reactor.turn(0);
  EXPECT_EQ(late.error, ESHUTDOWN);
  EXPECT_FALSE(pool.try_acquire());
  EXPECT_FALSE(done);
  holder.lease.release();
  EXPECT_TRUE(done);
  EXPECT_EQ(driver.closed.size(), 1u);
}

TEST_F(PoolTest, closing_waits_for_attempts_that_are_under_way) {
  driver.manual = true;
  Pool pool(reactor, driver, options);
  Client client;
  pool.acquire(client, 0);
  bool done = false;
  pool.close([&] { done = true; });
  EXPECT_FALSE(done);
  driver.answer(pool);
  EXPECT_TRUE(done);
  EXPECT_EQ(driver.closed.size(), 1u);
}

#ifndef NDEBUG
TEST_F(PoolTest, a_lease_that_outlives_its_pool_aborts) {
  EXPECT_DEATH(
      {
        auto pool = std::make_unique<Pool>(reactor, driver, options);
        pool->start();
        Client client;
        pool->acquire(client, 0);
        reactor.turn(0);
        pool.reset();
      },
      "outlives its pool");
}
#endif

// 10,000 waiters that come, give up, break and give back at random: nothing is lost, and the size stays right.
TEST_F(PoolTest, random_use_loses_no_lease) {
  options.max_size = 5;
  options.min_size = 2;
  options.max_waiting = 1000;
  driver.manual = true;
  Pool pool(reactor, driver, options);
  std::mt19937 random(11);
  std::vector<std::unique_ptr<Client>> clients;
  int started = 0;
  while (started < 10'000 || !clients.empty()) {
    if (started < 10'000 && random() % 2) {
      clients.push_back(std::make_unique<Client>());
      pool.acquire(*clients.back(), random() % 8 ? 0 : monotonic_now() + static_cast<Nanos>(random() % kMs));
      ++started;
    }
    if (driver.pending && random() % 3 == 0) {
      if (random() % 10) {
        driver.answer(pool);
      } else {
        --driver.pending;
        pool.open_failed(ECONNREFUSED, "no");
      }
    }
    if (!clients.empty() && random() % 2) {
      const std::size_t i = random() % clients.size();
      if (clients[i]->lease) {
        if (random() % 20 == 0) {
          clients[i]->lease.discard();
        } else if (random() % 20 == 0) {
          clients[i]->lease->healthy = false;
        }
        clients.erase(clients.begin() + static_cast<std::ptrdiff_t>(i));
      } else if (clients[i]->error || random() % 10 == 0) {
        clients.erase(clients.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
    if (random() % 4 == 0) reactor.turn(0);
    ASSERT_LE(pool.size(), 5u);
    std::set<int> held;
    for (auto& client : clients) {
      if (!client->lease) continue;
      ASSERT_TRUE(held.insert(client->lease->id).second) << "leased twice";
    }
    ASSERT_EQ(pool.statistics().leased, held.size());
  }
  EXPECT_EQ(pool.statistics().leased, 0u);
  EXPECT_EQ(pool.statistics().waiting, 0u);
  EXPECT_EQ(static_cast<std::size_t>(driver.next), driver.closed.size() + pool.statistics().idle);
}

}  // namespace
}  // namespace fasterapi::core

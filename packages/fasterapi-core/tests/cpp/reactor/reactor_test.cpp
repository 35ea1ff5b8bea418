// What every backend has to do, over each backend that this machine has.
#include <fasterapi/core/reactor.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <fasterapi/core/error.hpp>

#include "../support/sockets.hpp"
#include "backends_under_test.hpp"
#include "handlers.hpp"

namespace fasterapi::core::test {
namespace {

class ReactorBehaviour : public testing::TestWithParam<BackendUnderTest> {
 protected:
  Reactor reactor{GetParam()()};
  Nanos elapsed(const std::function<void()>& call) {
    const Nanos before = monotonic_now();
    call();
    return monotonic_now() - before;
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, ReactorBehaviour, testing::ValuesIn(backends_under_test()), label_of);

TEST(MakeBackend, refuses_a_name_that_it_does_not_know) { EXPECT_THROW(make_backend("abacus"), Error); }

TEST_P(ReactorBehaviour, is_the_backend_that_was_asked_for) {
  EXPECT_EQ(reactor.backend_name(), GetParam().name);
  EXPECT_EQ(reactor.descriptors(), 0u);
}

// ---- descriptors

TEST_P(ReactorBehaviour, reports_what_is_readable_for_as_long_as_it_is) {
  Pair pair;
  Handler handler;
  ASSERT_EQ(reactor.add(pair.ends[0], kReadable, &handler), 0);
  reactor.turn(0);
  EXPECT_EQ(handler.calls, 0);
  pair.send(1);
  reactor.turn(1000 * kMs);
  EXPECT_EQ(handler.last, kReadable);
  reactor.turn(0);
  EXPECT_EQ(handler.calls, 2);
  reactor.remove(pair.ends[0]);
}

TEST_P(ReactorBehaviour, reports_what_is_writable) {
  Pair pair;
  Handler handler;
  ASSERT_EQ(reactor.add(pair.ends[0], kWritable, &handler), 0);
  reactor.turn(1000 * kMs);
  EXPECT_EQ(handler.last, kWritable);
  ASSERT_EQ(reactor.modify(pair.ends[0], kReadable), 0);
  EXPECT_EQ(reactor.turn(0), 0);
  reactor.remove(pair.ends[0]);
}

TEST_P(ReactorBehaviour, reports_a_hangup_without_being_asked) {
  Pair pair;
  Handler handler;
  ASSERT_EQ(reactor.add(pair.ends[0], 0, &handler), 0);
  pair.send(1);
  EXPECT_EQ(reactor.turn(0), 0);
  reset(std::exchange(pair.ends[1], -1));
  reactor.turn(1000 * kMs);
  EXPECT_TRUE(handler.last & kHangup);
  reactor.remove(pair.ends[0]);
}

TEST_P(ReactorBehaviour, refuses_double_and_unknown_descriptors) {
  Pair pair;
  Handler handler;
  EXPECT_EQ(reactor.add(-1, kReadable, &handler), EBADF);
  EXPECT_NE(reactor.add(1 << 20, kReadable, &handler), 0);
  EXPECT_EQ(reactor.modify(pair.ends[0], kReadable), ENOENT);
  reactor.remove(pair.ends[0]);
  ASSERT_EQ(reactor.add(pair.ends[0], kReadable, &handler), 0);
  EXPECT_EQ(reactor.add(pair.ends[0], kReadable, &handler), EEXIST);
  EXPECT_EQ(reactor.descriptors(), 1u);
  EXPECT_EQ(reactor.handler_of(pair.ends[0]), &handler);
  reactor.remove(pair.ends[0]);
  EXPECT_EQ(reactor.handler_of(pair.ends[0]), nullptr);
  EXPECT_EQ(reactor.descriptors(), 0u);
}

TEST_P(ReactorBehaviour, drops_events_of_a_descriptor_that_a_handler_removed_in_the_same_turn) {
  Pair one, two;
  Handler first, second;
  auto remove_both = [&](unsigned) {
    reactor.remove(one.ends[0]);
    reactor.remove(two.ends[0]);
  };
  first.call = second.call = remove_both;
  reactor.add(one.ends[0], kReadable, &first);
  reactor.add(two.ends[0], kReadable, &second);
  one.send(1);
  two.send(1);
  reactor.turn(1000 * kMs);
  EXPECT_EQ(first.calls + second.calls, 1);
}

TEST_P(ReactorBehaviour, drops_events_of_an_old_descriptor_whose_number_is_used_again) {
  Pair one, two;
  Handler first, second, fresh;
  auto replace = [&](Pair& other) {
    const int number = other.ends[0];
    reactor.remove(number);
    other.close(0);
    Pair unused;
    if (!reuse_number(number, unused.ends[0])) return;
    other.ends[0] = number;
    ASSERT_EQ(reactor.add(number, kReadable, &fresh), 0);
  };
  first.call = [&](unsigned) { replace(two); };
  second.call = [&](unsigned) { replace(one); };
  reactor.add(one.ends[0], kReadable, &first);
  reactor.add(two.ends[0], kReadable, &second);
  one.send(1);
  two.send(1);
  reactor.turn(1000 * kMs);
  EXPECT_EQ(first.calls + second.calls, 1);
  EXPECT_EQ(fresh.calls, 0);
  reactor.remove(one.ends[0]);
  reactor.remove(two.ends[0]);
}

TEST_P(ReactorBehaviour, serves_more_descriptors_than_one_wait_returns) {
  std::vector<std::unique_ptr<Pair>> pairs;
  std::vector<std::unique_ptr<Handler>> handlers;
  for (int i = 0; i < 400; ++i) {
    pairs.push_back(std::make_unique<Pair>());
    handlers.push_back(std::make_unique<Handler>());
    Handler* handler = handlers.back().get();
    Pair* pair = pairs.back().get();
    const int fd = pair->ends[0];
    handler->call = [pair](unsigned) { EXPECT_EQ(pair->take(0), 'x'); };
    ASSERT_EQ(reactor.add(fd, kReadable, handler), 0);
    pairs.back()->send(1);
  }
  for (int i = 0; i < 10; ++i) reactor.turn(0);
  for (auto& handler : handlers) EXPECT_EQ(handler->calls, 1);
  for (auto& pair : pairs) reactor.remove(pair->ends[0]);
}

// ---- time

TEST_P(ReactorBehaviour, a_turn_ends_after_its_timeout) {
  EXPECT_LT(elapsed([&] { reactor.turn(0); }), 5 * kMs);
  Nanos took = 0;
  for (int i = 0; i < 5 && took < 20 * kMs; ++i) {  // a signal may end a wait before its time
    took = elapsed([&] { EXPECT_EQ(reactor.turn(20 * kMs), 0); });
  }
  EXPECT_GE(took, 20 * kMs);
  EXPECT_LT(took, 200 * kMs);
}

TEST_P(ReactorBehaviour, timers_end_the_sleep_and_never_fire_early) {
  Nanos fired = 0;
  Alarm alarm([&] { fired = monotonic_now(); });
  reactor.refresh_now();
  const Nanos deadline = reactor.now() + 12 * kMs + 345'678;
  reactor.arm(alarm.timer, deadline);
  int turns = 0;
  while (!fired && turns < 50) {
    reactor.turn(-1);
    ++turns;
  }
  EXPECT_GE(fired, deadline);
  EXPECT_LT(fired, deadline + 100 * kMs);
  EXPECT_LE(turns, 4) << "the reactor spins before a timer";
}

TEST_P(ReactorBehaviour, a_cancelled_timer_does_not_fire) {
  int fired = 0;
  Alarm alarm([&] { ++fired; });
  reactor.arm_after(alarm.timer, 2 * kMs);
  reactor.cancel(alarm.timer);
  reactor.turn(10 * kMs);
  EXPECT_EQ(fired, 0);
}

TEST_P(ReactorBehaviour, a_periodic_timer_keeps_its_pace) {
  int fired = 0;
  std::unique_ptr<Alarm> alarm;
  alarm = std::make_unique<Alarm>([&] {
    if (++fired < 5) reactor.arm(alarm->timer, alarm->timer.deadline() + 3 * kMs);
  });
  reactor.refresh_now();
  reactor.arm_after(alarm->timer, 3 * kMs);
  const Nanos took = elapsed([&] {
    while (fired < 5) reactor.turn(-1);
  });
  EXPECT_GE(took, 15 * kMs);
  EXPECT_LT(took, 200 * kMs);
}

// ---- deferred work

TEST_P(ReactorBehaviour, deferred_work_runs_once_at_the_end_of_the_turn) {
  Pair pair;
  std::vector<int> order;
  Work work([&] { order.push_back(2); });
  Handler handler([&](unsigned) {
    order.push_back(1);
    reactor.defer(work.deferred);
    reactor.defer(work.deferred);
    EXPECT_TRUE(work.deferred.pending());
    reactor.remove(pair.ends[0]);
  });
  reactor.add(pair.ends[0], kReadable, &handler);
  pair.send(1);
  reactor.turn(1000 * kMs);
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  EXPECT_FALSE(work.deferred.pending());
  reactor.turn(0);
  EXPECT_EQ(order.size(), 2u);
}

TEST_P(ReactorBehaviour, work_deferred_outside_a_turn_runs_before_the_reactor_sleeps) {
  int ran = 0;
  Work work([&] { ++ran; });
  reactor.defer(work.deferred);
  reactor.turn(0);
  EXPECT_EQ(ran, 1);
}

TEST_P(ReactorBehaviour, deferred_work_may_defer_more_and_destroy_others) {
  int ran = 0;
  auto victim = std::make_unique<Work>([&] { ADD_FAILURE() << "destroyed work ran"; });
  Work second([&] { ++ran; });
  Work first([&] {
    ++ran;
    victim.reset();
    reactor.defer(second.deferred);
  });
  reactor.defer(first.deferred);
  reactor.defer(victim->deferred);
  reactor.turn(0);
  reactor.turn(0);
  EXPECT_EQ(ran, 2);
}

TEST_P(ReactorBehaviour, deferred_work_that_defers_itself_does_not_stop_the_reactor) {
  Pair pair;
  Handler handler([&](unsigned) { reactor.remove(pair.ends[0]); });
  std::unique_ptr<Work> work;
  work = std::make_unique<Work>([&] { reactor.defer(work->deferred); });
  reactor.defer(work->deferred);
  reactor.add(pair.ends[0], kReadable, &handler);
  pair.send(1);
  for (int i = 0; i < 3; ++i) reactor.turn(-1);
  EXPECT_EQ(handler.calls, 1);
}

// ---- other threads

TEST_P(ReactorBehaviour, posted_work_wakes_the_reactor_and_keeps_its_order) {
  std::vector<int> order;
  std::thread poster([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    for (int i = 0; i < 100; ++i) reactor.post([&order, i] { order.push_back(i); });
  });
  while (order.size() < 100) reactor.turn(-1);
  poster.join();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST_P(ReactorBehaviour, posted_work_of_many_threads_is_all_done) {
  constexpr int kThreads = 4, kEach = 2000;
  int done = 0;
  std::vector<std::thread> posters;
  for (int t = 0; t < kThreads; ++t) {
    posters.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) reactor.post([&] { ++done; });
    });
  }
  while (done < kThreads * kEach) reactor.turn(-1);
  for (auto& poster : posters) poster.join();
}

TEST_P(ReactorBehaviour, work_posted_before_the_turn_does_not_wait) {
  bool done = false;
  reactor.post([&] { done = true; });
  EXPECT_LT(elapsed([&] { reactor.turn(500 * kMs); }), 400 * kMs);
  EXPECT_TRUE(done);
}

TEST_P(ReactorBehaviour, a_wake_ends_the_sleep) {
  std::thread waker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    reactor.wake();
  });
  EXPECT_LT(elapsed([&] { reactor.turn(2000 * kMs); }), 1500 * kMs);
  waker.join();
}

TEST_P(ReactorBehaviour, a_wake_before_the_turn_is_not_lost) {
  reactor.wake();
  EXPECT_LT(elapsed([&] { reactor.turn(500 * kMs); }), 400 * kMs);
}

// ---- driving

TEST_P(ReactorBehaviour, block_hooks_surround_a_wait_that_may_sleep_and_no_other) {
  int depth = 0, blocks = 0;
  auto counters = std::make_pair(&depth, &blocks);
  reactor.set_block_hooks(
      [](void* arg) {
        auto& [depth, blocks] = *static_cast<std::pair<int*, int*>*>(arg);
        ++*depth;
        ++*blocks;
      },
      [](void* arg) { --*static_cast<std::pair<int*, int*>*>(arg)->first; }, &counters);
  reactor.turn(0);
  EXPECT_EQ(blocks, 0);
  Pair pair;
  Handler handler([&](unsigned) { EXPECT_EQ(depth, 0); });
  reactor.add(pair.ends[0], kReadable, &handler);
  pair.send(1);
  reactor.turn(-1);
  EXPECT_EQ(blocks, 0) << "something was ready: there was no need to sleep";
  reactor.remove(pair.ends[0]);
  reactor.turn(kMs);
  EXPECT_EQ(blocks, 1);
  EXPECT_EQ(depth, 0);
}

TEST_P(ReactorBehaviour, a_foreign_loop_learns_of_io_timers_posts_and_deferred_work) {
  int asked = 0;
  const int made = reactor.make_external([](void* arg) { ++*static_cast<int*>(arg); }, &asked);
  if (reactor.fd() < 0) {
    EXPECT_EQ(made, ENOTSUP);
    GTEST_SKIP() << "this backend has no descriptor that a foreign loop could watch";
  }
  ASSERT_EQ(made, 0);
  auto readable = [&](int timeout_ms) { return wait_readable(reactor.fd(), timeout_ms); };
  reactor.turn(0);
  EXPECT_FALSE(readable(0));

  Pair pair;
  Handler handler([&](unsigned) { EXPECT_EQ(pair.take(0), 'x'); });
  reactor.add(pair.ends[0], kReadable, &handler);
  pair.send(1);
  EXPECT_TRUE(readable(1000));
  reactor.turn(0);
  EXPECT_EQ(handler.calls, 1);
  EXPECT_FALSE(readable(0));

  int fired = 0;
  Alarm alarm([&] { ++fired; });
  reactor.refresh_now();
  reactor.arm_after(alarm.timer, 10 * kMs);
  EXPECT_FALSE(readable(0));
  for (int i = 0; i < 5 && !fired; ++i) {
    EXPECT_TRUE(readable(1000));
    reactor.turn(0);
  }
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(readable(0));

  std::thread sender([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    pair.send(1);
  });
  EXPECT_LT(elapsed([&] { EXPECT_TRUE(readable(2000)); }), 1500 * kMs) << "the foreign loop slept through it";
  sender.join();
  reactor.turn(0);
  EXPECT_EQ(handler.calls, 2);

  bool posted = false;
  std::thread([&] { reactor.post([&] { posted = true; }); }).join();
  EXPECT_TRUE(readable(1000));
  reactor.turn(0);
  EXPECT_TRUE(posted);

  Work work([] {});
  reactor.defer(work.deferred);
  EXPECT_EQ(asked, 1);
  reactor.turn(0);
  EXPECT_FALSE(work.deferred.pending());
  reactor.remove(pair.ends[0]);
}

TEST_P(ReactorBehaviour, may_be_destroyed_with_work_left) {
  std::optional<Reactor> local(std::in_place, GetParam()());
  Work work([] { ADD_FAILURE() << "ran"; });
  Alarm alarm([] { ADD_FAILURE() << "fired"; });
  local->defer(work.deferred);
  local->arm_after(alarm.timer, kMs);
  local->post([] { ADD_FAILURE() << "posted work ran"; });
  local.reset();
  EXPECT_FALSE(work.deferred.pending());
  EXPECT_FALSE(alarm.timer.armed());
}

}  // namespace
}  // namespace fasterapi::core::test

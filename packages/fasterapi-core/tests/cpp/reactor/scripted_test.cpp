// The reactor with the kernel mocked: what happens when is written down by the test, to the nanosecond.
#include <fasterapi/core/testing.hpp>

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "handlers.hpp"

namespace fasterapi::core::test {
namespace {

class Scripted : public testing::Test {
 protected:
  explicit Scripted(unsigned completions = 0) {
    auto backend = std::make_unique<ScriptedBackend>(clock);
    backend->set_completions(completions);
    script = backend.get();
    reactor = std::make_unique<Reactor>(std::move(backend), clock);
    began = clock.now();
  }
  Nanos passed() { return clock.now() - began; }
  ManualClock clock;
  ScriptedBackend* script;
  std::unique_ptr<Reactor> reactor;
  Nanos began;
};

TEST_F(Scripted, time_stands_still_while_the_reactor_polls) {
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(reactor->turn(0), 0);
  EXPECT_EQ(passed(), 0);
  EXPECT_EQ(reactor->now(), began);
}

TEST_F(Scripted, a_turn_sleeps_exactly_its_timeout) {
  EXPECT_EQ(reactor->turn(20 * kMs), 0);
  EXPECT_EQ(passed(), 20 * kMs);
  EXPECT_EQ(script->slept(), 20 * kMs);
  EXPECT_EQ(reactor->now(), began + 20 * kMs);
}

TEST_F(Scripted, timers_fire_in_the_tick_of_their_deadline_and_end_the_sleep_there) {
  std::vector<Nanos> fired;
  Alarm alarm([&] { fired.push_back(passed()); });
  reactor->arm_after(alarm.timer, 7 * kMs + 1);
  while (fired.empty()) reactor->turn(-1);
  EXPECT_EQ(fired, std::vector<Nanos>{8 * kMs});
  EXPECT_EQ(passed(), 8 * kMs);
}

TEST_F(Scripted, a_month_of_timers_passes_in_no_time) {
  constexpr Nanos kHour = 3600ll * 1000 * kMs;
  int fired = 0;
  Alarm hourly([&] {
    ++fired;
    EXPECT_EQ(passed(), fired * kHour);
    reactor->arm_after(hourly.timer, kHour);
  });
  reactor->arm_after(hourly.timer, kHour);
  while (fired < 720) reactor->turn(-1);
  EXPECT_EQ(passed(), 720 * kHour);
}

TEST_F(Scripted, io_posts_timers_and_deferred_work_of_one_turn_keep_their_order) {
  std::vector<std::string> order;
  Work work([&] { order.push_back("deferred"); });
  Alarm alarm([&] { order.push_back("timer"); });
  Handler handler([&](unsigned) {
    order.push_back("io");
    reactor->defer(work.deferred);
  });
  reactor->add(7, kReadable, &handler);
  reactor->arm_after(alarm.timer, 5 * kMs);
  script->at(5 * kMs, [&] {
    script->set_ready(7, kReadable);
    reactor->post([&] { order.push_back("post"); });
  });
  reactor->turn(-1);
  EXPECT_EQ(order, (std::vector<std::string>{"io", "post", "timer", "deferred"}));
  EXPECT_EQ(passed(), 5 * kMs);
}

TEST_F(Scripted, readiness_is_reported_for_as_long_as_it_lasts_and_only_what_was_asked_for) {
  Handler handler;
  reactor->add(3, kWritable, &handler);
  script->set_ready(3, kReadable | kWritable);
  reactor->turn(0);
  EXPECT_EQ(handler.last, kWritable);
  reactor->modify(3, kReadable);
  reactor->turn(0);
  EXPECT_EQ(handler.last, kReadable);
  reactor->modify(3, 0);
  EXPECT_EQ(reactor->turn(0), 0);
  script->set_ready(3, kHangup);
  EXPECT_EQ(reactor->turn(0), 1);
  EXPECT_EQ(handler.last, kHangup);
  reactor->remove(3);
  EXPECT_EQ(script->interest(3), -1);
  EXPECT_EQ(reactor->turn(0), 0);
}

TEST_F(Scripted, a_post_from_another_thread_is_seen_by_the_next_turn) {
  bool ran = false;
  std::thread([&] { reactor->post([&] { ran = true; }); }).join();
  reactor->turn(-1);
  EXPECT_TRUE(ran);
  EXPECT_EQ(passed(), 0);
  EXPECT_FALSE(script->stalled());
}

TEST_F(Scripted, errors_of_the_system_come_back_to_who_asked) {
  Handler handler;
  script->fail_next("add", ENOSPC);
  EXPECT_EQ(reactor->add(4, kReadable, &handler), ENOSPC);
  EXPECT_EQ(reactor->handler_of(4), nullptr);
  EXPECT_EQ(reactor->add(4, kReadable, &handler), 0);
  script->fail_next("modify", ENOENT);
  EXPECT_EQ(reactor->modify(4, kWritable), ENOENT);
  script->set_ready(4, kReadable);
  script->fail_next("wait", EINTR);
  EXPECT_EQ(reactor->turn(0), 0);
  EXPECT_EQ(reactor->turn(0), 1);
}

TEST_F(Scripted, a_sleep_that_nothing_could_end_is_noticed) {
  EXPECT_EQ(reactor->turn(-1), 0);
  EXPECT_TRUE(script->stalled());
  EXPECT_EQ(passed(), 0);
}

TEST_F(Scripted, a_turn_after_deferred_work_does_not_sleep) {
  Work work([] {});
  reactor->defer(work.deferred);
  EXPECT_EQ(reactor->turn(50 * kMs), 1);
  EXPECT_EQ(passed(), 0);
}

// ---- completions

struct Completed final : IoHandler {
  void on_io(unsigned) noexcept override { ADD_FAILURE() << "readiness of a descriptor that completes"; }
  void on_complete(const Completion& completion) noexcept override {
    results.push_back(completion.result);
    if (completion.kind == kReceive && completion.result > 0) {
      bytes.append(completion.data, static_cast<std::size_t>(completion.result));
      for (std::size_t i = 0; i < Reactor::kReadPadding; ++i)
        padding |= completion.data[completion.result + static_cast<int>(i)];
    }
    if (call) call();
  }
  std::vector<int> results;
  std::string bytes;
  int padding = 0;
  std::function<void()> call;
};

class Completing : public Scripted {
 protected:
  Completing() : Scripted(kReceive | kAccept) {}
};

TEST_F(Completing, received_bytes_are_handed_over_in_order_up_to_their_end) {
  Completed handler;
  ASSERT_EQ(reactor->completions(), kReceive | kAccept);
  reactor->add(5, kReceive, &handler);
  script->received(5, "one ");
  script->received(5, "two");
  script->received(5, "");
  EXPECT_EQ(reactor->turn(0), 3);
  EXPECT_EQ(handler.bytes, "one two");
  EXPECT_EQ(handler.results, (std::vector<int>{4, 3, 0}));
  EXPECT_EQ(handler.padding, 0);
  EXPECT_EQ(script->outstanding(), 0u);
}

TEST_F(Completing, what_arrives_for_somebody_who_pauses_waits_in_order) {
  Completed handler;
  handler.call = [&] { reactor->modify(5, 0); };
  reactor->add(5, kReceive, &handler);
  script->received(5, "one ");
  script->received(5, "two ");
  reactor->turn(0);
  EXPECT_EQ(handler.bytes, "one ");
  reactor->turn(0);
  EXPECT_EQ(handler.bytes, "one ");
  EXPECT_EQ(script->outstanding(), 1u);
  script->received(5, "three");
  handler.call = {};
  reactor->modify(5, kReceive);
  reactor->turn(0);
  EXPECT_EQ(handler.bytes, "one two three");
  EXPECT_EQ(script->outstanding(), 0u);
}

TEST_F(Completing, what_is_fetched_for_a_removed_descriptor_is_dropped_and_its_buffer_returned) {
  Completed first, second;
  first.call = [&] { reactor->remove(6); };
  reactor->add(5, kReceive, &first);
  reactor->add(6, kReceive, &second);
  script->received(5, "x");
  script->received(6, "y");
  reactor->turn(0);
  EXPECT_EQ(first.bytes, "x");
  EXPECT_TRUE(second.results.empty());
  EXPECT_EQ(script->outstanding(), 0u);
}

TEST_F(Completing, errors_arrive_as_results) {
  Completed handler;
  reactor->add(5, kAccept, &handler);
  script->accepted(5, 77);
  script->failed(5, kAccept, EMFILE);
  reactor->turn(0);
  EXPECT_EQ(handler.results, (std::vector<int>{77, -EMFILE}));
}

}  // namespace
}  // namespace fasterapi::core::test

#include <fasterapi/core/timer_wheel.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <vector>

namespace fasterapi::core {
namespace {

constexpr std::int64_t kMs = TimerWheel::kTick;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

// A timer whose callback is a std::function.
struct Alarm {
  explicit Alarm(std::function<void()> call = {}) : call(std::move(call)), timer(&Alarm::fire, this) {}
  static void fire(void* self) noexcept {
    auto& alarm = *static_cast<Alarm*>(self);
    ++alarm.fired;
    if (auto call = alarm.call) call();  // a copy: the call may destroy the alarm
  }
  int fired = 0;
  std::function<void()> call;
  Timer timer;
};

TEST(TimerWheel, fires_at_the_first_tick_at_or_after_the_deadline) {
  TimerWheel wheel(0);
  Alarm exact, between;
  wheel.arm(exact.timer, 5 * kMs);
  wheel.arm(between.timer, 5 * kMs + 1);
  EXPECT_EQ(wheel.advance(5 * kMs - 1), 0);
  EXPECT_EQ(wheel.advance(5 * kMs), 1);
  EXPECT_EQ(exact.fired, 1);
  EXPECT_EQ(wheel.advance(6 * kMs - 1), 0);
  EXPECT_EQ(wheel.advance(6 * kMs), 1);
  EXPECT_EQ(between.fired, 1);
  EXPECT_FALSE(exact.timer.armed());
  EXPECT_EQ(wheel.armed(), 0u);
}

TEST(TimerWheel, a_deadline_in_the_past_fires_in_the_next_tick) {
  TimerWheel wheel(100 * kMs);
  Alarm alarm;
  wheel.arm(alarm.timer, -5);
  EXPECT_EQ(wheel.next_deadline(), 101 * kMs);
  EXPECT_EQ(wheel.advance(101 * kMs), 1);
}

TEST(TimerWheel, fires_timers_of_one_tick_in_the_order_of_their_deadlines) {
  TimerWheel wheel(0);
  std::vector<int> order;
  std::vector<std::unique_ptr<Alarm>> alarms;
  std::mt19937 random(1);
  std::vector<int> offsets(500);
  for (int i = 0; i < 500; ++i) offsets[i] = i / 2;  // pairs, to see that equal deadlines keep their order
  std::shuffle(offsets.begin(), offsets.end(), random);
  for (int i = 0; i < 500; ++i) {
    alarms.push_back(std::make_unique<Alarm>([&order, i] { order.push_back(i); }));
    wheel.arm(alarms.back()->timer, 70 * kMs - 500 + offsets[i]);
  }
  EXPECT_EQ(wheel.advance(70 * kMs), 500);
  ASSERT_EQ(order.size(), 500u);
  for (std::size_t i = 1; i < order.size(); ++i) {
    const int a = order[i - 1], b = order[i];
    EXPECT_TRUE(offsets[a] < offsets[b] || (offsets[a] == offsets[b] && a < b));
  }
}

TEST(TimerWheel, moving_a_deadline_back_keeps_it_from_firing_early) {
  TimerWheel wheel(0);
  Alarm alarm;
  wheel.arm(alarm.timer, 10 * kMs);
  wheel.advance(5 * kMs);
  wheel.arm(alarm.timer, 5000 * kMs);
  EXPECT_EQ(wheel.advance(4999 * kMs), 0);
  EXPECT_EQ(wheel.next_deadline(), 5000 * kMs);
  EXPECT_EQ(wheel.advance(5000 * kMs), 1);
}

TEST(TimerWheel, moving_a_deadline_forward_fires_at_the_new_time) {
  TimerWheel wheel(0);
  Alarm alarm;
  wheel.arm(alarm.timer, 100'000 * kMs);
  wheel.arm(alarm.timer, 3 * kMs);
  EXPECT_EQ(wheel.armed(), 1u);
  EXPECT_EQ(wheel.advance(3 * kMs), 1);
  EXPECT_EQ(wheel.advance(200'000 * kMs), 0);
}

TEST(TimerWheel, moving_back_and_then_forward_again_fires_at_the_last_time) {
  TimerWheel wheel(0);
  Alarm alarm;
  wheel.arm(alarm.timer, 10 * kMs);
  wheel.arm(alarm.timer, 9000 * kMs);
  wheel.arm(alarm.timer, 20 * kMs);
  EXPECT_EQ(wheel.advance(19 * kMs), 0);
  EXPECT_EQ(wheel.advance(20 * kMs), 1);
}

TEST(TimerWheel, cancelled_timers_do_not_fire) {
  TimerWheel wheel(0);
  Alarm alarms[3];
  for (auto& alarm : alarms) wheel.arm(alarm.timer, 7 * kMs);
  wheel.cancel(alarms[1].timer);
  wheel.cancel(alarms[1].timer);
  EXPECT_FALSE(alarms[1].timer.armed());
  EXPECT_EQ(wheel.advance(50 * kMs), 2);
  EXPECT_EQ(alarms[1].fired, 0);
}

TEST(TimerWheel, destroying_a_timer_cancels_it) {
  TimerWheel wheel(0);
  {
    Alarm alarm;
    wheel.arm(alarm.timer, 7 * kMs);
  }
  EXPECT_EQ(wheel.armed(), 0u);
  EXPECT_EQ(wheel.next_deadline(), kNever);
}

TEST(TimerWheel, destroying_the_wheel_disarms_its_timers) {
  Alarm near, far;
  {
    TimerWheel wheel(0);
    wheel.arm(near.timer, 7 * kMs);
    wheel.arm(far.timer, kNever);
  }
  EXPECT_FALSE(near.timer.armed());
  EXPECT_FALSE(far.timer.armed());
}

TEST(TimerWheel, arming_on_another_wheel_moves_the_timer_there) {
  TimerWheel first(0), second(0);
  Alarm alarm;
  first.arm(alarm.timer, 5 * kMs);
  second.arm(alarm.timer, 9 * kMs);
  EXPECT_EQ(first.armed(), 0u);
  EXPECT_EQ(first.advance(20 * kMs), 0);
  EXPECT_EQ(second.advance(20 * kMs), 1);
}

TEST(TimerWheel, a_callback_may_rearm_its_own_timer) {
  TimerWheel wheel(0);
  Alarm alarm;
  std::int64_t due = 10 * kMs;
  alarm.call = [&] {
    EXPECT_FALSE(alarm.timer.armed());
    if (alarm.fired < 5) wheel.arm(alarm.timer, due += 10 * kMs);
  };
  wheel.arm(alarm.timer, due);
  EXPECT_EQ(wheel.advance(35 * kMs), 3);
  EXPECT_EQ(wheel.advance(1000 * kMs), 2);
}

TEST(TimerWheel, a_callback_that_rearms_for_now_does_not_run_forever) {
  TimerWheel wheel(0);
  Alarm alarm;
  alarm.call = [&] { wheel.arm(alarm.timer, 10 * kMs); };
  wheel.arm(alarm.timer, 10 * kMs);
  EXPECT_EQ(wheel.advance(10 * kMs), 1);
  EXPECT_EQ(wheel.advance(11 * kMs), 1);
}

TEST(TimerWheel, a_callback_may_cancel_destroy_and_move_others_of_the_same_tick) {
  TimerWheel wheel(0);
  auto destroyed = std::make_unique<Alarm>();
  Alarm cancelled, moved, kept;
  Alarm first([&] {
    destroyed.reset();
    wheel.cancel(cancelled.timer);
    wheel.arm(moved.timer, 500 * kMs);
  });
  for (Alarm* alarm : {&first, destroyed.get(), &cancelled, &moved, &kept}) wheel.arm(alarm->timer, 4 * kMs);
  EXPECT_EQ(wheel.advance(4 * kMs), 2);
  EXPECT_EQ(cancelled.fired, 0);
  EXPECT_EQ(moved.fired, 0);
  EXPECT_EQ(kept.fired, 1);
  EXPECT_EQ(wheel.armed(), 1u);
  EXPECT_EQ(wheel.advance(500 * kMs), 1);
  EXPECT_EQ(moved.fired, 1);
}

TEST(TimerWheel, a_callback_may_destroy_its_own_timer) {
  TimerWheel wheel(0);
  auto alarm = std::make_unique<Alarm>();
  alarm->call = [&] { alarm.reset(); };
  wheel.arm(alarm->timer, 4 * kMs);
  EXPECT_EQ(wheel.advance(4 * kMs), 1);
  EXPECT_EQ(alarm, nullptr);
}

TEST(TimerWheel, deadlines_beyond_the_span_of_the_wheel_are_found_again) {
  const std::int64_t span = (std::int64_t{1} << TimerWheel::kBits * TimerWheel::kLevels) * kMs;
  TimerWheel wheel(12'345 * kMs);
  Alarm near, far, farther;
  wheel.arm(near.timer, span - kMs);
  wheel.arm(far.timer, span + 77 * kMs);
  wheel.arm(farther.timer, 5 * span + 3 * kMs);
  EXPECT_EQ(wheel.advance(span - kMs), 1);
  EXPECT_EQ(wheel.advance(span + 76 * kMs), 0);
  EXPECT_EQ(wheel.advance(span + 77 * kMs), 1);
  EXPECT_EQ(wheel.advance(5 * span + 2 * kMs), 0);
  EXPECT_EQ(wheel.next_deadline(), 5 * span + 3 * kMs);
  EXPECT_EQ(wheel.advance(5 * span + 3 * kMs), 1);
}

TEST(TimerWheel, the_largest_deadline_never_fires_and_does_not_overflow) {
  TimerWheel wheel(0);
  Alarm alarm;
  wheel.arm(alarm.timer, kNever);
  EXPECT_EQ(wheel.advance(std::int64_t{1} << 60), 0);
  EXPECT_TRUE(alarm.timer.armed());
}

TEST(TimerWheel, a_clock_that_goes_back_is_ignored) {
  TimerWheel wheel(100 * kMs);
  Alarm alarm;
  wheel.arm(alarm.timer, 150 * kMs);
  EXPECT_EQ(wheel.advance(20 * kMs), 0);
  EXPECT_EQ(wheel.advance(150 * kMs), 1);
}

// Random arms, moves, cancels and steps of the clock against a map; the wheel may look early, never late.
TEST(TimerWheel, behaves_like_a_sorted_map) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 20; ++round) {
    std::int64_t now = static_cast<std::int64_t>(random() % (std::int64_t{1} << 50));
    TimerWheel wheel(now);
    std::vector<std::unique_ptr<Alarm>> alarms(200);
    std::map<int, std::int64_t> model;
    std::vector<int> fired;
    for (int i = 0; i < 200; ++i) alarms[i] = std::make_unique<Alarm>([&fired, i] { fired.push_back(i); });
    auto first_tick = [](std::int64_t deadline) { return (deadline + kMs - 1) / kMs * kMs; };
    auto scale = [&] { return std::int64_t{1} << (10 + random() % 42); };
    for (int step = 0; step < 3000; ++step) {
      const int i = static_cast<int>(random() % alarms.size());
      switch (random() % 4) {
        case 0:
        case 1: {
          const std::int64_t deadline = now + kMs + static_cast<std::int64_t>(random() % scale());
          wheel.arm(alarms[i]->timer, deadline);
          model[i] = deadline;
          break;
        }
        case 2:
          wheel.cancel(alarms[i]->timer);
          model.erase(i);
          break;
        default: {
          const std::int64_t wake = wheel.next_deadline();
          now = random() % 3 && wake != kNever ? wake : now + static_cast<std::int64_t>(random() % scale());
          fired.clear();
          wheel.advance(now);
          std::vector<int> expected;
          for (auto& [id, deadline] : model) {
            if (first_tick(deadline) <= now) expected.push_back(id);
          }
          std::sort(fired.begin(), fired.end());
          ASSERT_EQ(fired, expected);
          for (int id : expected) model.erase(id);
        }
      }
      ASSERT_EQ(wheel.armed(), model.size());
      std::int64_t earliest = kNever;
      for (auto& [id, deadline] : model) earliest = std::min(earliest, first_tick(deadline));
      ASSERT_LE(wheel.next_deadline(), earliest);
      ASSERT_GT(wheel.next_deadline(), now - kMs);
    }
  }
}

}  // namespace
}  // namespace fasterapi::core

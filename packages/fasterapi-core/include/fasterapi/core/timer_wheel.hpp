#pragma once
// Hierarchical timer wheel: for the many timers that are armed and cancelled and rarely fire.
//   Cost     arm, move and cancel O(1) without allocation (intrusive). Moving a deadline back, as every
//            keep-alive and idle timer does, is one store: the timer stays in its slot and finds its place
//            when that slot comes up. A tick costs what is in its slot
//   Units    deadlines in nanoseconds, resolution 1 ms: a timer fires at the first whole millisecond at or
//            after its deadline, never early; what is due in one tick fires in the order of the deadlines
//   Threads  one owner; a Timer is a member of the object that it watches and cancels itself when destroyed
//   Callbacks  run with their timer disarmed. They may arm, cancel and destroy any timer, themselves and
//            others that are due in the same tick included; they must not destroy or advance the wheel
#include <cstddef>
#include <cstdint>

#include <fasterapi/core/export.hpp>

namespace fasterapi::core {

class TimerWheel;

class FASTERAPI_CORE_API Timer {
 public:
  using Fn = void (*)(void* arg) noexcept;
  Timer(Fn fn, void* arg) noexcept : fn_(fn), arg_(arg) {}
  ~Timer() {
    if (armed()) disarm();
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  bool armed() const noexcept { return next_ != nullptr; }
  std::int64_t deadline() const noexcept { return deadline_; }

 private:
  friend class TimerWheel;
  void disarm() noexcept;
  Timer* next_ = nullptr;  // circular within the slot; nullptr while disarmed
  Timer* prev_ = nullptr;
  TimerWheel* wheel_ = nullptr;
  std::int64_t deadline_ = 0;
  std::int64_t placed_ = 0;  // the deadline that chose the slot; at or before deadline_ while armed
  std::uint16_t slot_ = 0;
  Fn fn_;
  void* arg_;
};

class FASTERAPI_CORE_API TimerWheel {
 public:
  static constexpr std::int64_t kTick = 1'000'000;  // nanoseconds
  static constexpr unsigned kBits = 6, kSlots = 1u << kBits, kLevels = 5;

  explicit TimerWheel(std::int64_t now) noexcept;
  ~TimerWheel();  // disarms what is armed
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  /// Arms the timer, or moves it when it is armed (from another wheel too).
  void arm(Timer& timer, std::int64_t deadline) noexcept {
    if (timer.armed() && timer.wheel_ == this && deadline >= timer.placed_) {
      timer.deadline_ = deadline;
      return;
    }
    place(timer, deadline);
  }
  void cancel(Timer& timer) noexcept;
  /// Fires what is due at `now`. Returns how many fired.
  int advance(std::int64_t now) noexcept;
  /// When advance() next has something to do: at the latest the tick in which the next timer fires, earlier
  /// when a timer has to change its slot first; INT64_MAX when nothing is armed.
  std::int64_t next_deadline() const noexcept;
  std::size_t armed() const noexcept { return count_; }

 private:
  // Slots of all levels, then the timers beyond the last level, then those that are being fired.
  static constexpr unsigned kFar = kLevels * kSlots, kDue = kFar + 1, kLists = kDue + 1;
  struct Next {
    std::int64_t tick;
    unsigned slot;
  };

  void place(Timer& timer, std::int64_t deadline) noexcept;
  void link(Timer& timer) noexcept;
  void append(Timer& timer, unsigned slot) noexcept;
  void unlink(Timer& timer) noexcept;
  void sort_due() noexcept;
  int run(unsigned slot) noexcept;
  Next next() const noexcept;

  Timer* lists_[kLists] = {};
  std::uint64_t occupied_[kLevels] = {};
  std::int64_t tick_;  // last tick that was processed
  std::size_t count_ = 0;
};

}  // namespace fasterapi::core

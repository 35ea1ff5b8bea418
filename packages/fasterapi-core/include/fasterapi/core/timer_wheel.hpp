#pragma once
// Hierarchical timer wheel: for the many timers that are armed and cancelled and rarely fire.
//   Cost     arm, move and cancel O(1) without allocation (intrusive); a tick costs what fires
//   Units    deadlines in nanoseconds, resolution 1 ms (a timer never fires early)
//   Threads  one owner; a Timer is a member of the object that it watches and cancels itself when destroyed
#include <cstdint>

#include <fasterapi/core/export.hpp>

namespace fasterapi::core {

class FASTERAPI_CORE_API Timer {
 public:
  using Fn = void (*)(void* arg) noexcept;
  Timer(Fn fn, void* arg) noexcept : fn_(fn), arg_(arg) {}
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  bool armed() const noexcept { return next_ != nullptr; }
  std::int64_t deadline() const noexcept { return deadline_; }

 private:
  friend class TimerWheel;
  Timer* next_ = nullptr;
  Timer* prev_ = nullptr;
  class TimerWheel* wheel_ = nullptr;
  std::int64_t deadline_ = 0;
  std::uint16_t slot_ = 0;
  Fn fn_;
  void* arg_;
};

class FASTERAPI_CORE_API TimerWheel {
 public:
  static constexpr std::int64_t kTick = 1'000'000;  // nanoseconds
  static constexpr unsigned kBits = 6, kSlots = 1u << kBits, kLevels = 5;

  explicit TimerWheel(std::int64_t now) noexcept;
  ~TimerWheel();
  void arm(Timer& timer, std::int64_t deadline) noexcept;
  void cancel(Timer& timer) noexcept;
  /// Fires what is due at `now`; a callback may arm and cancel any timer. Returns how many fired.
  int advance(std::int64_t now) noexcept;
  /// A time at or before the next deadline, never later than it; INT64_MAX when nothing is armed.
  std::int64_t next_deadline() const noexcept;
  std::size_t armed() const noexcept { return count_; }

 private:
  struct Head {
    Timer* first = nullptr;
  };
  void link(Timer& timer) noexcept;
  void unlink(Timer& timer) noexcept;
  void cascade(unsigned level) noexcept;
  Head slots_[kLevels][kSlots];
  std::uint64_t occupied_[kLevels] = {};
  std::int64_t tick_;  // last tick that was processed
  std::size_t count_ = 0;
};

}  // namespace fasterapi::core

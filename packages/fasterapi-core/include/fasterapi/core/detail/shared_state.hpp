#pragma once
// SharedState: what a promise and a future of two threads share. A mutex, a condition to wait for the outcome,
// and one continuation, which runs on the thread that sets the outcome.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include <fasterapi/core/detail/outcome.hpp>

namespace fasterapi::core::detail {

/// Gives its memory back when both sides have let go. Derived, so that one block may hold the state and the
/// continuation that completes it (SharedNode).
template <class V>
class SharedState : public Continuation {
 public:
  static constexpr std::uint8_t kPromise = 1, kFuture = 2;
  explicit SharedState(std::uint8_t holders) noexcept : holders_(holders) {}
  SharedState(const SharedState&) = delete;
  SharedState& operator=(const SharedState&) = delete;

  bool complete() const noexcept { return done_.load(std::memory_order_acquire); }
  /// Stores the outcome; returns who waited for it.
  template <class... Args>
  Continuation* finish(Args&&... args) {
    std::lock_guard lock(mutex_);
    result_.emplace(std::forward<Args>(args)...);
    done_.store(true, std::memory_order_release);
    complete_.notify_all();
    return std::exchange(next_, nullptr);
  }
  /// False when the outcome is there already: the caller goes on itself.
  bool attach(Continuation* next) noexcept {
    std::lock_guard lock(mutex_);
    if (result_.ready()) return false;
    next_ = next;
    return true;
  }
  /// After complete(): nobody else touches the outcome any more.
  Outcome<V> take() noexcept { return std::move(result_); }
  void wait() {
    std::unique_lock lock(mutex_);
    complete_.wait(lock, [&] { return result_.ready(); });
  }
  bool wait_for(std::chrono::nanoseconds time) {
    std::unique_lock lock(mutex_);
    return complete_.wait_for(lock, time, [&] { return result_.ready(); });
  }
  void hold(std::uint8_t side) noexcept { holders_.fetch_or(side, std::memory_order_relaxed); }
  void let_go(std::uint8_t side) noexcept {
    // What each side did to the state comes before its end.
    if (holders_.fetch_and(static_cast<std::uint8_t>(~side), std::memory_order_acq_rel) == side) delete this;
  }
  Continuation* run() noexcept override { return nullptr; }  // a promise's: it waits for nobody
  LinkBase* cancel() noexcept override { return nullptr; }   // an operation of another thread cannot be asked

 protected:
  virtual ~SharedState() = default;

 private:
  std::mutex mutex_;
  std::condition_variable complete_;
  Outcome<V> result_;
  Continuation* next_ = nullptr;
  std::atomic<bool> done_{false};  // written under the mutex
  std::atomic<std::uint8_t> holders_;
};

}  // namespace fasterapi::core::detail

#pragma once
// Explores the interleavings of two threads that meet in atomics.
//   explore()  runs a scenario once for every schedule with at most `preemptions` forced switches, one thread
//              at a time; each access to an Atomic<T> is a point where the other thread may go on
//   Atomic<T>  stands in for std::atomic; keeps which writes the memory orders used make visible
//   Tracked    a plain value that notices accesses which no release/acquire pair has ordered: a wrong memory
//              order is found even though the machine and the schedule are sequentially consistent
#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

namespace fasterapi::core::test {

class Interleaving {
 public:
  using Clock = std::array<unsigned, 2>;
  struct Scenario {
    std::function<void()> first, second;  // the two threads
    std::function<std::string()> check;   // afterwards; empty when all is well
  };
  struct Result {
    std::size_t schedules = 0;
    std::string failure;  // of the first schedule that went wrong
  };

  static Result explore(int preemptions, const std::function<Scenario()>& make) {
    Result result;
    Interleaving run;
    run.preemptions_ = preemptions;
    do {
      run.once(make());
      ++result.schedules;
      result.failure = run.failure_;
    } while (result.failure.empty() && run.next_schedule());
    return result;
  }

  /// The run that the calling thread belongs to; nullptr outside.
  static Interleaving* current() noexcept { return current_; }
  static int thread() noexcept { return thread_; }
  Clock& clock() noexcept { return clocks_[static_cast<std::size_t>(thread_)]; }
  void fail(const std::string& text) {
    if (failure_.empty()) failure_ = text;
  }

  /// Before each atomic access: here the schedule may hand over to the other thread.
  void step() {
    ++clock()[static_cast<std::size_t>(thread_)];
    const int other = 1 - thread_;
    if (!done_[other] && used_ < preemptions_ && choose()) {
      ++used_;
      hand_over(other);
    }
  }

 private:
  bool choose() {
    if (at_ == choices_.size()) choices_.push_back(false);
    return choices_[at_++];
  }
  // Depth first: the last choice that has not been tried both ways is turned over.
  bool next_schedule() {
    while (!choices_.empty() && choices_.back()) choices_.pop_back();
    if (choices_.empty()) return false;
    choices_.back() = true;
    return true;
  }
  void hand_over(int other) {
    const int self = thread_;
    std::unique_lock lock(mutex_);
    turn_ = other;
    changed_.notify_all();
    changed_.wait(lock, [&] { return turn_ == self; });
  }
  void body(int self, const std::function<void()>& work) {
    current_ = this;
    thread_ = self;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return turn_ == self; });
    }
    work();
    std::unique_lock lock(mutex_);
    done_[self] = true;
    turn_ = 1 - self;
    changed_.notify_all();
    current_ = nullptr;
  }
  void once(Scenario scenario) {
    at_ = 0;
    used_ = 0;
    clocks_ = {Clock{1, 0}, Clock{0, 1}};
    done_ = {false, false};
    turn_ = choose() ? 1 : 0;  // who begins
    std::thread first([&] { body(0, scenario.first); }), second([&] { body(1, scenario.second); });
    first.join();
    second.join();
    if (std::string text = scenario.check(); !text.empty()) fail(text);
  }

  static inline thread_local Interleaving* current_ = nullptr;
  static inline thread_local int thread_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  int turn_ = 0, used_ = 0, preemptions_ = 0;
  std::array<bool, 2> done_{};
  std::array<Clock, 2> clocks_{};
  std::vector<bool> choices_;
  std::size_t at_ = 0;
  std::string failure_;
};

template <class T>
class Atomic {
  using Order = std::memory_order;
  using Clock = Interleaving::Clock;

 public:
  Atomic(T value = T{}) noexcept : value_(value) {}
  T load(Order order) const {
    if (auto* run = step(); run && acquires(order)) join(run->clock(), released_);
    return value_;
  }
  void store(T value, Order order) {
    if (auto* run = step()) released_ = releases(order) ? run->clock() : Clock{};
    value_ = value;
  }
  T exchange(T value, Order order) {
    update(order);
    return std::exchange(value_, value);
  }
  bool compare_exchange_weak(T& expected, T wanted, Order order) {
    return compare_exchange_weak(expected, wanted, order, order);
  }
  bool compare_exchange_weak(T& expected, T wanted, Order order, Order failed) {
    auto* run = step();
    if (value_ != expected) {
      if (run && acquires(failed)) join(run->clock(), released_);
      expected = value_;
      return false;
    }
    synchronize(run, order);
    value_ = wanted;
    return true;
  }

 private:
  static Interleaving* step() {
    auto* run = Interleaving::current();
    if (run) run->step();
    return run;
  }
  static bool acquires(Order order) {
    return order == Order::acquire || order == Order::acq_rel || order == Order::seq_cst;
  }
  static bool releases(Order order) {
    return order == Order::release || order == Order::acq_rel || order == Order::seq_cst;
  }
  static void join(Clock& into, const Clock& other) {
    for (std::size_t i = 0; i < into.size(); ++i) into[i] = std::max(into[i], other[i]);
  }
  void update(Order order) { synchronize(step(), order); }
  // A read-modify-write continues the release sequence of the write before it.
  void synchronize(Interleaving* run, Order order) {
    if (!run) return;
    if (acquires(order)) join(run->clock(), released_);
    if (releases(order)) join(released_, run->clock());
  }
  T value_;
  Clock released_{};  // what an acquiring load of the value gets to see
};

class Tracked {
 public:
  Tracked() { wrote(); }
  Tracked(int value) : value_(value) { wrote(); }
  Tracked(const Tracked& other) : value_(other.get()) { wrote(); }
  Tracked& operator=(const Tracked& other) {
    value_ = other.get();
    wrote();
    return *this;
  }
  ~Tracked() { wrote(); }
  int get() const {
    if (auto* run = Interleaving::current()) {
      check(run, write_, "a read that races with a write");
      reads_[self()] = run->clock()[self()];
    }
    return value_;
  }

 private:
  using Clock = Interleaving::Clock;
  static std::size_t self() { return static_cast<std::size_t>(Interleaving::thread()); }
  static void check(Interleaving* run, const Clock& seen, const char* text) {
    const std::size_t other = 1 - self();
    if (run->clock()[other] < seen[other]) run->fail(text);
  }
  void wrote() {
    auto* run = Interleaving::current();
    if (!run) return;
    check(run, write_, "two writes that race");
    check(run, reads_, "a write that races with a read");
    write_[self()] = run->clock()[self()];
  }
  int value_ = 0;
  Clock write_{};          // when each thread last wrote it
  mutable Clock reads_{};  // and last read it
};

}  // namespace fasterapi::core::test

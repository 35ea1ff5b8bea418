#pragma once
// Explores all interleavings of two threads that meet in atomics.
//   explore()  runs a scenario for every order of the threads' accesses, one access at a time, that differs in
//   what
//              a thread gets to see: orders that only swap accesses to different objects, or two reads, are the
//              same run (dynamic partial-order reduction after Flanagan and Godefroid, with sleep sets). The
//              threads are fibers of the calling thread, so a run takes microseconds
//   Atomic<T>  stands in for std::atomic; keeps which writes the memory orders used make visible
//   Tracked    a plain value that notices accesses which no release/acquire pair has ordered: a wrong memory
//              order is found even though the machine and the schedule are sequentially consistent
//   thread_number()  tells the two threads apart where code asks who runs it
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
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
    std::string failure;    // of the first schedule that went wrong
    bool complete = false;  // all were run, within the limit
  };

  static Result explore(const std::function<Scenario()>& make, std::size_t limit = 3'000'000) {
    Result result;
    Interleaving run;
    do {
      thread_ = 0;
      run.created_ = {};
      creating_ = &run;
      run.once(make());
      result.schedules += !run.redundant_;
      result.failure = run.failure_;
      if (!result.failure.empty()) return result;
      result.complete = !run.next_schedule();
    } while (!result.complete && result.schedules < limit);
    return result;
  }

  /// The run that the calling thread belongs to; nullptr outside.
  static Interleaving* current() noexcept { return current_; }
  static int thread() noexcept { return thread_; }
  /// A name for an atomic that is the same in every schedule.
  static std::uint32_t name_object() noexcept {
    if (!creating_) return 0;
    const auto who = static_cast<std::uint32_t>(current_ ? thread_ + 1 : 0);
    return who << 24 | ++creating_->created_[who];
  }
  Clock& clock() noexcept { return clocks_[static_cast<std::size_t>(thread_)]; }
  void fail(const std::string& text) {
    if (failure_.empty()) failure_ = text;
  }

  /// Before each atomic access: it is made when the schedule says that it is this thread's turn.
  void step() {
    const int self = thread_;
    leave(self);
    thread_ = self;
    ++clock()[static_cast<std::size_t>(self)];
  }
  /// After it: what it was.
  void accessed(std::uint32_t object, bool writes) {
    if (redundant_) return;
    const auto self = static_cast<std::size_t>(thread_), other = 1 - self;
    Step& step = path_[at_ - 1];
    step.access[self] = {object, writes};
    // A sleeping thread wakes when something happens that its next access depends on.
    if (asleep_ >= 0 && asleep_access_.object == object && (asleep_access_.writes || writes)) asleep_ = -1;
    Object& seen = objects_[object];
    // The other thread's last access that this one depends on. Unless it comes before this one in any order, the
    // other way round is another run.
    const std::size_t last = writes ? std::max(seen.write[other], seen.read[other]) : seen.write[other];
    if (last > known_[self][other]) {
      path_[last - 1].wanted[self] = true;
      known_[self][other] = last;
      known_[self][self] = std::max(known_[self][self], at_);
    }
    join(known_[self], writes ? seen.after_all : seen.after_write);
    known_[self][self] = at_;
    if (writes) {
      seen.write[self] = at_;
      seen.after_write = known_[self];
      seen.after_all = known_[self];
    } else {
      seen.read[self] = at_;
      join(seen.after_all, known_[self]);
    }
    step.taken[self] = true;
  }

 private:
  struct Access {
    std::uint32_t object = 0;
    bool writes = false;
  };
  struct Step {
    int thread;
    int asleep = -1;  // whose turn here would only repeat another schedule
    std::array<bool, 2> wanted{}, taken{};
    std::array<Access, 2> access{};
  };
  using Known = std::array<std::size_t, 2>;  // up to which step of each thread something comes after
  struct Object {
    Known write{}, read{};  // each thread's last one, counted from 1
    Known after_write{}, after_all{};
  };
  struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[kStack]};
    const std::function<void()>* work = nullptr;
    bool done = false;
  };
  static constexpr std::size_t kStack = 256 * 1024;

  static void join(Known& into, const Known& other) {
    for (std::size_t i = 0; i < 2; ++i) into[i] = std::max(into[i], other[i]);
  }
  // Depth first: the last step at which the other thread has to be tried as well.
  bool next_schedule() {
    while (!path_.empty()) {
      Step& step = path_.back();
      const auto other = static_cast<std::size_t>(1 - step.thread);
      if (step.wanted[other] && !step.taken[other] && step.asleep != static_cast<int>(other)) {
        step.thread = static_cast<int>(other);
        return true;
      }
      path_.pop_back();
    }
    return false;
  }
  void leave(int self) { swapcontext(&fibers_[static_cast<std::size_t>(self)].context, &scheduler_); }
  void enter(int next) {
    thread_ = next;
    swapcontext(&scheduler_, &fibers_[static_cast<std::size_t>(next)].context);
  }
  static void body(unsigned high, unsigned low, int self) {
    auto* run = reinterpret_cast<Interleaving*>(static_cast<std::uintptr_t>(high) << 32 | low);
    Fiber& fiber = run->fibers_[static_cast<std::size_t>(self)];
    (*fiber.work)();
    fiber.done = true;
    run->leave(self);
  }
  void once(const Scenario& scenario) {
    at_ = 0;
    asleep_ = -1;
    redundant_ = false;
    clocks_ = {Clock{1, 0}, Clock{0, 1}};
    known_ = {};
    objects_.clear();
    current_ = this;
    for (int i = 0; i < 2; ++i) {
      Fiber& fiber = fibers_[static_cast<std::size_t>(i)];
      fiber.done = false;
      fiber.work = i == 0 ? &scenario.first : &scenario.second;
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.get();
      fiber.context.uc_stack.ss_size = kStack;
      fiber.context.uc_link = nullptr;
      const auto self = reinterpret_cast<std::uintptr_t>(this);
      makecontext(&fiber.context, reinterpret_cast<void (*)()>(&Interleaving::body), 3,
                  static_cast<unsigned>(self >> 32), static_cast<unsigned>(self), i);
      enter(i);  // to its first access
    }
    while (!fibers_[0].done || !fibers_[1].done) {
      int next = at_ > 0 ? last_ : 0;
      if (at_ < path_.size()) {
        Step& step = path_[at_];
        next = step.thread;
        const auto other = static_cast<std::size_t>(1 - next);
        if (step.taken[other]) {
          asleep_ = static_cast<int>(other);
          asleep_access_ = step.access[other];
        }
      } else {
        if (next == asleep_) next = 1 - next;
        if (fibers_[static_cast<std::size_t>(next)].done) {
          next = 1 - next;
          redundant_ = redundant_ || next == asleep_;  // only what was seen already could follow
        }
        if (!redundant_) path_.push_back(Step{next, asleep_});
      }
      ++at_;
      last_ = next;
      enter(next);
    }
    current_ = nullptr;
    creating_ = nullptr;
    thread_ = 0;
    if (std::string text = scenario.check(); !text.empty()) fail(text);
  }

  static inline thread_local Interleaving* current_ = nullptr;
  static inline thread_local Interleaving* creating_ = nullptr;  // also while the scenario is made
  static inline thread_local int thread_ = 0;
  ucontext_t scheduler_;
  std::array<Fiber, 2> fibers_;
  std::array<Clock, 2> clocks_{};
  std::array<Known, 2> known_{};
  std::map<std::uint32_t, Object> objects_;
  std::vector<Step> path_;  // what this run does; beyond its end: the thread that ran last goes on
  std::size_t at_ = 0;
  int last_ = 0;
  int asleep_ = -1;
  Access asleep_access_;
  bool redundant_ = false;
  std::array<std::uint32_t, 3> created_{};  // before the run, and by each thread
  std::string failure_;
};

inline std::uintptr_t thread_number() noexcept { return static_cast<std::uintptr_t>(Interleaving::thread()) + 1; }

template <class T>
class Atomic {
  using Order = std::memory_order;
  using Clock = Interleaving::Clock;

 public:
  Atomic(T value = T{}) noexcept : value_(value) {}
  T load(Order order) const {
    if (auto* run = step()) {
      run->accessed(name_, false);
      if (acquires(order)) join(run->clock(), released_);
    }
    return value_;
  }
  void store(T value, Order order) {
    if (auto* run = step()) {
      run->accessed(name_, true);
      released_ = releases(order) ? run->clock() : Clock{};
    }
    value_ = value;
  }
  T exchange(T value, Order order) {
    auto* run = step();
    if (run) run->accessed(name_, true);
    synchronize(run, order);
    return std::exchange(value_, value);
  }
  T fetch_add(T value, Order order) {
    auto* run = step();
    if (run) run->accessed(name_, true);
    synchronize(run, order);
    return std::exchange(value_, static_cast<T>(value_ + value));
  }
  bool compare_exchange_weak(T& expected, T wanted, Order order) {
    return compare_exchange_weak(expected, wanted, order, order);
  }
  bool compare_exchange_weak(T& expected, T wanted, Order order, Order failed) {
    auto* run = step();
    const bool good = value_ == expected;
    if (run) run->accessed(name_, good);
    if (!good) {
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
  // A read-modify-write continues the release sequence of the write before it.
  void synchronize(Interleaving* run, Order order) {
    if (!run) return;
    if (acquires(order)) join(run->clock(), released_);
    if (releases(order)) join(released_, run->clock());
  }
  const std::uint32_t name_ = Interleaving::name_object();
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

#pragma once
// ConnectionPool<C>: leases of connections of any kind, made and checked by their driver.
//   Cost     try_acquire() and giving back: a vector pop and push, no allocation, no suspension
//   Order    waiters are served first come, first served; nobody overtakes one with try_acquire()
//   Threads  one reactor; everything runs there
//   Ownership  the pool owns the connections, a Lease has one for a while and gives itself back. Waiters belong to
//            who waits and leave the queue when destroyed. close() is a gate: it completes when the last lease is
//            back; a lease that outlives the pool aborts in debug builds
//   Callbacks  waiters are called at the end of the turn, with nothing of the pool on the stack; they must not
//            destroy the pool
#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <fasterapi/core/reactor.hpp>

namespace fasterapi::core {

struct PoolOptions {
  std::size_t min_size = 0;
  std::size_t max_size = 10;
  std::size_t max_waiting = 10'000;       // further waiters fail at once with EAGAIN
  Nanos max_age = 0;                      // a connection is replaced after this time; 0: never
  double age_jitter = 0.1;                // up to this part of max_age earlier, so that not all go at once
  Nanos max_idle = 0;                     // those above min_size are closed when unused for so long; 0: never
  Nanos retry_after = 100'000'000;        // first pause after a failed attempt to reach min_size; doubles
  Nanos retry_at_most = 10'000'000'000;
};

struct PoolStatistics {
  std::size_t idle = 0, leased = 0, opening = 0, waiting = 0;
  std::uint64_t acquired = 0;       // leases given
  std::uint64_t waited = 0;         // of those, how many had to wait
  std::uint64_t timed_out = 0, cancelled = 0, refused = 0;  // waiters that got none
  std::uint64_t opened = 0, open_failed = 0;
  std::uint64_t closed_age = 0, closed_idle = 0, closed_unhealthy = 0, closed_broken = 0;
  Nanos waited_total = 0, waited_longest = 0;
};

template <class C>
class ConnectionPool {
  struct Entry {
    std::unique_ptr<C> connection;
    Nanos expires;  // INT64_MAX: never
    Nanos idle_since;
  };

 public:
  /// What the kind of connection knows how to do.
  class Driver {
   public:
    /// Starts to make one connection; the answer is one call of opened() or open_failed(), at once or later.
    virtual void open(ConnectionPool& pool) noexcept = 0;
    /// Asked before each lease, without I/O: `idle` is how long the connection was unused.
    virtual bool healthy(C& connection, Nanos idle) noexcept = 0;
    /// Takes a connection that the pool has no more use for.
    virtual void close(std::unique_ptr<C> connection) noexcept = 0;

   protected:
    ~Driver() = default;
  };

  class Lease {
   public:
    Lease() noexcept = default;
    Lease(Lease&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)), entry_(std::move(other.entry_)) {}
    Lease& operator=(Lease&& other) noexcept {
      std::swap(pool_, other.pool_);
      std::swap(entry_, other.entry_);
      return *this;
    }
    ~Lease() { release(); }
    explicit operator bool() const noexcept { return pool_ != nullptr; }
    C& operator*() const noexcept { return *entry_->connection; }
    C* operator->() const noexcept { return entry_->connection.get(); }
    C* get() const noexcept { return entry_ ? entry_->connection.get() : nullptr; }
    /// Gives the connection back.
    void release() noexcept {
      if (pool_) std::exchange(pool_, nullptr)->give_back(std::move(entry_), true);
    }
    /// Gives it back as unusable: the driver closes it.
    void discard() noexcept {
      if (pool_) std::exchange(pool_, nullptr)->give_back(std::move(entry_), false);
    }

   private:
    friend class ConnectionPool;
    Lease(ConnectionPool* pool, std::unique_ptr<Entry> entry) noexcept : pool_(pool), entry_(std::move(entry)) {}
    ConnectionPool* pool_ = nullptr;
    std::unique_ptr<Entry> entry_;
  };

  /// Someone who waits for a lease. Derived, or a member of who waits; destroying it leaves the queue.
  class Waiter {
   public:
    Waiter() noexcept
        : timer_([](void* self) noexcept { static_cast<Waiter*>(self)->expire(); }, this) {}
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    virtual void on_lease(Lease lease) noexcept = 0;
    /// ETIMEDOUT at its deadline, ESHUTDOWN when the pool is closed, EAGAIN when too many wait, else the
    /// driver's errno with its text.
    virtual void on_no_lease(int error, const std::string& text) noexcept = 0;
    bool waiting() const noexcept { return pool_ != nullptr; }
    void cancel() noexcept {
      if (!pool_) return;
      ++pool_->statistics_.cancelled;
      pool_->forget(*this);
    }

   protected:
    ~Waiter() { cancel(); }

   private:
    friend class ConnectionPool;
    void expire() noexcept {
      ++pool_->statistics_.timed_out;
      pool_->forget(*this);
      on_no_lease(ETIMEDOUT, "no connection became free before the deadline");
    }
    ConnectionPool* pool_ = nullptr;
    Waiter* next_ = nullptr;
    Waiter* prev_ = nullptr;
    Nanos since_ = 0;
    bool failed_ = false;  // in the list of those who are to be told so
    int error_ = 0;
    std::string text_;
    Timer timer_;
  };

  ConnectionPool(Reactor& reactor, Driver& driver, const PoolOptions& options)
      : reactor_(reactor),
        driver_(driver),
        options_(options),
        random_(static_cast<std::minstd_rand::result_type>(monotonic_now())),
        serve_([](void* self) noexcept { static_cast<ConnectionPool*>(self)->serve(); }, this),
        upkeep_([](void* self) noexcept { static_cast<ConnectionPool*>(self)->keep_up(); }, this),
        retry_([](void* self) noexcept { static_cast<ConnectionPool*>(self)->fill(); }, this) {
    options_.max_size = std::max<std::size_t>(options_.max_size, 1);
    options_.min_size = std::min(options_.min_size, options_.max_size);
    idle_.reserve(options_.max_size);  // so that giving back never allocates
  }
  /// After close() has completed; what is idle is given to the driver.
  ~ConnectionPool() {
    closed_ = true;
    while (waiting_.first) fail(*waiting_.first, ESHUTDOWN, kClosed);
    tell_failed();
    drop_idle();
    assert(leased_ == 0 && "a lease outlives its pool");
  }
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;

  /// Opens min_size connections ahead of need.
  void start() noexcept { fill(); }

  /// A lease when a healthy connection is idle and nobody waits; else an empty one.
  Lease try_acquire() noexcept { return closed_ || waiting_.first ? Lease() : take_idle(); }

  /// Queues the waiter; exactly one of its callbacks follows, unless it is cancelled. `deadline` is a time of the
  /// monotonic clock, 0 for none.
  void acquire(Waiter& waiter, Nanos deadline) noexcept {
    assert(!waiter.waiting());
    waiter.pool_ = this;
    waiter.since_ = reactor_.now();
    waiter.failed_ = false;
    waiting_.append(waiter);
    ++statistics_.waiting;
    if (closed_) return fail(waiter, ESHUTDOWN, kClosed);
    if (statistics_.waiting > options_.max_waiting) {
      return fail(waiter, EAGAIN, "too many wait for a connection (max_waiting)");
    }
    if (deadline) reactor_.arm(waiter.timer_, deadline);
    if (!idle_.empty()) reactor_.defer(serve_);
    fill();
  }

  // ---- the driver's answers to open()
  void opened(std::unique_ptr<C> connection) noexcept {
    --opening_;
    ++statistics_.opened;
    pause_ = 0;
    reactor_.cancel(retry_);
    if (closed_) {
      driver_.close(std::move(connection));
      return finish();
    }
    const Nanos now = reactor_.now();
    Nanos expires = INT64_MAX;
    if (options_.max_age > 0) {
      const double part = std::uniform_real_distribution<double>(0, options_.age_jitter)(random_);
      expires = now + options_.max_age - static_cast<Nanos>(static_cast<double>(options_.max_age) * part);
    }
    make_idle(std::unique_ptr<Entry>(new Entry{std::move(connection), expires, now}));
  }
  void open_failed(int error, const std::string& text) noexcept {
    --opening_;
    ++statistics_.open_failed;
    if (closed_) return finish();
    // An attempt failed: the one who has waited longest learns why; the others have attempts of their own.
    if (waiting_.first) fail(*waiting_.first, error, text);
    if (retry_.armed()) return;
    pause_ = pause_ ? std::min(pause_ * 2, options_.retry_at_most) : options_.retry_after;
    reactor_.arm_after(retry_, pause_);
  }

  /// Refuses new work, fails who waits, closes what is idle; `done` is called once the last lease is back and no
  /// attempt to open is under way (possibly within this call).
  void close(std::function<void()> done = {}) noexcept {
    done_ = std::move(done);
    closed_ = true;
    reactor_.cancel(upkeep_);
    reactor_.cancel(retry_);
    while (waiting_.first) fail(*waiting_.first, ESHUTDOWN, kClosed);
    drop_idle();
    finish();
  }
  bool closed() const noexcept { return closed_; }
  /// Connections that exist or are being made.
  std::size_t size() const noexcept { return idle_.size() + leased_ + opening_; }
  PoolStatistics statistics() const noexcept {
    PoolStatistics statistics = statistics_;
    statistics.idle = idle_.size();
    statistics.leased = leased_;
    statistics.opening = opening_;
    return statistics;
  }

 private:
  static constexpr const char* kClosed = "the pool is closed";
  struct List {
    void append(Waiter& waiter) noexcept {
      waiter.next_ = nullptr;
      waiter.prev_ = std::exchange(last, &waiter);
      (waiter.prev_ ? waiter.prev_->next_ : first) = &waiter;
    }
    void remove(Waiter& waiter) noexcept {
      (waiter.prev_ ? waiter.prev_->next_ : first) = waiter.next_;
      (waiter.next_ ? waiter.next_->prev_ : last) = waiter.prev_;
    }
    Waiter* first = nullptr;
    Waiter* last = nullptr;
  };

  // The one used last first: the others may then reach max_idle.
  Lease take_idle() noexcept {
    const Nanos now = reactor_.now();
    while (!idle_.empty()) {
      std::unique_ptr<Entry> entry = std::move(idle_.back());
      idle_.pop_back();
      if (entry->expires > now && driver_.healthy(*entry->connection, now - entry->idle_since)) {
        ++leased_;
        ++statistics_.acquired;
        return Lease(this, std::move(entry));
      }
      ++(entry->expires <= now ? statistics_.closed_age : statistics_.closed_unhealthy);
      driver_.close(std::move(entry->connection));
    }
    return Lease();
  }
  void make_idle(std::unique_ptr<Entry> entry) noexcept {
    if (waiting_.first) reactor_.defer(serve_);
    plan(entry->expires);
    if (options_.max_idle > 0) plan(entry->idle_since + options_.max_idle);
    idle_.push_back(std::move(entry));
  }
  void give_back(std::unique_ptr<Entry> entry, bool usable) noexcept {
    --leased_;
    const Nanos now = reactor_.now();
    if (usable && !closed_ && entry->expires > now) {
      entry->idle_since = now;
      return make_idle(std::move(entry));
    }
    if (!usable) {
      ++statistics_.closed_broken;
    } else if (!closed_) {
      ++statistics_.closed_age;
    }
    driver_.close(std::move(entry->connection));
    entry.reset();
    if (closed_) return finish();
    fill();
  }
  // Gives idle connections to those who wait, in their order.
  void serve() noexcept {
    tell_failed();
    while (waiting_.first && !closed_) {
      Lease lease = take_idle();
      if (!lease) break;
      Waiter& waiter = *waiting_.first;
      const Nanos waited = reactor_.now() - waiter.since_;
      forget(waiter);
      ++statistics_.waited;
      statistics_.waited_total += waited;
      statistics_.waited_longest = std::max(statistics_.waited_longest, waited);
      waiter.on_lease(std::move(lease));
    }
    fill();
  }
  void tell_failed() noexcept {
    while (Waiter* waiter = failed_.first) {
      forget(*waiter);
      waiter->on_no_lease(waiter->error_, std::exchange(waiter->text_, {}));
    }
  }
  // Opens as many as those who wait and min_size need, never more than max_size in all.
  void fill() noexcept {
    if (filling_) return;  // a driver that answers at once; the loop below goes on
    filling_ = true;
    while (!closed_ && size() < options_.max_size) {
      const bool wanted = statistics_.waiting > opening_ + idle_.size();
      const bool ahead = size() < options_.min_size && !retry_.armed();
      if (!wanted && !ahead) break;
      ++opening_;
      driver_.open(*this);
    }
    filling_ = false;
  }
  // Closes what is too old or was idle for too long.
  void keep_up() noexcept {
    planned_ = INT64_MAX;
    const Nanos now = reactor_.now();
    std::size_t kept = 0, total = size();
    for (std::size_t i = 0; i < idle_.size(); ++i) {
      Entry& entry = *idle_[i];
      const bool old = entry.expires <= now;
      const bool unused = options_.max_idle > 0 && total > options_.min_size &&
                          now - entry.idle_since >= options_.max_idle;
      if (old || unused) {
        ++(old ? statistics_.closed_age : statistics_.closed_idle);
        --total;
        driver_.close(std::move(entry.connection));
        continue;
      }
      plan(entry.expires);
      if (options_.max_idle > 0 && total > options_.min_size) plan(entry.idle_since + options_.max_idle);
      if (kept != i) idle_[kept] = std::move(idle_[i]);
      ++kept;
    }
    idle_.resize(kept);
    fill();
  }
  void plan(Nanos when) noexcept {
    if (when >= planned_ || when == INT64_MAX) return;
    planned_ = when;
    reactor_.arm(upkeep_, when);
  }
  void fail(Waiter& waiter, int error, const std::string& text) noexcept {
    ++statistics_.refused;
    waiting_.remove(waiter);
    --statistics_.waiting;
    reactor_.cancel(waiter.timer_);
    waiter.failed_ = true;
    waiter.error_ = error;
    waiter.text_ = text;
    failed_.append(waiter);
    reactor_.defer(serve_);
  }
  void forget(Waiter& waiter) noexcept {
    waiter.pool_ = nullptr;
    if (waiter.failed_) return failed_.remove(waiter);
    waiting_.remove(waiter);
    --statistics_.waiting;
    reactor_.cancel(waiter.timer_);
  }
  void drop_idle() noexcept {
    while (!idle_.empty()) {
      std::unique_ptr<Entry> entry = std::move(idle_.back());
      idle_.pop_back();
      driver_.close(std::move(entry->connection));
    }
  }
  void finish() noexcept {
    if (leased_ == 0 && opening_ == 0 && done_) std::exchange(done_, {})();
  }

  Reactor& reactor_;
  Driver& driver_;
  PoolOptions options_;
  std::minstd_rand random_;
  std::vector<std::unique_ptr<Entry>> idle_;
  List waiting_, failed_;
  std::size_t leased_ = 0, opening_ = 0;
  Nanos planned_ = INT64_MAX;
  Nanos pause_ = 0;            // the last pause after a failure; 0 when all is well
  bool closed_ = false, filling_ = false;
  std::function<void()> done_;
  PoolStatistics statistics_;
  Deferred serve_;
  Timer upkeep_;  // for the idle ones, at planned_
  Timer retry_;   // armed: no attempts ahead of need before it
};

}  // namespace fasterapi::core

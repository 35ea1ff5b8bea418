#pragma once
// The event notification core: file descriptors, timers, end-of-turn work and cross-thread posts.
//   Cost     add/modify/remove one system call; arm/cancel a timer O(1); defer a pointer push
//   Threads  a Reactor belongs to one thread; only post() and wake() may be called from others
//   Errors   methods return 0 or an errno; callbacks are noexcept
//   Python   callbacks run with the GIL held; the block hooks give it away around a wait that sleeps
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <fasterapi/core/buffer.hpp>
#include <fasterapi/core/export.hpp>
#include <fasterapi/core/queue.hpp>
#include <fasterapi/core/timer_wheel.hpp>

struct sockaddr;

namespace fasterapi::core {

using Nanos = std::int64_t;  // nanoseconds of the monotonic clock

inline constexpr unsigned kReadable = 1;
inline constexpr unsigned kWritable = 2;
inline constexpr unsigned kHangup = 4;  // peer gone or error; reported whether asked for or not
// Interests that a backend may complete itself instead of reporting readiness; see Reactor::completions().
inline constexpr unsigned kReceive = 8;   // received bytes are handed over, in the order of the stream
inline constexpr unsigned kAccept = 16;   // connections of a listening socket are handed over
inline constexpr unsigned kConnect = 32;  // Reactor::connect() is done
inline constexpr unsigned kCompletions = kReceive | kAccept | kConnect;

/// What a backend did for a descriptor. `kind` is one of kCompletions.
struct Completion {
  unsigned kind;
  int result;  // kReceive: bytes, 0 at the end; kAccept: the descriptor; kConnect: 0. Or -errno
  char* data;  // kReceive: valid and writable during the call, Reactor::kReadPadding readable bytes follow
};

/// Receives readiness of one descriptor. May remove or replace any descriptor, its own included.
class FASTERAPI_CORE_API IoHandler {
 public:
  virtual void on_io(unsigned events) noexcept = 0;
  virtual void on_complete(const Completion&) noexcept {}  // only who asked for one of kCompletions

 protected:
  ~IoHandler() = default;
};

/// Work that runs once at the end of the current turn, before the reactor may sleep: one `send` for all
/// queries of a turn, deletion of closed connections. Embedded in its owner; deferring twice is once.
class FASTERAPI_CORE_API Deferred {
 public:
  using Fn = void (*)(void* arg) noexcept;
  Deferred(Fn fn, void* arg) noexcept : fn_(fn), arg_(arg) {}
  ~Deferred();
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;
  bool pending() const noexcept { return reactor_ != nullptr; }

 private:
  friend class Reactor;
  Fn fn_;
  void* arg_;
  Deferred* next_ = nullptr;
  Deferred* prev_ = nullptr;
  class Reactor* reactor_ = nullptr;
};

/// One event as a backend reports it: readiness, or one completion with its result.
struct BackendEvent {
  std::uint64_t token;
  unsigned events;  // the upper half belongs to the backend (which buffer)
  int result;       // of completions only
};

/// Token of an event that belongs to no descriptor: it only says that there was a reason to return.
inline constexpr std::uint64_t kWakeToken = ~0ull;

/// The six verbs a platform provides, and optional ones. Tokens are opaque to it; `wait` never blocks longer
/// than asked. Readiness is level-triggered: reported by every wait for as long as it lasts.
class FASTERAPI_CORE_API Backend {
 public:
  virtual ~Backend();
  virtual const char* name() const noexcept = 0;
  virtual int add(int fd, unsigned interest, std::uint64_t token) noexcept = 0;
  virtual int modify(int fd, unsigned interest, std::uint64_t token) noexcept = 0;
  virtual int remove(int fd) noexcept = 0;
  virtual int wait(BackendEvent* events, int capacity, Nanos timeout) noexcept = 0;  // count or -errno
  virtual void wake() noexcept = 0;                                                  // any thread
  virtual int fd() const noexcept = 0;  // readable when wait(…, 0) would return something; -1 if none

  // ---- for a foreign loop that watches fd(); a backend without such a descriptor leaves them
  /// Makes fd() readable at `deadline` of the monotonic clock; INT64_MAX: never. Replaces the one before.
  virtual int alarm(Nanos deadline) noexcept;
  /// Hands to the kernel what was only noted down until the next wait.
  virtual void flush() noexcept {}

  // ---- completions; a backend that only reports readiness leaves them
  virtual unsigned completions() const noexcept { return 0; }
  /// Called for each kReceive event that is to be delivered: its bytes, or nullptr when the descriptor does not
  /// want any now. The backend then keeps the event and reports it again once it does.
  virtual bool claim(const BackendEvent&, char*&) noexcept { return true; }
  /// The event has been delivered or dropped: its buffer is free.
  virtual void recycle(const BackendEvent&) noexcept {}
  virtual int connect(int fd, const sockaddr* address, unsigned length) noexcept;  // then kConnect
};

/// Makes the backend named ("epoll", "io_uring", "kqueue", "iocp"); nullptr asks the environment's
/// FASTERAPI_REACTOR and then takes the platform's default. Where the kernel refuses io_uring, or this build
/// is without it, epoll takes its place with one line in the log, once per process. Throws Error for a name that
/// this platform does not know and when the system refuses.
FASTERAPI_CORE_API std::unique_ptr<Backend> make_backend(const char* name = nullptr);
/// Names of the backends that make_backend() knows here, the default first.
FASTERAPI_CORE_API const std::vector<const char*>& backend_names() noexcept;

FASTERAPI_CORE_API Nanos monotonic_now() noexcept;

/// What time a reactor believes it is; read about once per turn.
class FASTERAPI_CORE_API Clock {
 public:
  virtual Nanos now() noexcept = 0;

 protected:
  ~Clock() = default;
};
FASTERAPI_CORE_API Clock& monotonic_clock() noexcept;

class FASTERAPI_CORE_API Reactor {
 public:
  /// The clock must outlive the reactor; a scripted one goes with a scripted backend (see testing.hpp).
  explicit Reactor(std::unique_ptr<Backend> backend = make_backend(), Clock& clock = monotonic_clock());
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  /// Streams and listeners keep a heap-allocated reactor alive beyond its loop: who made it gives up its own
  /// reference with release() instead of delete. A reactor on the stack or in a unique_ptr never needs this.
  void retain() noexcept { ++references_; }
  void release() noexcept {
    if (--references_ == 0) delete this;
  }

  // ---- descriptors: one handler each; `interest` is kReadable | kWritable, 0 keeps only kHangup
  int add(int fd, unsigned interest, IoHandler* handler) noexcept;
  int modify(int fd, unsigned interest) noexcept;
  void remove(int fd) noexcept;  // before close(); events of it that are already fetched are dropped
  IoHandler* handler_of(int fd) const noexcept;
  /// Which of kCompletions the backend does itself; those may be used as interests (or called) here.
  unsigned completions() const noexcept { return completions_; }
  int connect(int fd, const sockaddr* address, unsigned length) noexcept;  // kConnect follows

  // ---- timers (resolution 1 ms); see timer_wheel.hpp
  void arm(Timer& timer, Nanos deadline) noexcept;  // moves it when armed
  void arm_after(Timer& timer, Nanos delay) noexcept { arm(timer, now() + delay); }
  void cancel(Timer& timer) noexcept;

  // ---- end of turn
  void defer(Deferred& work) noexcept;

  // ---- other threads
  void post(std::function<void()> work);  // runs on the reactor's thread, in order per poster
  void wake() noexcept;

  // ---- driving
  /// One turn: deferred work, wait at most `timeout` (0 polls, < 0 until an event), dispatch I/O, posted
  /// work and timers, deferred work again. Returns the number of things dispatched.
  /// A caller that knows that nothing is ready yet (a blocking driver) saves the poll before the sleep.
  int turn(Nanos timeout, bool poll_first = true) noexcept;
  /// Deferred work only, without a poll: for a loop that polled moments ago and has callbacks to run.
  void run_end_of_turn() noexcept;
  /// Cached clock: read once per turn.
  Nanos now() const noexcept { return now_; }
  void refresh_now() noexcept { now_ = clock_->now(); }
  /// Called around a wait that may sleep (to release and take the GIL).
  void set_block_hooks(void (*before)(void*), void (*after)(void*), void* arg) noexcept;
  /// Counts work that was handed to other threads and that needs what the block hooks give away (the GIL), such
  /// as calls in a thread pool: +1 when it is handed over, -1 when it is back; on the reactor's thread.
  void foreign_work(int delta) noexcept { foreign_work_ += delta; }
  int foreign_work() const noexcept { return foreign_work_; }
  /// Whether the block hooks are also called around polls that do not sleep.
  void give_way_in_polls(bool on) noexcept { give_way_in_polls_ = on; }
  /// For driving from a foreign event loop: fd() becomes readable when a turn is due, also for timers;
  /// `need_turn` is called when work was deferred outside a turn.
  int make_external(void (*need_turn)(void*), void* arg) noexcept;
  /// In the child of a fork: the same registrations on a backend of its own, made under the same name; the
  /// parent's is not touched. Throws Error when the system refuses; the reactor is then as before.
  void reopen_after_fork();
  void forget_external() noexcept;  // the foreign loop has gone; nobody is asked for turns any more
  int fd() const noexcept { return backend_->fd(); }
  const char* backend_name() const noexcept { return backend_->name(); }
  std::size_t descriptors() const noexcept { return descriptors_; }
  bool in_turn() const noexcept { return in_turn_; }

  /// Output scratch shared by the streams of this reactor; see Stream::out().
  OutBuffer& scratch() noexcept { return scratch_; }
  class Stream*& scratch_owner() noexcept { return scratch_owner_; }
  /// Read scratch of kReadScratch bytes plus kReadPadding; valid within one on_io().
  char* read_scratch() noexcept { return read_scratch_.get(); }
  static constexpr std::size_t kReadScratch = 256 * 1024;
  static constexpr std::size_t kReadPadding = 64;

 private:
  friend class Deferred;
  struct Slot {
    IoHandler* handler = nullptr;
    std::uint32_t generation = 0;
    unsigned interest = 0;
  };
  int complete(const BackendEvent& event, IoHandler* handler) noexcept;
  void noted() noexcept;
  int run_deferred() noexcept;
  int run_posted() noexcept;

  std::unique_ptr<Backend> backend_;
  Clock* clock_;
  unsigned completions_;
  std::vector<Slot> slots_;
  TimerWheel wheel_;
  MpscQueue<std::function<void()>> posted_;
  Deferred* deferred_head_ = nullptr;
  Deferred* deferred_tail_ = nullptr;
  Nanos now_;
  std::size_t descriptors_ = 0;
  std::size_t references_ = 1;
  bool in_turn_ = false;
  OutBuffer scratch_;
  class Stream* scratch_owner_ = nullptr;
  std::unique_ptr<char[]> read_scratch_;
  void (*before_block_)(void*) = nullptr;
  void (*after_block_)(void*) = nullptr;
  void* block_arg_ = nullptr;
  int foreign_work_ = 0;
  bool give_way_in_polls_ = false;
  class External;
  std::unique_ptr<External> external_;  // set by make_external()
};

}  // namespace fasterapi::core

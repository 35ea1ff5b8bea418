#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <ctime>
#include <string>

#include <fasterapi/core/error.hpp>
#include <fasterapi/core/reactor.hpp>

#include "backends.hpp"
#include "log/core_log.hpp"

namespace fasterapi::core {
namespace {

constexpr int kEventsPerWait = 256;
constexpr Nanos kLateTimer = 50'000'000;  // told in the debug log

std::uint64_t make_token(int fd, std::uint32_t generation) noexcept {
  return static_cast<std::uint64_t>(generation) << 32 | static_cast<std::uint32_t>(fd);
}

}  // namespace

/// What a reactor needs when a foreign loop drives it: a way to ask for a turn, and a timerfd that stands
/// for the wheel, so that one readable descriptor says everything.
class Reactor::External final : public IoHandler {
 public:
  External(void (*need_turn)(void*), void* arg) noexcept
      : need_turn_(need_turn), arg_(arg), fd_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {}
  ~External() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const noexcept { return fd_; }
  void on_io(unsigned) noexcept override {  // the turn that it caused advances the wheel
    std::uint64_t expirations;
    [[maybe_unused]] ssize_t got = ::read(fd_, &expirations, sizeof expirations);
    programmed_ = 0;
  }
  void request_turn() noexcept {
    if (requested_ || !need_turn_) return;
    requested_ = true;
    need_turn_(arg_);
  }
  void turn_started() noexcept { requested_ = false; }
  void forget() noexcept { need_turn_ = nullptr; }
  void program(Nanos next) noexcept {
    if (next == INT64_MAX) next = 0;  // disarms
    if (next == programmed_) return;
    programmed_ = next;
    itimerspec spec{};
    spec.it_value.tv_sec = static_cast<time_t>(next / 1'000'000'000);
    spec.it_value.tv_nsec = static_cast<long>(next % 1'000'000'000);
    ::timerfd_settime(fd_, TFD_TIMER_ABSTIME, &spec, nullptr);
  }

 private:
  void (*need_turn_)(void*);
  void* arg_;
  int fd_;
  Nanos programmed_ = 0;
  bool requested_ = false;
};

Backend::~Backend() = default;

std::unique_ptr<Backend> make_backend(const char* name) {
  if (!name) name = std::getenv("FASTERAPI_REACTOR");
  std::string wanted = name && *name ? name : "epoll";
#if FASTERAPI_LINUX
  if (wanted == "epoll") return make_epoll_backend();
#endif
  throw Error("FASTERAPI_REACTOR: no reactor backend named '" + wanted + "' in this build (available: epoll)");
}

Nanos monotonic_now() noexcept {
  timespec ts;
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<Nanos>(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec;
}

Deferred::~Deferred() {
  if (!reactor_) return;
  (prev_ ? prev_->next_ : reactor_->deferred_head_) = next_;
  (next_ ? next_->prev_ : reactor_->deferred_tail_) = prev_;
}

Reactor::Reactor(std::unique_ptr<Backend> backend)
    : backend_(std::move(backend)),
      wheel_(monotonic_now()),
      now_(monotonic_now()),
      read_scratch_(new char[kReadScratch + kReadPadding]()) {
  FASTERAPI_LOG_DEBUG(core_log(), "reactor uses %s", backend_->name());
}

Reactor::~Reactor() {
  for (Deferred* work = deferred_head_; work;) {  // owners outlive us only by mistake; do not leave them linked
    Deferred* next = work->next_;
    work->reactor_ = nullptr;
    work->next_ = work->prev_ = nullptr;
    work = next;
  }
}

int Reactor::add(int fd, unsigned interest, IoHandler* handler) noexcept {
  if (fd < 0) return EBADF;
  if (static_cast<std::size_t>(fd) >= slots_.size()) {
    try {
      slots_.resize(static_cast<std::size_t>(fd) + fd / 2 + 64);
    } catch (const std::bad_alloc&) {
      return ENOMEM;
    }
  }
  Slot& slot = slots_[static_cast<std::size_t>(fd)];
  // A slot that is taken may be stale: its descriptor was closed without remove(), and the number is in use
  // again. The kernel knows: it refuses what is really registered.
  int error = backend_->add(fd, interest, make_token(fd, slot.generation + 1));
  if (error) return error;
  ++slot.generation;
  if (!slot.handler) ++descriptors_;
  slot.handler = handler;
  slot.interest = interest;
  return 0;
}

int Reactor::modify(int fd, unsigned interest) noexcept {
  if (!handler_of(fd)) return ENOENT;
  Slot& slot = slots_[static_cast<std::size_t>(fd)];
  int error = backend_->modify(fd, interest, make_token(fd, slot.generation));
  if (!error) slot.interest = interest;
  return error;
}

void Reactor::remove(int fd) noexcept {
  if (!handler_of(fd)) return;
  Slot& slot = slots_[static_cast<std::size_t>(fd)];
  slot.handler = nullptr;
  ++slot.generation;  // events already fetched carry the old one
  --descriptors_;
  backend_->remove(fd);
}

IoHandler* Reactor::handler_of(int fd) const noexcept {
  return fd >= 0 && static_cast<std::size_t>(fd) < slots_.size() ? slots_[static_cast<std::size_t>(fd)].handler
                                                                 : nullptr;
}

void Reactor::arm(Timer& timer, Nanos deadline) noexcept {
  wheel_.arm(timer, deadline);
  if (external_ && !in_turn_) external_->program(wheel_.next_deadline());
}

void Reactor::cancel(Timer& timer) noexcept { wheel_.cancel(timer); }

void Reactor::defer(Deferred& work) noexcept {
  if (work.reactor_) return;
  work.reactor_ = this;
  work.next_ = nullptr;
  work.prev_ = deferred_tail_;
  (deferred_tail_ ? deferred_tail_->next_ : deferred_head_) = &work;
  deferred_tail_ = &work;
  if (external_ && !in_turn_) external_->request_turn();
}

int Reactor::run_deferred() noexcept {
  int count = 0;
  // A pass over what is linked now and what that work defers in turn; bounded so that I/O is never starved.
  for (int budget = 65536; deferred_head_ && budget > 0; --budget) {
    Deferred* work = deferred_head_;
    deferred_head_ = work->next_;
    (deferred_head_ ? deferred_head_->prev_ : deferred_tail_) = nullptr;
    work->reactor_ = nullptr;
    work->next_ = work->prev_ = nullptr;
    work->fn_(work->arg_);  // may destroy `work`
    ++count;
  }
  return count;
}

void Reactor::post(std::function<void()> work) {
  posted_.push(std::move(work));
  backend_->wake();
}

void Reactor::wake() noexcept { backend_->wake(); }

int Reactor::run_posted() noexcept {
  int count = 0;
  std::function<void()> work;
  while (count < 65536 && posted_.pop(work)) {
    work();
    work = nullptr;
    ++count;
  }
  return count;
}

int Reactor::turn(Nanos timeout, bool poll_first) noexcept {
  in_turn_ = true;
  if (external_) external_->turn_started();
  int dispatched = run_deferred();

  BackendEvent events[kEventsPerWait];
  int n = 0;
  // Poll first: under load something is always ready, and the GIL need not change hands.
  if (poll_first || timeout == 0) {
    const bool give_way = give_way_in_polls_ && before_block_;
    if (give_way) before_block_(block_arg_);
    n = backend_->wait(events, kEventsPerWait, 0);
    if (give_way) after_block_(block_arg_);
  }
  // After deferred work the caller's idea of how long to sleep is out of date: it may have made something ready.
  if (n == 0 && timeout != 0 && dispatched == 0 && deferred_head_ == nullptr && posted_.empty()) {
    refresh_now();
    Nanos next = wheel_.next_deadline();
    Nanos wait = timeout;
    if (next != INT64_MAX) {
      Nanos until = next > now_ ? next - now_ : 0;
      if (wait < 0 || until < wait) wait = until;
    }
    if (wait != 0) {
      if (before_block_) before_block_(block_arg_);
      n = backend_->wait(events, kEventsPerWait, wait);
      if (after_block_) after_block_(block_arg_);
    }
  }
  refresh_now();
  for (int i = 0; i < n; ++i) {
    auto fd = static_cast<std::uint32_t>(events[i].token);
    if (fd >= slots_.size()) continue;
    const Slot& slot = slots_[fd];
    if (!slot.handler || slot.generation != static_cast<std::uint32_t>(events[i].token >> 32)) continue;
    slot.handler->on_io(events[i].events);
    ++dispatched;
  }
  dispatched += run_posted();
  if (FASTERAPI_UNLIKELY(core_log().enabled(log::Level::kDebug))) {
    if (Nanos late = now_ - wheel_.next_deadline(); late > kLateTimer)
      FASTERAPI_LOG_DEBUG(core_log(), "timers are %.1f ms late: something held the loop", static_cast<double>(late) / 1e6);
  }
  dispatched += wheel_.advance(now_);
  dispatched += run_deferred();
  in_turn_ = false;
  if (external_) external_->program(wheel_.next_deadline());
  return dispatched;
}

void Reactor::run_end_of_turn() noexcept {
  if (!deferred_head_) return;
  in_turn_ = true;
  run_deferred();
  in_turn_ = false;
}

void Reactor::set_block_hooks(void (*before)(void*), void (*after)(void*), void* arg) noexcept {
  before_block_ = before;
  after_block_ = after;
  block_arg_ = arg;
}

int Reactor::make_external(void (*need_turn)(void*), void* arg) noexcept {
  if (external_) return EALREADY;
  external_.reset(new (std::nothrow) External(need_turn, arg));
  if (!external_) return ENOMEM;
  int error = external_->fd() < 0 ? errno : add(external_->fd(), kReadable, external_.get());
  if (error) external_.reset();
  return error;
}

void Reactor::reopen_after_fork() {
  backend_ = make_backend(backend_->name());
  for (std::size_t fd = 0; fd < slots_.size(); ++fd) {
    Slot& slot = slots_[fd];
    if (slot.handler)  // refused: it was closed without remove(), so nobody waits for it
      backend_->add(static_cast<int>(fd), slot.interest, make_token(static_cast<int>(fd), slot.generation));
  }
}

void Reactor::forget_external() noexcept {
  if (external_) external_->forget();
}

}  // namespace fasterapi::core

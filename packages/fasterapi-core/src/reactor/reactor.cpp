#include <fasterapi/core/reactor.hpp>

#include <cerrno>
#include <new>
#include <utility>

#include <fasterapi/core/platform.hpp>

#include "log/core_log.hpp"
#include "socket_calls.hpp"

namespace fasterapi::core {
namespace {

constexpr int kEventsPerWait = 256;
constexpr Nanos kLateTimer = 50'000'000;  // told in the debug log

std::uint64_t make_token(int fd, std::uint32_t generation) noexcept {
  return static_cast<std::uint64_t>(generation) << 32 | static_cast<std::uint32_t>(fd);
}

}  // namespace

/// What a reactor needs when a foreign loop drives it: a way to ask for a turn. The backend's alarm stands for
/// the timer wheel, so that one readable descriptor says everything.
class Reactor::External final {
 public:
  External(void (*need_turn)(void*), void* arg, std::unique_ptr<Backend>& backend, Nanos programmed) noexcept
      : need_turn_(need_turn), arg_(arg), backend_(backend), programmed_(programmed) {}
  void request_turn() noexcept {
    if (requested_ || !need_turn_) return;
    requested_ = true;
    need_turn_(arg_);
  }
  void turn_started() noexcept { requested_ = false; }
  void forget() noexcept { need_turn_ = nullptr; }
  void program(Nanos next) noexcept {
    if (next == programmed_) return;
    programmed_ = next;
    backend_->alarm(next);
  }
  void turn_ended(Nanos now, Nanos next) noexcept {
    if (programmed_ <= now) programmed_ = kNone;  // it has rung
    program(next);
    backend_->flush();
  }

 private:
  static constexpr Nanos kNone = INT64_MAX;
  void (*need_turn_)(void*);
  void* arg_;
  std::unique_ptr<Backend>& backend_;  // the reactor's; another one after a fork
  Nanos programmed_;
  bool requested_ = false;
};

Deferred::~Deferred() {
  if (!reactor_) return;
  (prev_ ? prev_->next_ : reactor_->deferred_head_) = next_;
  (next_ ? next_->prev_ : reactor_->deferred_tail_) = prev_;
}

Reactor::Reactor(std::unique_ptr<Backend> backend, Clock& clock)
    : backend_(std::move(backend)),
      clock_(&clock),
      completions_(backend_->completions()),
      wheel_(clock.now()),
      now_(clock.now()),
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
  noted();
  return 0;
}

// A foreign loop sleeps on the backend's descriptor: what it has only noted down so far would be missed.
void Reactor::noted() noexcept {
  if (FASTERAPI_UNLIKELY(external_ != nullptr) && !in_turn_) backend_->flush();
}

int Reactor::modify(int fd, unsigned interest) noexcept {
  if (!handler_of(fd)) return ENOENT;
  Slot& slot = slots_[static_cast<std::size_t>(fd)];
  int error = backend_->modify(fd, interest, make_token(fd, slot.generation));
  if (!error) slot.interest = interest;
  noted();
  return error;
}

int Reactor::connect(int fd, const sockaddr* address, unsigned length) noexcept {
  int error = backend_->connect(fd, address, length);
  noted();
  return error;
}

// A completion carries what would be lost: bytes in a buffer of the backend, or an accepted descriptor.
int Reactor::complete(const BackendEvent& event, IoHandler* handler) noexcept {
  const unsigned kind = event.events & kCompletions;
  Completion completion{kind, event.result, nullptr};
  if (handler) {
    if (kind == kReceive && !backend_->claim(event, completion.data)) return 0;
    handler->on_complete(completion);
  } else if (kind == kAccept && event.result >= 0) {
    net::close(event.result);
  }
  backend_->recycle(event);
  return 1;
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
    const bool current = slot.handler && slot.generation == static_cast<std::uint32_t>(events[i].token >> 32);
    if (FASTERAPI_UNLIKELY(events[i].events & kCompletions)) {
      dispatched += complete(events[i], current ? slot.handler : nullptr);
      continue;
    }
    if (!current) continue;
    slot.handler->on_io(events[i].events);
    ++dispatched;
  }
  dispatched += run_posted();
  if (FASTERAPI_UNLIKELY(core_log().enabled(log::Level::kDebug))) {
    if (Nanos late = now_ - wheel_.next_deadline(); late > kLateTimer)
      FASTERAPI_LOG_DEBUG(core_log(), "timers are %.1f ms late: something held the loop",
                          static_cast<double>(late) / 1e6);
  }
  dispatched += wheel_.advance(now_);
  dispatched += run_deferred();
  in_turn_ = false;
  if (external_) external_->turn_ended(now_, wheel_.next_deadline());
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
  // Also where there is no timer yet: from now on the backend needs a descriptor.
  const Nanos next = wheel_.next_deadline();
  if (int error = backend_->alarm(next)) return error;
  external_.reset(new (std::nothrow) External(need_turn, arg, backend_, next));
  if (!external_) return ENOMEM;
  backend_->flush();
  return 0;
}

void Reactor::reopen_after_fork() {
  backend_ = make_backend(backend_->name());
  completions_ = backend_->completions();
  for (std::size_t fd = 0; fd < slots_.size(); ++fd) {
    Slot& slot = slots_[fd];
    if (!slot.handler) continue;
    if (slot.interest & kCompletions & ~completions_) slot.interest = kReadable;  // another backend took its place
    // Refused: it was closed without remove(), so nobody waits for it.
    backend_->add(static_cast<int>(fd), slot.interest, make_token(static_cast<int>(fd), slot.generation));
  }
}

void Reactor::forget_external() noexcept {
  if (external_) external_->forget();
}

}  // namespace fasterapi::core

#include <fasterapi/core/cancellation.hpp>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <limits>

#include <fasterapi/core/detail/recycle.hpp>
#include <fasterapi/core/reactor.hpp>

namespace fasterapi::core {

Cancelled::Cancelled(const std::string& message) : Error(message, ECANCELED) {}
Cancelled::~Cancelled() = default;
DeadlineExceeded::DeadlineExceeded(const std::string& message) : Error(message, ETIMEDOUT) {}
DeadlineExceeded::~DeadlineExceeded() = default;
BrokenPromise::BrokenPromise(const std::string& message) : Error(message, EPIPE) {}
BrokenPromise::~BrokenPromise() = default;

namespace detail {

struct CancellationState {
  CancellationState() noexcept : parent(nullptr, this), timer(&CancellationState::expire, this) {
    hooks.next_ = hooks.prev_ = &hooks;
  }
  ~CancellationState() { hooks.next_ = nullptr; }  // it is empty: each hook counts

  static CancellationState* make() {
    return ::new (allocate_recycled(sizeof(CancellationState))) CancellationState;
  }
  static void expire(void* self) noexcept {
    auto* state = retain(static_cast<CancellationState*>(self));
    state->cancel(CancelReason::deadline);
    release(state);
  }
  bool watch(CancellationHook& hook) noexcept {
    hook.reason_ = reason;
    if (reason != CancelReason::none || !can_be_cancelled()) return false;
    hook.state_ = retain(this);
    hook.next_ = &hooks;
    hook.prev_ = hooks.prev_;
    hook.prev_->next_ = hook.next_->prev_ = &hook;
    return true;
  }
  bool can_be_cancelled() const noexcept {
    return reason != CancelReason::none || sources || timer.armed() || parent.watching();
  }
  /// Marks the state as cancelled and puts its hooks before those of `running`.
  void collect(CancelReason why, CancellationHook& running) noexcept {
    reason = why;
    if (timer.armed()) reactor->cancel(timer);
    if (hooks.next_ == &hooks) return;
    CancellationHook *first = hooks.next_, *last = hooks.prev_;
    hooks.next_ = hooks.prev_ = &hooks;
    last->next_ = running.next_;
    running.next_->prev_ = last;
    running.next_ = first;
    first->prev_ = &running;
  }
  /// The caller holds a reference. Children are a part of the loop and no recursion.
  void cancel(CancelReason why) noexcept {
    if (reason != CancelReason::none) return;
    CancellationHook running;
    running.next_ = running.prev_ = &running;
    parent.leave();
    collect(why, running);
    while (running.next_ != &running) {
      CancellationHook& hook = *running.next_;
      hook.unlink();
      CancellationState* of = std::exchange(hook.state_, nullptr);
      if (hook.fn_) {
        hook.reason_ = why;
        hook.fn_(hook.arg_);  // the hook may be gone after this
      } else {
        static_cast<CancellationState*>(hook.arg_)->collect(why, running);
      }
      release(of);
    }
    running.next_ = nullptr;
  }
  CancellationState* above() const noexcept { return parent.state_; }
  /// Destroys the state. Returns the parent, whose reference is the caller's now: the end of a row of children is
  /// a loop.
  CancellationState* end() noexcept {
    CancellationState* freed = nullptr;
    if (parent.watching()) {
      parent.unlink();
      freed = std::exchange(parent.state_, nullptr);
    }
    this->~CancellationState();
    recycle(this, sizeof(CancellationState));
    return freed;
  }

  std::uint32_t references = 1;
  std::uint32_t sources = 1;
  CancelReason reason = CancelReason::none;
  std::int64_t deadline = std::numeric_limits<std::int64_t>::max();
  CancellationHook hooks;   // the head of the list
  CancellationHook parent;  // registered with the parent
  Timer timer;
  Reactor* reactor = nullptr;
};

CancellationState* retain(CancellationState* state) noexcept {
  if (state) ++state->references;
  return state;
}
void release(CancellationState* state) noexcept {
  while (state && --state->references == 0) state = state->end();
}

std::exception_ptr cancellation_error(CancelReason reason) noexcept {
  if (reason == CancelReason::deadline)
    return std::make_exception_ptr(DeadlineExceeded("the deadline has passed"));
  return std::make_exception_ptr(Cancelled("cancelled"));
}

}  // namespace detail

CancelReason CancellationToken::reason() const noexcept { return state_ ? state_->reason : CancelReason::none; }
bool CancellationToken::can_be_cancelled() const noexcept { return state_ && state_->can_be_cancelled(); }
std::int64_t CancellationToken::deadline() const noexcept {
  std::int64_t earliest = std::numeric_limits<std::int64_t>::max();
  for (auto* state = state_; state; state = state->above()) earliest = std::min(earliest, state->deadline);
  return earliest;
}
std::exception_ptr CancellationToken::error() const noexcept {
  return cancelled() ? detail::cancellation_error(reason()) : nullptr;
}

bool CancellationHook::watch(const CancellationToken& token) noexcept {
  leave();
  reason_ = CancelReason::none;
  return token.state_ && token.state_->watch(*this);
}

CancellationSource::CancellationSource() : state_(detail::CancellationState::make()) {}
CancellationSource::CancellationSource(const CancellationToken& parent) : CancellationSource() {
  if (!state_->parent.watch(parent)) state_->reason = parent.reason();
}
CancellationSource::~CancellationSource() {
  if (!state_) return;
  --state_->sources;
  detail::release(state_);
}
void CancellationSource::cancel() noexcept {
  detail::CancellationState* state = detail::retain(state_);  // a hook may destroy this source
  state->cancel(CancelReason::cancelled);
  detail::release(state);
}
bool CancellationSource::cancelled() const noexcept { return state_->reason != CancelReason::none; }
void CancellationSource::cancel_at(Reactor& reactor, std::int64_t deadline) noexcept {
  if (cancelled() || deadline >= state_->deadline) return;
  state_->deadline = deadline;
  state_->reactor = &reactor;
  reactor.arm(state_->timer, deadline);
}
void CancellationSource::cancel_after(Reactor& reactor, std::int64_t nanos) noexcept {
  cancel_at(reactor, reactor.now() + nanos);
}

}  // namespace fasterapi::core

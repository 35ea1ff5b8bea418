#pragma once
// CancellationSource, CancellationToken, CancellationHook: how one side tells many that work is not wanted any
// more.
//   Cost     a source is one block of recycled memory; a token is a counted pointer; a hook is a member of who
//   wants
//            to know: registering and leaving are a few stores, without allocation, in O(1)
//   Order    cancel() calls each hook once, in the order of registration, children's where the child stands
//   Threads  one; to cancel from another thread, Reactor::post() it
//   Ownership  any of the three may go first: what they share is counted. A hook leaves when destroyed. A source
//   made
//            from a token is its child and cancelled with it. Deadline and parent hold on when the source has gone
//   Deadlines  cancel_at() arms a timer of the reactor (resolution 1 ms); a reactor that goes first disarms it
//   Callbacks  may destroy any source, token or hook, themselves included, and register new ones
#include <cstdint>
#include <exception>
#include <utility>

#include <fasterapi/core/error.hpp>
#include <fasterapi/core/export.hpp>
#include <fasterapi/core/timer_wheel.hpp>

namespace fasterapi::core {

class Reactor;

/// The work was not wanted any more. code() is ECANCELED.
class FASTERAPI_CORE_API Cancelled : public Error {
 public:
  explicit Cancelled(const std::string& message);
  ~Cancelled() override;
};
/// It took longer than it might. code() is ETIMEDOUT.
class FASTERAPI_CORE_API DeadlineExceeded : public Error {
 public:
  explicit DeadlineExceeded(const std::string& message);
  ~DeadlineExceeded() override;
};
/// A promise went without a value. code() is EPIPE.
class FASTERAPI_CORE_API BrokenPromise : public Error {
 public:
  explicit BrokenPromise(const std::string& message);
  ~BrokenPromise() override;
};

enum class CancelReason : std::uint8_t { none, cancelled, deadline };

class CancellationHook;
class CancellationToken;

namespace detail {
struct CancellationState;
FASTERAPI_CORE_API CancellationState* retain(CancellationState* state) noexcept;
FASTERAPI_CORE_API void release(CancellationState* state) noexcept;
}  // namespace detail

class FASTERAPI_CORE_API CancellationToken {
 public:
  /// A token that is never cancelled.
  CancellationToken() noexcept = default;
  CancellationToken(const CancellationToken& other) noexcept : state_(detail::retain(other.state_)) {}
  CancellationToken(CancellationToken&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  CancellationToken& operator=(CancellationToken other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~CancellationToken() {
    if (state_) detail::release(state_);
  }
  bool cancelled() const noexcept { return reason() != CancelReason::none; }
  CancelReason reason() const noexcept;
  /// Whether it is cancelled or could be: by a source, a parent or a deadline.
  bool can_be_cancelled() const noexcept;
  /// The time of the monotonic clock at which it will be cancelled at the latest; INT64_MAX for none.
  std::int64_t deadline() const noexcept;
  /// Cancelled or DeadlineExceeded; nullptr while not cancelled.
  std::exception_ptr error() const noexcept;
  void throw_if_cancelled() const {
    if (cancelled()) std::rethrow_exception(error());
  }

 private:
  friend class CancellationSource;
  friend class CancellationHook;
  explicit CancellationToken(detail::CancellationState* retained) noexcept : state_(retained) {}
  detail::CancellationState* state_ = nullptr;
};

/// Calls `fn(arg)` when the token that it watches is cancelled. A member of who wants to know.
class FASTERAPI_CORE_API CancellationHook {
 public:
  using Fn = void (*)(void* arg) noexcept;
  CancellationHook(Fn fn, void* arg) noexcept : fn_(fn), arg_(arg) {}
  ~CancellationHook() { leave(); }
  CancellationHook(const CancellationHook&) = delete;
  CancellationHook& operator=(const CancellationHook&) = delete;

  /// Registers with the token's source, leaving another one. False, without a call, when that is cancelled already
  /// (reason() tells why) or can never be.
  bool watch(const CancellationToken& token) noexcept;
  void leave() noexcept {
    if (!next_) return;
    unlink();
    detail::release(std::exchange(state_, nullptr));
  }
  bool watching() const noexcept { return next_ != nullptr; }
  /// Of the source that it watched last, within the call or after watch() said no.
  CancelReason reason() const noexcept { return reason_; }

 private:
  friend struct detail::CancellationState;
  CancellationHook() noexcept = default;  // the head of a list
  void unlink() noexcept {
    next_->prev_ = prev_;
    prev_->next_ = next_;
    next_ = prev_ = nullptr;
  }
  detail::CancellationState* state_ = nullptr;  // counted while registered
  CancellationHook* next_ = nullptr;            // circular; nullptr while not registered
  CancellationHook* prev_ = nullptr;
  Fn fn_ = nullptr;  // nullptr for a child's
  void* arg_ = nullptr;
  CancelReason reason_ = CancelReason::none;
};

class FASTERAPI_CORE_API CancellationSource {
 public:
  /// Throws std::bad_alloc.
  CancellationSource();
  /// A child: cancelled with `parent`, and by itself.
  explicit CancellationSource(const CancellationToken& parent);
  CancellationSource(CancellationSource&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  CancellationSource& operator=(CancellationSource&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~CancellationSource();
  CancellationToken token() const noexcept { return CancellationToken(detail::retain(state_)); }
  /// Calls the hooks; again has no effect.
  void cancel() noexcept;
  bool cancelled() const noexcept;
  /// Cancels with CancelReason::deadline at this time of the monotonic clock. Only ever moves the deadline
  /// forward: a later one than there is has no effect.
  void cancel_at(Reactor& reactor, std::int64_t deadline) noexcept;
  void cancel_after(Reactor& reactor, std::int64_t nanos) noexcept;

 private:
  detail::CancellationState* state_;
};

namespace detail {
FASTERAPI_CORE_API std::exception_ptr cancellation_error(CancelReason reason) noexcept;
inline std::exception_ptr cancellation_error(const CancellationHook& hook) noexcept {
  return cancellation_error(hook.reason());
}
inline std::exception_ptr cancellation_error(const Timer&) noexcept {
  return cancellation_error(CancelReason::deadline);
}
}  // namespace detail

}  // namespace fasterapi::core

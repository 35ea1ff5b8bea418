#pragma once
// Link: the completing side of a future within one thread. It knows the place that the outcome goes to, the
// future's own memory wherever that has been moved, so that the two share no state on the heap.
#include <exception>

#include <fasterapi/core/detail/outcome.hpp>
#include <fasterapi/core/detail/recycle.hpp>
#include <fasterapi/core/error.hpp>

namespace fasterapi::core::detail {

struct LinkBase {
  Continuation* next = nullptr;  // who waits, while somebody wants the outcome
  Canceller* owner = nullptr;    // who completes it, if that can be asked to stop
};

/// From a link towards the operation behind it, which is asked to stop. Nothing of the way is touched after that.
inline void cancel_behind(LinkBase* link) noexcept {
  while (link && link->owner) link = link->owner->cancel();
}

[[gnu::cold]] inline std::exception_ptr error_of(const char* text) noexcept {
  return std::make_exception_ptr(Error(text));
}

template <class V>
struct Link : LinkBase {
  Outcome<V>* slot = nullptr;  // nullptr: nobody wants the outcome, or it was delivered

  /// Stores the outcome; returns who waited for it.
  template <class... Args>
  FASTERAPI_FUTURE_INLINE Continuation* finish(Args&&... args) {
    if (FASTERAPI_UNLIKELY(!slot)) return nullptr;
    slot->emplace(std::forward<Args>(args)...);
    slot = nullptr;
    return next;  // it means nothing any more without a slot
  }
  /// finish() of a link that is destroyed then.
  template <class... Args>
  FASTERAPI_FUTURE_INLINE Continuation* finish_last(Args&&... args) {
    if (FASTERAPI_UNLIKELY(!slot)) return nullptr;
    slot->emplace(std::forward<Args>(args)...);
    return next;
  }
  FASTERAPI_FUTURE_INLINE void bind(Outcome<V>& future) noexcept {
    slot = &future;
    future.refer_to(this, Kind::pending);
  }
  /// The future has gone.
  FASTERAPI_FUTURE_INLINE void drop() noexcept { slot = nullptr; }
  /// Takes the future of `other`, which will not complete it any more.
  void take(Link& other) noexcept {
    next = other.next;
    slot = std::exchange(other.slot, nullptr);
    if (slot) slot->refer_to(this, Kind::pending);
  }
};

/// A pending future's own end of the link.
template <class V>
FASTERAPI_FUTURE_INLINE inline Link<V>* link_of(const Outcome<V>& future) noexcept {
  return static_cast<Link<V>*>(future.source());
}

}  // namespace fasterapi::core::detail

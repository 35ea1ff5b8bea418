#pragma once
// Outcome: what a future holds. Continuation: what waits for one. The parts that both kinds of futures share.
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include <fasterapi/core/platform.hpp>

// The compiler's own estimate leaves calls in the paths that have to cost a nanosecond.
#define FASTERAPI_FUTURE_INLINE [[gnu::always_inline]]

namespace fasterapi::core {

template <class T>
class Future;
template <class T>
class Promise;

namespace detail {

struct Unit {};
template <class T>
using Stored = std::conditional_t<std::is_void_v<T>, Unit, T>;

template <class T>
struct IsFuture : std::false_type {};
template <class T>
struct IsFuture<Future<T>> : std::true_type {};
template <class R>
struct Unwrap {
  using type = R;
};
template <class T>
struct Unwrap<Future<T>> {
  using type = T;
};

/// `pending` and `shared` are a future's: it knows who will complete it (source()).
enum class Kind : std::uint8_t { none, pending, shared, value, error };

/// Nothing yet, a source, a value, or an exception. Moving out of it leaves nothing.
template <class V>
class Outcome {
  static_assert(std::is_nothrow_move_constructible_v<V>, "a future's value must move without throwing");

 public:
  FASTERAPI_FUTURE_INLINE Outcome() noexcept {}
  template <class... Args>
  FASTERAPI_FUTURE_INLINE explicit Outcome(std::in_place_t, Args&&... args)
      : value_(std::forward<Args>(args)...), kind_(Kind::value) {}
  explicit Outcome(std::exception_ptr error) noexcept : error_(std::move(error)), kind_(Kind::error) {}
  FASTERAPI_FUTURE_INLINE Outcome(Outcome&& other) noexcept { take(other); }
  FASTERAPI_FUTURE_INLINE Outcome& operator=(Outcome&& other) noexcept {
    clear();
    take(other);
    return *this;
  }
  FASTERAPI_FUTURE_INLINE ~Outcome() { clear(); }

  /// Over nothing or a source.
  template <class... Args>
  FASTERAPI_FUTURE_INLINE void emplace(std::in_place_t, Args&&... args) {
    ::new (static_cast<void*>(std::addressof(value_))) V(std::forward<Args>(args)...);
    kind_ = Kind::value;
  }
  FASTERAPI_FUTURE_INLINE void emplace(Outcome&& other) noexcept { take(other); }
  FASTERAPI_FUTURE_INLINE void refer_to(void* source, Kind kind) noexcept {
    source_ = source;
    kind_ = kind;
  }

  Kind kind() const noexcept { return kind_; }
  FASTERAPI_FUTURE_INLINE bool ready() const noexcept { return kind_ >= Kind::value; }
  V& value() noexcept { return value_; }
  std::exception_ptr& error() noexcept { return error_; }
  void* source() const noexcept { return source_; }
  /// Forgets its source, or nothing.
  FASTERAPI_FUTURE_INLINE void let_go() noexcept { kind_ = Kind::none; }
  FASTERAPI_FUTURE_INLINE void clear() noexcept {
    if (kind_ == Kind::value) {
      value_.~V();
    } else if (FASTERAPI_UNLIKELY(kind_ == Kind::error)) {
      error_.~exception_ptr();
    }
    kind_ = Kind::none;
  }

 private:
  FASTERAPI_FUTURE_INLINE void take(Outcome& other) noexcept {
    kind_ = other.kind_;
    if (kind_ == Kind::value) {
      ::new (static_cast<void*>(std::addressof(value_))) V(std::move(other.value_));
    } else if (kind_ == Kind::error) {
      ::new (static_cast<void*>(&error_)) std::exception_ptr(std::move(other.error_));
    } else if (kind_ != Kind::none) {
      source_ = other.source_;
    }
    other.clear();
  }
  union {
    V value_;
    std::exception_ptr error_;
    void* source_;
  };
  Kind kind_ = Kind::none;
};

struct LinkBase;

/// One step on the way from a pending future back to the operation that will complete it.
class Canceller {
 public:
  /// Asks what is behind it to stop; what that waits for itself is returned instead, so that the way along a
  /// long chain is a loop.
  virtual LinkBase* cancel() noexcept = 0;

 protected:
  ~Canceller() = default;
};

/// What waits for an outcome. run() takes it and returns who has to run next, so that a long chain of
/// continuations is a loop and no recursion.
class Continuation : public Canceller {
 public:
  virtual Continuation* run() noexcept = 0;
  /// The coroutine that run() would resume, for symmetric transfer.
  virtual std::coroutine_handle<> coroutine() noexcept { return {}; }

 protected:
  ~Continuation() = default;
};

inline void drive(Continuation* next) noexcept {
  while (next) next = next->run();
}

/// The end of a coroutine: runs what waited for it; a coroutine that did is resumed after the caller's frame.
inline std::coroutine_handle<> drive_to_coroutine(Continuation* next) noexcept {
  while (next) {
    if (std::coroutine_handle<> handle = next->coroutine()) return handle;
    next = next->run();
  }
  return std::noop_coroutine();
}

}  // namespace detail
}  // namespace fasterapi::core

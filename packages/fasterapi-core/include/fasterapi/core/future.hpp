#pragma once
// Future<T> / Promise<T>: a value that may come later, with continuations, after Seastar's.
//   Cost     ready values never allocate and their .then() is a call; a pending promise and each .then() on it
//            take one block of recycled memory of this thread
//   Threads  a promise, its future and what hangs on them belong to one thread, without locks. Those made by
//            Promise<T>::across_threads() may be set on another thread than the future's: continuations then run
//            on the thread that sets the value, and get() may wait for it. A continuation of a one-thread future
//            must not return one across threads: post the value to the thread instead (Reactor::post)
//   Errors   an exception of a continuation becomes the error of its future and passes by further .then()s;
//            a promise destroyed without a value is an error; an error that nobody asks for is dropped
//   Ownership  both are move-only; each future is used once (then, get, co_await)
#include <atomic>
#include <cassert>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <fasterapi/core/detail/recycle.hpp>
#include <fasterapi/core/error.hpp>
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

enum class Kind : std::uint8_t { none, value, error };

/// Nothing yet, a value, or an exception. Moving out of it leaves nothing.
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

  template <class... Args>
  FASTERAPI_FUTURE_INLINE void emplace(std::in_place_t, Args&&... args) {
    ::new (static_cast<void*>(&value_)) V(std::forward<Args>(args)...);
    kind_ = Kind::value;
  }
  FASTERAPI_FUTURE_INLINE void emplace(Outcome&& other) noexcept { take(other); }  // into nothing
  Kind kind() const noexcept { return kind_; }
  V& value() noexcept { return value_; }
  std::exception_ptr& error() noexcept { return error_; }
  FASTERAPI_FUTURE_INLINE V get() {  // the value, or throws
    if (FASTERAPI_UNLIKELY(kind_ == Kind::error)) std::rethrow_exception(std::move(error_));
    if (kind_ != Kind::value) __builtin_unreachable();
    return std::move(value_);
  }

 private:
  FASTERAPI_FUTURE_INLINE void take(Outcome& other) noexcept {
    kind_ = other.kind_;
    if (kind_ == Kind::value) {
      ::new (static_cast<void*>(&value_)) V(std::move(other.value_));
    } else if (kind_ == Kind::error) {
      ::new (static_cast<void*>(&error_)) std::exception_ptr(std::move(other.error_));
    }
    other.clear();
  }
  FASTERAPI_FUTURE_INLINE void clear() noexcept {
    if (kind_ == Kind::value) {
      value_.~V();
    } else if (FASTERAPI_UNLIKELY(kind_ == Kind::error)) {
      error_.~exception_ptr();
    }
    kind_ = Kind::none;
  }
  union {
    V value_;
    std::exception_ptr error_;
  };
  Kind kind_ = Kind::none;
};

/// What waits for a state. run() takes the outcome and returns who has to run next, so that a long chain of
/// continuations is a loop and no recursion.
class Continuation {
 public:
  virtual Continuation* run() noexcept = 0;

 protected:
  ~Continuation() = default;
};

inline void drive(Continuation* next) noexcept {
  while (next) next = next->run();
}

struct Sync {
  std::mutex mutex;
  std::condition_variable complete;
};

/// Shared by a pending promise and its future; gives its memory back when both have let go. Derived, so that
/// one block may hold the state and the continuation that completes it (Node).
template <class V>
class State : public Continuation {
 public:
  static constexpr std::uint8_t kPromise = 1, kFuture = 2;
  State(std::uint8_t list, bool across) : list_(list) {
    if (FASTERAPI_UNLIKELY(across)) sync = new Sync;
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  FASTERAPI_FUTURE_INLINE bool complete() noexcept {
    if (FASTERAPI_LIKELY(!sync)) return result.kind() != Kind::none;
    std::lock_guard lock(sync->mutex);
    return result.kind() != Kind::none;
  }
  /// Stores the outcome; returns who waited for it.
  template <class... Args>
  FASTERAPI_FUTURE_INLINE Continuation* finish(Args&&... args) {
    if (FASTERAPI_LIKELY(!sync)) {
      result.emplace(std::forward<Args>(args)...);
      return std::exchange(next_, nullptr);
    }
    std::lock_guard lock(sync->mutex);
    result.emplace(std::forward<Args>(args)...);
    sync->complete.notify_all();
    return std::exchange(next_, nullptr);
  }
  /// False when the outcome is there already: the caller goes on itself.
  FASTERAPI_FUTURE_INLINE bool attach(Continuation* next) noexcept {
    if (FASTERAPI_LIKELY(!sync)) {
      if (result.kind() != Kind::none) return false;
      next_ = next;
      return true;
    }
    std::lock_guard lock(sync->mutex);
    if (result.kind() != Kind::none) return false;
    next_ = next;
    return true;
  }
  void wait() {
    std::unique_lock lock(sync->mutex);
    sync->complete.wait(lock, [&] { return result.kind() != Kind::none; });
  }
  void hold(std::uint8_t side) noexcept { holders_ |= side; }
  FASTERAPI_FUTURE_INLINE void let_go(std::uint8_t side) noexcept {
    if (FASTERAPI_UNLIKELY(sync != nullptr)) return let_go_locked(side);
    if ((holders_ &= static_cast<std::uint8_t>(~side)) == 0) end();
  }
  Continuation* run() noexcept override { return nullptr; }  // a promise's: it waits for nobody

  Outcome<V> result;
  Sync* sync = nullptr;  // of those made across threads

 private:
  void let_go_locked(std::uint8_t side) noexcept {
    {
      std::lock_guard lock(sync->mutex);
      if ((holders_ &= static_cast<std::uint8_t>(~side)) != 0) return;
    }
    delete sync;
    end();
  }
  FASTERAPI_FUTURE_INLINE void end() noexcept {
    const std::uint8_t list = list_;
    this->~State();
    recycle_to(this, list);
  }
  Continuation* next_ = nullptr;
  std::uint8_t list_;  // where the memory goes back to
  std::uint8_t holders_ = kPromise;
};

/// A continuation together with the state of the future that it completes. `Step` maps Outcome<V> to Future<R>.
template <class V, class R, class Step>
class Node final : public State<Stored<R>> {
  using Result = State<Stored<R>>;

 public:
  static Node* make(State<V>* source, Step&& step) {
    void* memory = allocate_recycled(sizeof(Node));
    try {
      return ::new (memory) Node(source, std::move(step));
    } catch (...) {
      recycle(memory, sizeof(Node));
      throw;
    }
  }
  Continuation* run() noexcept override {
    if (inner_) return pass_on();
    Future<R> answer = step_(std::move(source_->result));
    step_.~Step();
    source_->let_go(State<V>::kFuture);
    if (answer.settle()) {
      Continuation* next = this->finish(std::move(answer.result_));
      this->let_go(Result::kPromise);
      return next;
    }
    inner_ = std::exchange(answer.state_, nullptr);
    assert((!inner_->sync || this->sync) && "a future across threads within a chain of one thread");
    return inner_->attach(this) ? nullptr : this;
  }

 private:
  Node(State<V>* source, Step&& step)
      : Result(recycler_list(sizeof(Node)), source->sync != nullptr), source_(source), step_(std::move(step)) {
    this->hold(Result::kFuture);
  }
  ~Node() = delete;  // its memory goes with the state; run() has destroyed the step
  Continuation* pass_on() noexcept {
    Continuation* next = this->finish(std::move(inner_->result));
    inner_->let_go(Result::kFuture);
    this->let_go(Result::kPromise);
    return next;
  }
  State<V>* source_;
  Result* inner_ = nullptr;  // of the future that the step returned
  union {
    Step step_;
  };
};

template <class T>
struct CoroutinePromise;

}  // namespace detail

template <class T>
class [[nodiscard]] Future {
  using V = detail::Stored<T>;
  using Outcome = detail::Outcome<V>;
  using State = detail::State<V>;

 public:
  using promise_type = detail::CoroutinePromise<T>;
  using Value = T;

  Future(Future&& other) noexcept
      : result_(std::move(other.result_)), state_(std::exchange(other.state_, nullptr)) {}
  Future& operator=(Future&& other) noexcept {
    std::swap(state_, other.state_);
    result_ = std::move(other.result_);
    return *this;
  }
  FASTERAPI_FUTURE_INLINE ~Future() {
    if (state_) state_->let_go(State::kFuture);
  }

  template <class... Args>
  static Future of(Args&&... args) {
    return Future(Outcome(std::in_place, std::forward<Args>(args)...));
  }
  static Future of_error(std::exception_ptr error) noexcept { return Future(Outcome(std::move(error))); }

  /// Not used up yet.
  bool valid() const noexcept { return state_ || result_.kind() != detail::Kind::none; }
  bool ready() noexcept { return settle(); }
  bool failed() noexcept { return settle() && result_.kind() == detail::Kind::error; }

  /// Calls `f(value)` when there is one; errors pass by. `f` may return a value, nothing, or a Future.
  template <class F>
  auto then(F&& f) {
    using Answer = typename Invoke<F>::type;
    using R = typename detail::Unwrap<std::decay_t<Answer>>::type;
    return chain<R>([f = std::forward<F>(f)](Outcome&& outcome) mutable noexcept -> Future<R> {
      if (FASTERAPI_UNLIKELY(outcome.kind() == detail::Kind::error)) {
        return Future<R>::of_error(std::move(outcome.error()));
      }
      if constexpr (std::is_void_v<T>) {
        return call<R, Answer>(f);
      } else {
        return call<R, Answer>(f, std::move(outcome.value()));
      }
    });
  }
  /// Calls `f(Future<T>)` with the ready future, value or error.
  template <class F>
  auto then_wrapped(F&& f) {
    using Answer = std::invoke_result_t<F&, Future<T>>;
    using R = typename detail::Unwrap<std::decay_t<Answer>>::type;
    return chain<R>([f = std::forward<F>(f)](Outcome&& outcome) mutable noexcept -> Future<R> {
      return call<R, Answer>(f, Future<T>(std::move(outcome)));
    });
  }
  /// Calls `f(std::exception_ptr)`, which returns what stands in for the value (T or Future<T>), on an error.
  template <class F>
  Future<T> handle_error(F&& f) {
    return chain<T>([f = std::forward<F>(f)](Outcome&& outcome) mutable noexcept -> Future<T> {
      if (outcome.kind() == detail::Kind::value) return Future<T>(std::move(outcome));
      return call<T, std::invoke_result_t<F&, std::exception_ptr>>(f, std::move(outcome.error()));
    });
  }
  /// Calls `f()` either way and passes the outcome on, unless `f` throws.
  template <class F>
  Future<T> finally(F&& f) {
    return chain<T>([f = std::forward<F>(f)](Outcome&& outcome) mutable noexcept -> Future<T> {
      try {
        f();
      } catch (...) {
        return Future<T>::of_error(std::current_exception());
      }
      return Future<T>(std::move(outcome));
    });
  }

  /// The value, or throws the error. Waits only for futures made across threads: a pending one of this
  /// thread could never come, which is an Error.
  FASTERAPI_FUTURE_INLINE T get() {
    if (!settle()) {
      if (!state_) throw Error("future: used already");
      if (!state_->sync) throw Error("future: get() would wait for its own thread; use then() or co_await");
      state_->wait();
      settle();
    }
    Outcome outcome = std::move(result_);
    if constexpr (std::is_void_v<T>) {
      outcome.get();
    } else {
      return outcome.get();
    }
  }

  class Awaiter final : public detail::Continuation {
   public:
    explicit Awaiter(Future&& future) noexcept : future_(std::move(future)) {}
    bool await_ready() noexcept { return future_.settle(); }
    bool await_suspend(std::coroutine_handle<> handle) noexcept {
      handle_ = handle;
      return future_.state_->attach(this);
    }
    T await_resume() { return future_.get(); }
    detail::Continuation* run() noexcept override {
      handle_.resume();
      return nullptr;
    }

   private:
    Future future_;
    std::coroutine_handle<> handle_;
  };
  Awaiter operator co_await() && noexcept { return Awaiter(std::move(*this)); }

  /// May be completed by another thread.
  bool across_threads() const noexcept { return state_ && state_->sync; }

 private:
  template <class>
  friend class Future;
  template <class>
  friend class Promise;
  template <class, class, class>
  friend class detail::Node;
  template <class F, bool = std::is_void_v<T>>
  struct Invoke {
    using type = std::invoke_result_t<F&, T>;
  };
  template <class F>
  struct Invoke<F, true> {
    using type = std::invoke_result_t<F&>;
  };

  explicit Future(Outcome&& outcome) noexcept : result_(std::move(outcome)) {}
  explicit Future(State* state) noexcept : state_(state) {}

  template <class R, class Answer, class F, class... Args>
  static Future<R> call(F& f, Args&&... args) noexcept {
    try {
      if constexpr (detail::IsFuture<Answer>::value) {
        return f(std::forward<Args>(args)...);
      } else if constexpr (std::is_void_v<Answer>) {
        f(std::forward<Args>(args)...);
        return Future<R>::of();
      } else {
        return Future<R>::of(f(std::forward<Args>(args)...));
      }
    } catch (...) {
      return Future<R>::of_error(std::current_exception());
    }
  }
  template <class R, class Step>
  Future<R> chain(Step&& step) {
    if (FASTERAPI_LIKELY(settle())) return step(std::move(result_));
    assert(state_ && "this future was used already");
    auto* node = detail::Node<V, R, std::decay_t<Step>>::make(state_, std::move(step));
    State* state = std::exchange(state_, nullptr);
    Future<R> future(static_cast<detail::State<detail::Stored<R>>*>(node));
    if (!state->attach(node)) detail::drive(node);
    return future;
  }
  /// Takes the outcome out of the shared state, if it is there. True when ready.
  FASTERAPI_FUTURE_INLINE bool settle() noexcept {
    if (FASTERAPI_LIKELY(result_.kind() != detail::Kind::none)) return true;
    if (!state_ || !state_->complete()) return false;
    result_ = std::move(state_->result);
    std::exchange(state_, nullptr)->let_go(State::kFuture);
    return true;
  }

  Outcome result_;
  State* state_ = nullptr;  // while pending
};

template <class T>
class Promise {
  using V = detail::Stored<T>;
  using State = detail::State<V>;

 public:
  Promise() : Promise(false) {}
  /// A pair that may be used by two threads, and whose get() waits.
  static Promise across_threads() { return Promise(true); }
  Promise(Promise&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  Promise& operator=(Promise&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  FASTERAPI_FUTURE_INLINE ~Promise() {
    if (!state_) return;
    if (FASTERAPI_UNLIKELY(!set_)) abandon();
    state_->let_go(State::kPromise);
  }

  /// Once.
  Future<T> get_future() noexcept {
    state_->hold(State::kFuture);
    return Future<T>(state_);
  }
  /// Once, this or set_exception(). Runs what waits for it; the promise may be destroyed by that.
  template <class... Args>
  void set_value(Args&&... args) {
    assert(!set_ && "a promise is set once");
    detail::Continuation* next = state_->finish(std::in_place, std::forward<Args>(args)...);
    set_ = true;
    detail::drive(next);
  }
  void set_exception(std::exception_ptr error) noexcept { set(detail::Outcome<V>(std::move(error))); }
  void set(detail::Outcome<V>&& outcome) noexcept {
    assert(!set_ && "a promise is set once");
    set_ = true;
    detail::drive(state_->finish(std::move(outcome)));
  }

 private:
  explicit Promise(bool across) : state_(nullptr) {
    void* memory = detail::allocate_recycled(sizeof(State));
    try {
      state_ = ::new (memory) State(detail::recycler_list(sizeof(State)), across);
    } catch (...) {
      detail::recycle(memory, sizeof(State));
      throw;
    }
  }
  void abandon() noexcept {
    set(detail::Outcome<V>(std::make_exception_ptr(Error("promise: destroyed without a value"))));
  }
  State* state_;
  bool set_ = false;
};

namespace detail {

template <class T>
struct CoroutineReturn {
  template <class U = T>
  void return_value(U&& value) {
    outcome = Outcome<T>(std::in_place, std::forward<U>(value));
  }
  Outcome<T> outcome;
};
template <>
struct CoroutineReturn<void> {
  void return_void() noexcept { outcome = Outcome<Unit>(std::in_place); }
  Outcome<Unit> outcome;
};

template <class T>
struct CoroutinePromise : CoroutineReturn<T> {
  Future<T> get_return_object() noexcept { return promise.get_future(); }
  std::suspend_never initial_suspend() noexcept { return {}; }
  std::suspend_never final_suspend() noexcept {  // the locals are gone by now
    promise.set(std::move(this->outcome));
    return {};
  }
  void unhandled_exception() noexcept { this->outcome = Outcome<Stored<T>>(std::current_exception()); }
  static void* operator new(std::size_t bytes) { return allocate_recycled(bytes); }
  static void operator delete(void* memory, std::size_t bytes) noexcept { recycle(memory, bytes); }
  Promise<T> promise;
};

}  // namespace detail

template <class T>
Future<std::decay_t<T>> make_ready(T&& value) {
  return Future<std::decay_t<T>>::of(std::forward<T>(value));
}
inline Future<void> make_ready() { return Future<void>::of(); }
template <class T, class E>
Future<T> make_failed(E&& error) {
  return Future<T>::of_error(std::make_exception_ptr(std::forward<E>(error)));
}

/// All of them, ready, in their order; never fails itself.
template <class T>
Future<std::vector<Future<T>>> when_all(std::vector<Future<T>> futures) {
  using All = std::vector<Future<T>>;
  struct Join {
    Join(All&& given, Promise<All> promise)
        : futures(std::move(given)), promise(std::move(promise)), left(futures.size() + 1) {}
    void arrive() noexcept {
      if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) promise.set_value(std::move(futures));
    }
    All futures;
    Promise<All> promise;
    std::atomic<std::size_t> left;
  };
  bool ready = true, across = false;
  for (auto& future : futures) {
    ready = future.ready() && ready;
    across = across || future.across_threads();
  }
  if (ready) return Future<All>::of(std::move(futures));
  auto join = std::make_shared<Join>(std::move(futures), across ? Promise<All>::across_threads() : Promise<All>());
  auto all = join->promise.get_future();
  for (std::size_t i = 0; i < join->futures.size(); ++i) {
    Future<T> one = std::move(join->futures[i]);
    (void)one.then_wrapped([join, i](Future<T> done) noexcept {
      join->futures[i] = std::move(done);
      join->arrive();
    });
  }
  join->arrive();
  return all;
}

/// The same for futures of different types.
template <class... Ts>
  requires(sizeof...(Ts) > 0)
Future<std::tuple<Future<Ts>...>> when_all(Future<Ts>... futures) {
  using All = std::tuple<Future<Ts>...>;
  struct Join {
    Join(All&& given, Promise<All> promise) : futures(std::move(given)), promise(std::move(promise)) {}
    void arrive() noexcept {
      if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) promise.set_value(std::move(futures));
    }
    All futures;
    Promise<All> promise;
    std::atomic<std::size_t> left{sizeof...(Ts) + 1};
  };
  const bool across = (futures.across_threads() || ...);
  if ((static_cast<int>(futures.ready()) & ...)) return Future<All>::of(std::move(futures)...);
  auto join = std::make_shared<Join>(All(std::move(futures)...),
                                     across ? Promise<All>::across_threads() : Promise<All>());
  auto all = join->promise.get_future();
  auto wait = [&]<std::size_t I, class T>(std::integral_constant<std::size_t, I>, Future<T> one) {
    (void)one.then_wrapped([join](Future<T> done) noexcept {
      std::get<I>(join->futures) = std::move(done);
      join->arrive();
    });
  };
  [&]<std::size_t... Is>(std::index_sequence<Is...>) {
    (wait(std::integral_constant<std::size_t, Is>(), std::move(std::get<Is>(join->futures))), ...);
  }(std::index_sequence_for<Ts...>());
  join->arrive();
  return all;
}

template <class T>
struct First {
  std::size_t index;
  Future<T> result;  // ready, value or error
};

/// The first that is ready; the outcomes of the others are dropped. Throws Error when there are none.
template <class T>
Future<First<T>> when_any(std::vector<Future<T>> futures) {
  struct Race {
    explicit Race(Promise<First<T>> promise) : promise(std::move(promise)) {}
    Promise<First<T>> promise;
    std::atomic<bool> won{false};
  };
  if (futures.empty()) throw Error("when_any: no futures");
  bool across = false;
  for (std::size_t i = 0; i < futures.size(); ++i) {
    if (futures[i].ready()) return Future<First<T>>::of(First<T>{i, std::move(futures[i])});
    across = across || futures[i].across_threads();
  }
  auto race = std::make_shared<Race>(across ? Promise<First<T>>::across_threads() : Promise<First<T>>());
  auto first = race->promise.get_future();
  for (std::size_t i = 0; i < futures.size(); ++i) {
    (void)futures[i].then_wrapped([race, i](Future<T> done) noexcept {
      if (!race->won.exchange(true, std::memory_order_acq_rel)) {
        race->promise.set_value(First<T>{i, std::move(done)});
      }
    });
  }
  return first;
}

}  // namespace fasterapi::core
#undef FASTERAPI_FUTURE_INLINE

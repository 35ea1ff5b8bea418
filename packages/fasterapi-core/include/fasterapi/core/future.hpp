#pragma once
// Future<T> / Promise<T>: a value that may come later, with continuations, after Seastar's.
//   Cost     a promise and its future point at each other and share no memory; a value goes straight to where the
//            future is. Ready values never allocate and their .then() is a call; a .then() on a pending one takes
//            one block of recycled memory of this thread
//   Threads  a promise, its future and what hangs on them belong to one thread, without locks. Those made by
//            Promise<T>::across_threads() may be set on another thread than the future's (one heap block with a
//            mutex each): continuations then run on the thread that sets the value, and get() may wait for it. A
//            continuation of a one-thread future that returns one across threads is answered with an Error: post
//            the value to the thread instead (Reactor::post)
//   Errors   an exception of a continuation becomes the error of its future and passes by further .then()s;
//            a promise destroyed without a value is an error; an error that nobody asks for is dropped
//   Cancelling  with(token) fails with Cancelled or DeadlineExceeded when the token's source says so and asks the
//            operation behind the future to stop; cancel() only asks. See cancellation.hpp and deadline.hpp
//   Ownership  both are move-only; each future is used once (then, get, co_await)
//   Chains   of any length complete and are cancelled by loops, also those of coroutines
#include <cassert>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include <fasterapi/core/cancellation.hpp>
#include <fasterapi/core/detail/link.hpp>
#include <fasterapi/core/detail/shared_state.hpp>

namespace fasterapi::core {

namespace detail {

template <class T>
struct CoroutinePromise;
template <class T, class R, class Step>
class Node;
template <class T, class R, class Step>
class SharedNode;
template <class T, class Trigger>
class Guard;

}  // namespace detail

template <class T>
class [[nodiscard]] Future {
  using V = detail::Stored<T>;
  using Kind = detail::Kind;
  using Outcome = detail::Outcome<V>;
  using Shared = detail::SharedState<V>;

 public:
  using promise_type = detail::CoroutinePromise<T>;
  using Value = T;

  FASTERAPI_FUTURE_INLINE Future(Future&& other) noexcept : result_(std::move(other.result_)) { moved(); }
  FASTERAPI_FUTURE_INLINE Future& operator=(Future&& other) noexcept {
    if (this != &other) {
      forget();
      result_ = std::move(other.result_);
      moved();
    }
    return *this;
  }
  FASTERAPI_FUTURE_INLINE ~Future() { forget(); }

  template <class... Args>
  static Future of(Args&&... args) {
    return Future(Outcome(std::in_place, std::forward<Args>(args)...));
  }
  static Future of_error(std::exception_ptr error) noexcept { return Future(Outcome(std::move(error))); }

  /// Not used up yet.
  bool valid() const noexcept { return result_.kind() != Kind::none; }
  bool ready() noexcept { return settle(); }
  bool failed() noexcept { return settle() && result_.kind() == Kind::error; }

  /// Calls `f(value)` when there is one; errors pass by. `f` may return a value, nothing, or a Future.
  template <class F>
  auto then(F&& f) {
    using Answer = typename Invoke<F>::type;
    using R = typename detail::Unwrap<std::decay_t<Answer>>::type;
    return chain<R>(Then<R, Answer, std::decay_t<F>>{std::forward<F>(f)});
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
      if (outcome.kind() == Kind::value) return Future<T>(std::move(outcome));
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

  /// This future until the token's source is cancelled; then Cancelled or DeadlineExceeded, and the operation
  /// behind it is asked to stop; what it still answers is dropped. A ready future stays as it is.
  Future<T> with(const CancellationToken& token);
  /// Asks the operation behind a pending future to stop: the CancelHandler of the promise at the start of the
  /// chain is called, if it has one. The future is completed by what that operation then answers.
  void cancel() noexcept {
    if (result_.kind() == Kind::pending) detail::cancel_behind(link());
  }

  /// The value, or throws the error. Waits only for futures made across threads: a pending one of this
  /// thread could never come, which is an Error.
  FASTERAPI_FUTURE_INLINE T get() {
    if (FASTERAPI_UNLIKELY(result_.kind() != Kind::value)) wait_for_value();
    if constexpr (std::is_void_v<T>) {
      result_.clear();
    } else {
      T value(std::move(result_.value()));
      result_.clear();
      return value;
    }
  }
  /// get() that gives up after `time` with DeadlineExceeded; the future may be asked again.
  T get_for(std::chrono::nanoseconds time) {
    if (!settle()) {
      if (result_.kind() != Kind::shared) refuse_to_wait();
      if (!shared()->wait_for(time)) throw DeadlineExceeded("future: no value within the time given to get_for()");
    }
    return get();
  }

  class Awaiter final : public detail::Continuation {
   public:
    explicit Awaiter(Future&& future) noexcept : future_(std::move(future)) {}
    FASTERAPI_FUTURE_INLINE bool await_ready() noexcept { return future_.settle(); }
    template <class P>
    FASTERAPI_FUTURE_INLINE bool await_suspend(std::coroutine_handle<P> handle) noexcept {
      handle_ = handle;
      if constexpr (requires { handle.promise().waits_for; }) handle.promise().waits_for = this;
      return future_.attach(this);
    }
    T await_resume() { return future_.get(); }
    detail::Continuation* run() noexcept override {
      handle_.resume();
      return nullptr;
    }
    std::coroutine_handle<> coroutine() noexcept override { return handle_; }
    detail::LinkBase* cancel() noexcept override { return future_.link_or_null(); }

   private:
    Future future_;
    std::coroutine_handle<> handle_;
  };
  Awaiter operator co_await() && noexcept { return Awaiter(std::move(*this)); }

  /// May be completed by another thread.
  bool across_threads() const noexcept { return result_.kind() == Kind::shared; }

 private:
  template <class>
  friend class Future;
  template <class>
  friend class Promise;
  template <class, class, class>
  friend class detail::Node;
  template <class, class, class>
  friend class detail::SharedNode;
  template <class, class>
  friend class detail::Guard;
  template <class F, bool = std::is_void_v<T>>
  struct Invoke {
    using type = std::invoke_result_t<F&, T>;
  };
  template <class F>
  struct Invoke<F, true> {
    using type = std::invoke_result_t<F&>;
  };

  FASTERAPI_FUTURE_INLINE Future() noexcept {}
  FASTERAPI_FUTURE_INLINE explicit Future(Outcome&& outcome) noexcept : result_(std::move(outcome)) {}
  FASTERAPI_FUTURE_INLINE explicit Future(detail::Link<V>& link) noexcept { link.bind(result_); }
  explicit Future(Shared* shared) noexcept { result_.refer_to(shared, Kind::shared); }

  detail::Link<V>* link() const noexcept { return detail::link_of(result_); }
  detail::LinkBase* link_or_null() const noexcept { return result_.kind() == Kind::pending ? link() : nullptr; }
  Shared* shared() const noexcept { return static_cast<Shared*>(result_.source()); }
  FASTERAPI_FUTURE_INLINE void moved() noexcept {
    if (result_.kind() == Kind::pending) link()->slot = &result_;
  }
  FASTERAPI_FUTURE_INLINE void forget() noexcept {
    if (result_.kind() == Kind::none || result_.ready()) return;
    if (result_.kind() == Kind::pending) {
      link()->drop();
    } else if (FASTERAPI_UNLIKELY(result_.kind() == Kind::shared)) {
      shared()->let_go(Shared::kFuture);
    }
    result_.let_go();
  }
  [[noreturn, gnu::cold]] void refuse_to_wait() const {
    throw Error(valid() ? "future: get() would wait for its own thread; use then() or co_await"
                        : "future: used already");
  }
  /// False when the outcome is there already: the caller goes on itself.
  FASTERAPI_FUTURE_INLINE bool attach(detail::Continuation* next) noexcept {
    if (FASTERAPI_LIKELY(result_.kind() == Kind::pending)) {
      link()->next = next;
      return true;
    }
    return result_.kind() == Kind::shared && shared()->attach(next);
  }

  /// Until there is a value; an error is thrown.
  [[gnu::noinline]] void wait_for_value() {
    if (!settle()) {
      if (result_.kind() != Kind::shared) refuse_to_wait();
      shared()->wait();
      settle();
    }
    if (result_.kind() != Kind::error) return;
    const std::exception_ptr error = std::move(result_.error());
    result_.clear();
    std::rethrow_exception(error);
  }

  /// The step of then(): complete() is what it does to a value when `f` returns no future.
  template <class R, class Answer, class F>
  struct Then {
    static constexpr bool kPlain = !detail::IsFuture<Answer>::value;
    Future<R> operator()(Outcome&& outcome) noexcept {
      if (FASTERAPI_UNLIKELY(outcome.kind() == Kind::error))
        return Future<R>::of_error(std::move(outcome.error()));
      if constexpr (std::is_void_v<T>) {
        return call<R, Answer>(f);
      } else {
        return call<R, Answer>(f, std::move(outcome.value()));
      }
    }
    FASTERAPI_FUTURE_INLINE detail::Continuation* complete(V& value,
                                                           detail::Link<detail::Stored<R>>& output) noexcept {
      try {
        if constexpr (std::is_void_v<T> && std::is_void_v<R>) {
          f();
          return output.finish_last(std::in_place);
        } else if constexpr (std::is_void_v<R>) {
          f(std::move(value));
          return output.finish_last(std::in_place);
        } else if constexpr (std::is_void_v<T>) {
          return output.finish_last(std::in_place, f());
        } else {
          return output.finish_last(std::in_place, f(std::move(value)));
        }
      } catch (...) {
        return fail(output);
      }
    }
    [[gnu::noinline]] static detail::Continuation* fail(detail::Link<detail::Stored<R>>& output) noexcept {
      return output.finish_last(detail::Outcome<detail::Stored<R>>(std::current_exception()));
    }
    F f;
  };

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
  FASTERAPI_FUTURE_INLINE Future<R> chain(Step&& step) {
    if (FASTERAPI_LIKELY(settle())) return step(std::move(result_));
    if (FASTERAPI_LIKELY(result_.kind() == Kind::pending)) {
      return detail::Node<T, R, std::decay_t<Step>>::make(*this, std::move(step));
    }
    assert(valid() && "this future was used already");
    if (!valid()) return Future<R>::of_error(detail::error_of("future: used already"));
    return detail::SharedNode<T, R, std::decay_t<Step>>::make(*this, std::move(step));
  }
  /// Takes the outcome out of the shared state, if it is there. True when ready.
  FASTERAPI_FUTURE_INLINE bool settle() noexcept {
    if (FASTERAPI_LIKELY(result_.ready())) return true;
    return FASTERAPI_UNLIKELY(result_.kind() == Kind::shared) && settle_shared();
  }
  [[gnu::noinline]] bool settle_shared() noexcept {
    Shared* state = shared();
    if (!state->complete()) return false;
    result_.let_go();
    result_ = state->take();
    state->let_go(Shared::kFuture);
    return true;
  }

  Outcome result_;
};

/// What a promise calls when the operation behind it shall stop (Future::cancel, with(token), a deadline). It
/// belongs to the operation, lives until the promise is set or gone, and may set the promise within the call.
class CancelHandler final : public detail::Canceller {
 public:
  using Fn = void (*)(void* arg) noexcept;
  CancelHandler(Fn fn, void* arg) noexcept : fn_(fn), arg_(arg) {}
  detail::LinkBase* cancel() noexcept override {
    fn_(arg_);
    return nullptr;
  }

 private:
  Fn fn_;
  void* arg_;
};

template <class T>
class Promise {
  using V = detail::Stored<T>;
  using Kind = detail::Kind;
  using Shared = detail::SharedState<V>;

 public:
  FASTERAPI_FUTURE_INLINE Promise() noexcept : own_() { link_.slot = &own_; }
  /// A pair that may be used by two threads, and whose get() waits.
  static Promise across_threads() { return Promise(new Shared(Shared::kPromise)); }
  Promise(Promise&& other) noexcept : own_() { take(other); }
  Promise& operator=(Promise&& other) noexcept {
    if (this != &other) {
      end();
      take(other);
    }
    return *this;
  }
  FASTERAPI_FUTURE_INLINE ~Promise() { end(); }

  /// Once.
  FASTERAPI_FUTURE_INLINE Future<T> get_future() noexcept {
    if (FASTERAPI_LIKELY(link_.slot == &own_)) return Future<T>(link_);
    if (own_.kind() == Kind::shared) {
      shared()->hold(Shared::kFuture);
      return Future<T>(shared());
    }
    if (own_.ready()) return Future<T>(std::move(own_));
    assert(false && "a promise has one future");
    return Future<T>::of_error(detail::error_of("promise: its future was taken already"));
  }
  /// Once, this or set_exception(). Runs what waits for it; the promise may be destroyed by that.
  template <class... Args>
  FASTERAPI_FUTURE_INLINE void set_value(Args&&... args) {
    detail::drive(finish(std::in_place, std::forward<Args>(args)...));
  }
  void set_exception(std::exception_ptr error) noexcept { set(detail::Outcome<V>(std::move(error))); }
  void set(detail::Outcome<V>&& outcome) noexcept { detail::drive(finish(std::move(outcome))); }
  /// Whether somebody may still see the value: false once the future was dropped, or the promise was set. Always
  /// true for a pair across threads until it is set.
  bool wanted() const noexcept {
    return link_.slot != nullptr || (own_.kind() == Kind::shared && !shared()->complete());
  }
  /// Who to call when the future is cancelled. Not for promises across threads, which nobody cancels.
  void on_cancel(CancelHandler* handler) noexcept { link_.owner = handler; }

 private:
  template <class>
  friend struct detail::CoroutinePromise;
  explicit Promise(Shared* shared) noexcept : own_() { own_.refer_to(shared, Kind::shared); }
  Shared* shared() const noexcept { return static_cast<Shared*>(own_.source()); }

  template <class... Args>
  FASTERAPI_FUTURE_INLINE detail::Continuation* finish(Args&&... args) {
    if (FASTERAPI_LIKELY(link_.slot != nullptr)) return link_.finish(std::forward<Args>(args)...);
    return finish_other(std::forward<Args>(args)...);
  }
  /// Without a future, which was dropped, or with one across threads.
  template <class... Args>
  [[gnu::noinline]] detail::Continuation* finish_other(Args&&... args) {
    assert(!own_.ready() && "a promise is set once");
    if (own_.kind() != Kind::shared) return nullptr;
    assert(!shared()->complete() && "a promise is set once");
    return shared()->complete() ? nullptr : shared()->finish(std::forward<Args>(args)...);
  }
  void take(Promise& other) noexcept {
    link_.owner = std::exchange(other.link_.owner, nullptr);
    if (other.link_.slot == &other.own_) {  // nobody has the future yet
      other.link_.slot = nullptr;
      link_.slot = &own_;
      return;
    }
    link_.take(other.link_);
    own_ = std::move(other.own_);  // a value without a future, or the shared state
  }
  FASTERAPI_FUTURE_INLINE void end() noexcept {
    if (FASTERAPI_UNLIKELY(link_.slot != nullptr || own_.kind() != Kind::none)) end_slowly();
  }
  [[gnu::noinline]] void end_slowly() noexcept {
    if (link_.slot == &own_) {
      link_.slot = nullptr;
    } else if (link_.slot) {
      abandon();
    } else if (own_.kind() == Kind::shared) {
      Shared* state = shared();
      if (!state->complete()) abandon();
      own_.let_go();
      state->let_go(Shared::kPromise);
    }
    own_.clear();
  }
  [[gnu::noinline]] void abandon() noexcept {
    // A statement of its own: the temporary, whose text the copy shares, is gone before another thread sees the
    // error.
    std::exception_ptr error = std::make_exception_ptr(BrokenPromise("promise: destroyed without a value"));
    set(detail::Outcome<V>(std::move(error)));
  }

  detail::Link<V> link_;
  union {
    detail::Outcome<V> own_;  // until there is a future; or the shared state of a pair across threads
  };
};

namespace detail {

/// A continuation of one thread: its input, a future, and the link to the future that it completes. `Step` maps
/// Outcome<V> to Future<R>. The members have no destructor of their own: run() knows what is left of them.
template <class T, class R, class Step>
class Node final : public Continuation {
  using V = Stored<T>;

 public:
  FASTERAPI_FUTURE_INLINE static Future<R> make(Future<T>& source, Step&& step) {
    Link<V>* const link = source.link();
    void* memory = allocate_recycled(sizeof(Node));
    Node* node;
    try {
      node = ::new (memory) Node(std::move(step));
    } catch (...) {
      recycle(memory, sizeof(Node));
      throw;
    }
    link->next = node;
    link->bind(node->input_.result_);
    source.result_.let_go();
    return Future<R>(node->output_);
  }
  Continuation* run() noexcept override {
    Continuation* next;
    if constexpr (requires { Step::kPlain; }) {
      if constexpr (Step::kPlain) {
        if (FASTERAPI_LIKELY(input_.result_.kind() == Kind::value)) {
          next = step_.complete(input_.result_.value(), output_);
          input_.result_.value().~V();
        } else {
          next = pass_on();
        }
        step_.~Step();
        recycle(this, sizeof(Node));
        return next;
      }
    }
    {
      Future<R> answer = step_(std::move(input_.result_));
      next = deliver(answer);
    }
    input_.result_.clear();
    step_.~Step();
    recycle(this, sizeof(Node));
    return next;
  }
  LinkBase* cancel() noexcept override { return input_.link_or_null(); }

 private:
  FASTERAPI_FUTURE_INLINE explicit Node(Step&& step) : input_(), step_(std::move(step)) { output_.owner = this; }
  ~Node() = delete;
  [[gnu::noinline]] Continuation* pass_on() noexcept {  // an error
    Continuation* next = output_.finish_last(Outcome<Stored<R>>(std::move(input_.result_.error())));
    input_.result_.clear();
    return next;
  }
  Continuation* deliver(Future<R>& answer) noexcept {
    if (FASTERAPI_LIKELY(answer.result_.ready())) return output_.finish(std::move(answer.result_));
    if (answer.result_.kind() == Kind::pending) {  // whoever completes the answer completes our future
      Link<Stored<R>>* inner = answer.link();
      answer.result_.let_go();
      inner->take(output_);
      return nullptr;
    }
    if (answer.settle()) return output_.finish(std::move(answer.result_));
    return output_.finish(Outcome<Stored<R>>(
        error_of(answer.valid() ? "future: a continuation of one thread returned a pending future across threads"
                                : "future: a continuation returned a future that was used already")));
  }
  union {
    Future<T> input_;
  };
  Link<Stored<R>> output_;
  union {
    Step step_;
  };
};

/// A continuation of a future across threads, whose own future is one as well.
template <class T, class R, class Step>
class SharedNode final : public SharedState<Stored<R>> {
  using Result = SharedState<Stored<R>>;

 public:
  static Future<R> make(Future<T>& source, Step&& step) {
    auto* node = new SharedNode(source, std::move(step));
    Future<R> future(static_cast<Result*>(node));
    if (!node->input_.attach(node)) drive(node);
    return future;
  }
  Continuation* run() noexcept override {
    if (step_) {
      input_.settle();
      answer_ = (*step_)(std::move(input_.result_));
      step_.reset();
      if (!answer_.settle() && answer_.attach(this)) return nullptr;
    }
    if (!answer_.settle()) {
      answer_.result_.emplace(
          Outcome<Stored<R>>(error_of("future: a continuation returned a future that was used already")));
    }
    Continuation* next = this->finish(std::move(answer_.result_));
    this->let_go(Result::kPromise);
    return next;
  }

 private:
  SharedNode(Future<T>& source, Step&& step) : Result(Result::kPromise | Result::kFuture), step_(std::move(step)) {
    input_ = std::move(source);
  }
  ~SharedNode() override = default;
  Future<T> input_;
  Future<R> answer_;  // that the step returned
  std::optional<Step> step_;
};

/// Between a pending future and the one that with(token) or with_deadline() gave away. `Trigger` is a member that
/// calls fire() when the time has come.
template <class T, class Trigger>
class Guard final : public Continuation {
 public:
  template <class Arm>
  static Future<T> make(Future<T>& source, Arm&& arm) {
    auto* guard = ::new (allocate_recycled(sizeof(Guard))) Guard(source);
    Future<T> future(guard->output_);
    arm(guard->trigger_);
    return future;
  }
  Continuation* run() noexcept override {
    Outcome<Stored<T>> outcome(std::move(input_.result_));
    Link<Stored<T>> output;
    output.take(output_);
    destroy();
    return output.finish(std::move(outcome));
  }
  LinkBase* cancel() noexcept override { return input_.link_or_null(); }

 private:
  explicit Guard(Future<T>& source) noexcept : trigger_(&Guard::fire, this) {
    input_ = std::move(source);
    input_.link()->next = this;
    output_.owner = this;
  }
  static void fire(void* self) noexcept {
    auto* guard = static_cast<Guard*>(self);
    std::exception_ptr error = cancellation_error(guard->trigger_);
    Link<Stored<T>>* input = guard->input_.link();
    guard->input_.result_.let_go();
    input->drop();
    Link<Stored<T>> output;
    output.take(guard->output_);
    guard->destroy();
    cancel_behind(input);  // it may set its promise now, or later; nobody listens any more
    drive(output.finish(Outcome<Stored<T>>(std::move(error))));
  }
  void destroy() noexcept {
    this->~Guard();
    recycle(this, sizeof(Guard));
  }
  Future<T> input_;
  Link<Stored<T>> output_;
  Trigger trigger_;
};

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
struct CoroutinePromise : CoroutineReturn<T>, Canceller {
  /// Ends the coroutine: its locals are gone by now, its frame goes before its value is seen.
  struct Final {
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<CoroutinePromise> handle) noexcept {
      CoroutinePromise& self = handle.promise();
      Continuation* next = self.promise.finish(std::move(self.outcome));
      handle.destroy();
      return drive_to_coroutine(next);
    }
    void await_resume() const noexcept {}
  };
  Future<T> get_return_object() noexcept {
    promise.link_.owner = this;
    return promise.get_future();
  }
  std::suspend_never initial_suspend() noexcept { return {}; }
  Final final_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept { this->outcome = Outcome<Stored<T>>(std::current_exception()); }
  LinkBase* cancel() noexcept override { return waits_for ? waits_for->cancel() : nullptr; }
  static void* operator new(std::size_t bytes) { return allocate_recycled(bytes); }
  static void operator delete(void* memory, std::size_t bytes) noexcept { recycle(memory, bytes); }
  Promise<T> promise;
  Canceller* waits_for = nullptr;  // what it is suspended on
};

}  // namespace detail

template <class T>
Future<T> Future<T>::with(const CancellationToken& token) {
  if (settle() || !valid() || !token.can_be_cancelled()) return std::move(*this);
  if (across_threads()) {
    return of_error(detail::error_of("future: with() is for futures of one thread; use get_for()"));
  }
  if (token.cancelled()) {
    cancel();
    return of_error(token.error());
  }
  return detail::Guard<T, CancellationHook>::make(*this, [&](CancellationHook& hook) { hook.watch(token); });
}

template <class T>
Future<std::decay_t<T>> make_ready(T&& value) {
  return Future<std::decay_t<T>>::of(std::forward<T>(value));
}
inline Future<void> make_ready() { return Future<void>::of(); }
template <class T, class E>
Future<T> make_failed(E&& error) {
  return Future<T>::of_error(std::make_exception_ptr(std::forward<E>(error)));
}

}  // namespace fasterapi::core

#include <fasterapi/core/when.hpp>

#pragma once
// when_all / when_any: several futures as one.
//   Cost     nothing when all (any) are ready; else one heap block and one continuation for each future
//   Threads  as the futures: one that may be completed by another thread makes the result such a one
//   Cancelling  cancel() of the result does not reach the futures that went in; give each its own token
#include <atomic>
#include <cstddef>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include <fasterapi/core/future.hpp>

namespace fasterapi::core {

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
  auto join =
      std::make_shared<Join>(All(std::move(futures)...), across ? Promise<All>::across_threads() : Promise<All>());
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

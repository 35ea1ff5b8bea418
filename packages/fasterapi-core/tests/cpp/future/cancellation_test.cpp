#include <fasterapi/core/cancellation.hpp>

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <fasterapi/core/deadline.hpp>
#include <fasterapi/core/future.hpp>

namespace fasterapi::core {
namespace {

constexpr Nanos kMs = 1'000'000;

// A hook that counts, and does something more when told so.
struct Listener {
  explicit Listener(std::function<void()> act = {}) : act(std::move(act)), hook(&Listener::call, this) {}
  static void call(void* self) noexcept {
    auto& listener = *static_cast<Listener*>(self);
    ++listener.calls;
    if (auto act = listener.act) act();  // a copy: it may destroy the listener
  }
  int calls = 0;
  std::function<void()> act;
  CancellationHook hook;
};

template <class F>
std::string error_of(F&& get) {
  try {
    get();
  } catch (const Cancelled& error) {
    return "cancelled " + std::to_string(error.code() == ECANCELED);
  } catch (const DeadlineExceeded& error) {
    return "deadline " + std::to_string(error.code() == ETIMEDOUT);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no error";
}

void turn_until(Reactor& reactor, const std::function<bool()>& done) {
  for (int i = 0; i < 500 && !done(); ++i) reactor.turn(10 * kMs);
}

// ---- sources, tokens, hooks

TEST(Cancellation, calls_each_hook_once_in_the_order_of_registration) {
  CancellationSource source;
  std::vector<int> order;
  Listener first([&] { order.push_back(1); }), second([&] { order.push_back(2); });
  EXPECT_TRUE(first.hook.watch(source.token()));
  EXPECT_TRUE(second.hook.watch(source.token()));
  EXPECT_FALSE(source.cancelled());
  source.cancel();
  source.cancel();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  EXPECT_TRUE(source.token().cancelled());
  EXPECT_EQ(first.hook.reason(), CancelReason::cancelled);
  EXPECT_FALSE(first.hook.watching());
}

TEST(Cancellation, a_hook_that_left_is_not_called) {
  CancellationSource source;
  Listener stays, leaves;
  stays.hook.watch(source.token());
  leaves.hook.watch(source.token());
  {
    auto goes = std::make_unique<Listener>();
    goes->hook.watch(source.token());
  }
  leaves.hook.leave();
  leaves.hook.leave();
  source.cancel();
  EXPECT_EQ(stays.calls, 1);
  EXPECT_EQ(leaves.calls, 0);
}

TEST(Cancellation, watching_something_else_leaves_the_first) {
  CancellationSource one, two;
  Listener listener;
  listener.hook.watch(one.token());
  listener.hook.watch(two.token());
  one.cancel();
  EXPECT_EQ(listener.calls, 0);
  two.cancel();
  EXPECT_EQ(listener.calls, 1);
}

TEST(Cancellation, tokens_that_can_never_be_cancelled_say_so) {
  CancellationToken none;
  Listener listener;
  EXPECT_FALSE(none.can_be_cancelled());
  EXPECT_FALSE(listener.hook.watch(none));
  EXPECT_EQ(listener.hook.reason(), CancelReason::none);
  std::optional<CancellationSource> source(std::in_place);
  const CancellationToken token = source->token();
  EXPECT_TRUE(token.can_be_cancelled());
  source.reset();
  EXPECT_FALSE(token.can_be_cancelled());
  EXPECT_FALSE(listener.hook.watch(token));
}

TEST(Cancellation, a_hook_comes_too_late_for_a_cancelled_token) {
  CancellationSource source;
  source.cancel();
  Listener listener;
  EXPECT_FALSE(listener.hook.watch(source.token()));
  EXPECT_EQ(listener.hook.reason(), CancelReason::cancelled);
  EXPECT_EQ(listener.calls, 0);
  EXPECT_EQ(error_of([&] { source.token().throw_if_cancelled(); }), "cancelled 1");
}

TEST(Cancellation, children_are_cancelled_with_their_parent_and_not_the_other_way_round) {
  CancellationSource parent;
  CancellationSource child(parent.token()), other(parent.token());
  CancellationSource grandchild(child.token());
  Listener of_parent, of_child, of_other, of_grandchild;
  of_parent.hook.watch(parent.token());
  of_child.hook.watch(child.token());
  of_other.hook.watch(other.token());
  of_grandchild.hook.watch(grandchild.token());
  child.cancel();
  EXPECT_EQ(of_child.calls + of_grandchild.calls, 2);
  EXPECT_EQ(of_parent.calls + of_other.calls, 0);
  parent.cancel();
  EXPECT_EQ(of_parent.calls + of_other.calls, 2);
  EXPECT_EQ(of_child.calls + of_grandchild.calls, 2);
  EXPECT_TRUE(CancellationSource(parent.token()).cancelled());
}

TEST(Cancellation, a_long_row_of_children_is_no_recursion) {
  CancellationSource root;
  std::vector<CancellationSource> row;
  row.emplace_back(root.token());
  for (int i = 0; i < 200'000; ++i) row.emplace_back(row.back().token());
  Listener last;
  last.hook.watch(row.back().token());
  {
    CancellationToken end = row.back().token();
    row.clear();  // held by the hook and the token alone
  }
  root.cancel();
  EXPECT_EQ(last.calls, 1);
}

TEST(Cancellation, the_row_of_children_ends_without_recursion) {
  CancellationSource root;
  CancellationSource last(root.token());
  for (int i = 0; i < 200'000; ++i) last = CancellationSource(last.token());
  EXPECT_FALSE(last.cancelled());
}

TEST(Cancellation, a_child_whose_source_has_gone_is_still_cancelled_by_its_parent) {
  CancellationSource parent;
  Listener listener;
  listener.hook.watch(CancellationSource(parent.token()).token());
  parent.cancel();
  EXPECT_EQ(listener.calls, 1);
}

TEST(Cancellation, hooks_may_destroy_sources_and_each_other) {
  std::optional<CancellationSource> source(std::in_place);
  auto victim = std::make_unique<Listener>();
  auto own = std::make_unique<Listener>();
  Listener killer([&] {
    victim.reset();
    source.reset();
  });
  Listener late;
  killer.hook.watch(source->token());
  victim->hook.watch(source->token());
  own->hook.watch(source->token());
  own->act = [&] { own.reset(); };
  late.hook.watch(source->token());
  source->cancel();
  EXPECT_EQ(late.calls, 1);
  EXPECT_EQ(own, nullptr);
  EXPECT_FALSE(source.has_value());
}

TEST(Cancellation, a_hook_may_register_another_which_is_told_that_it_is_too_late) {
  CancellationSource source;
  Listener second;
  bool registered = true;
  Listener first([&] { registered = second.hook.watch(source.token()); });
  first.hook.watch(source.token());
  source.cancel();
  EXPECT_FALSE(registered);
  EXPECT_EQ(second.hook.reason(), CancelReason::cancelled);
}

TEST(Cancellation, deadlines_cancel_and_only_move_forward) {
  Reactor reactor;
  CancellationSource parent;
  parent.cancel_at(reactor, reactor.now() + 20 * kMs);
  CancellationSource child(parent.token());
  child.cancel_at(reactor, reactor.now() + 1000 * kMs);
  EXPECT_EQ(child.token().deadline(), parent.token().deadline());
  const Nanos before = parent.token().deadline();
  parent.cancel_after(reactor, 60'000 * kMs);
  EXPECT_EQ(parent.token().deadline(), before);
  Listener listener;
  listener.hook.watch(child.token());
  turn_until(reactor, [&] { return listener.calls > 0; });
  EXPECT_EQ(listener.calls, 1);
  EXPECT_EQ(listener.hook.reason(), CancelReason::deadline);
  EXPECT_GE(reactor.now(), before);
  EXPECT_EQ(error_of([&] { child.token().throw_if_cancelled(); }), "deadline 1");
}

TEST(Cancellation, a_deadline_holds_on_when_its_source_has_gone_and_ends_with_its_reactor) {
  std::optional<Reactor> reactor(std::in_place);
  Listener fires, never;
  {
    CancellationSource soon, late;
    soon.cancel_after(*reactor, 2 * kMs);
    late.cancel_after(*reactor, 60'000 * kMs);
    fires.hook.watch(soon.token());
    never.hook.watch(late.token());
  }
  turn_until(*reactor, [&] { return fires.calls > 0; });
  EXPECT_EQ(fires.calls, 1);
  reactor.reset();
  EXPECT_TRUE(never.hook.watching());
  EXPECT_EQ(never.calls, 0);
}

// Random sources, children, hooks and cancels, beside a plain model of who has to be called.
TEST(Cancellation, random_trees_call_who_they_have_to_call) {
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    struct Node {
      std::optional<CancellationSource> source;
      CancellationToken token;
      int parent;
      bool cancelled = false;
    };
    std::vector<Node> nodes;
    std::vector<std::unique_ptr<Listener>> listeners;
    std::vector<int> watched, expected;
    auto cancelled = [&](int i) {
      for (; i >= 0; i = nodes[static_cast<std::size_t>(i)].parent) {
        if (nodes[static_cast<std::size_t>(i)].cancelled) return true;
      }
      return false;
    };
    for (int step = 0; step < 60; ++step) {
      const auto pick = nodes.empty() ? -1 : static_cast<int>(random() % nodes.size());
      switch (random() % 6) {
        case 0: {
          Node node{std::nullopt, {}, random() % 2 ? pick : -1};
          if (node.parent >= 0) {
            node.source.emplace(nodes[static_cast<std::size_t>(node.parent)].token);
          } else {
            node.source.emplace();
          }
          node.token = node.source->token();
          nodes.push_back(std::move(node));
          break;
        }
        case 1:
          if (pick >= 0 && random() % 4 == 0) nodes[static_cast<std::size_t>(pick)].source.reset();
          break;
        case 2:
          if (pick >= 0 && random() % 3 == 0 && nodes[static_cast<std::size_t>(pick)].source) {
            nodes[static_cast<std::size_t>(pick)].source->cancel();
            nodes[static_cast<std::size_t>(pick)].cancelled = true;
          }
          break;
        default:
          if (pick >= 0) {
            listeners.push_back(std::make_unique<Listener>());
            const bool late = cancelled(pick);
            const bool registered = listeners.back()->hook.watch(nodes[static_cast<std::size_t>(pick)].token);
            ASSERT_FALSE(late && registered);
            watched.push_back(late || !registered ? -1 : pick);
          }
      }
      for (std::size_t i = 0; i < listeners.size(); ++i) {
        ASSERT_EQ(listeners[i]->calls, watched[i] >= 0 && cancelled(watched[i]) ? 1 : 0);
      }
    }
  }
}

// ---- futures with tokens and deadlines

struct Operation {
  Operation() { promise->on_cancel(&handler); }
  std::optional<Promise<int>> promise{std::in_place};
  int stops = 0;
  std::function<void()> act;
  CancelHandler handler{[](void* self) noexcept {
                          auto& operation = *static_cast<Operation*>(self);
                          ++operation.stops;
                          if (operation.act) operation.act();
                        },
                        this};
};

TEST(FutureWithToken, passes_values_and_errors_on) {
  CancellationSource source;
  EXPECT_EQ(make_ready(1).with(source.token()).get(), 1);
  Operation operation;
  auto future = operation.promise->get_future().with(source.token()).then([](int value) { return value + 1; });
  operation.promise->set_value(1);
  EXPECT_EQ(future.get(), 2);
  Operation broken;
  auto fails = broken.promise->get_future().with(source.token());
  broken.promise.reset();
  EXPECT_EQ(error_of([&] { fails.get(); }), "promise: destroyed without a value");
  source.cancel();
  EXPECT_EQ(operation.stops + broken.stops, 0);
}

TEST(FutureWithToken, fails_with_cancelled_and_stops_the_operation_behind_the_chain) {
  CancellationSource source;
  Operation operation;
  bool ran = false;
  auto future = operation.promise->get_future()
                    .then([&](int value) {
                      ran = true;
                      return value;
                    })
                    .then([](int value) { return std::to_string(value); })
                    .with(source.token());
  source.cancel();
  EXPECT_EQ(error_of([&] { future.get(); }), "cancelled 1");
  EXPECT_EQ(operation.stops, 1);
  EXPECT_FALSE(ran);
  operation.promise->set_value(5);  // a chain that nobody listens to still runs
  EXPECT_TRUE(ran);
}

TEST(FutureWithToken, a_cancelled_token_fails_at_once) {
  CancellationSource source;
  source.cancel();
  Operation operation;
  auto future = operation.promise->get_future().with(source.token());
  EXPECT_EQ(error_of([&] { future.get(); }), "cancelled 1");
  EXPECT_EQ(operation.stops, 1);
  EXPECT_FALSE(operation.promise->wanted());
}

TEST(FutureWithToken, an_operation_may_answer_within_its_cancel_handler) {
  CancellationSource source;
  Operation operation;
  operation.act = [&] { operation.promise->set_exception(std::make_exception_ptr(Error("stopped"))); };
  auto future = operation.promise->get_future().with(source.token());
  source.cancel();
  EXPECT_EQ(error_of([&] { future.get(); }), "cancelled 1");
}

TEST(FutureWithToken, an_operation_may_end_within_its_cancel_handler) {
  CancellationSource source;
  Operation operation;
  operation.act = [&] { operation.promise.reset(); };
  auto future = operation.promise->get_future().with(source.token());
  source.cancel();
  EXPECT_EQ(error_of([&] { future.get(); }), "cancelled 1");
}

TEST(FutureWithToken, everything_may_go_in_any_order) {
  // 0 source, 1 promise, 2 future; what is left must neither crash nor leak.
  int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (auto& order : orders) {
    for (int cancel_before : {0, 1, 2, 3}) {
      auto witness = std::make_shared<int>(0);
      auto source = std::make_optional<CancellationSource>();
      auto operation = std::make_optional<Operation>();
      auto future = std::make_optional(operation->promise->get_future()
                                           .then([witness](int value) { return value; })
                                           .with(source->token())
                                           .then([witness](int value) { return value; }));
      for (int step = 0; step < 3; ++step) {
        if (step == cancel_before && source) source->cancel();
        if (order[step] == 0) source.reset();
        if (order[step] == 1) operation.reset();
        if (order[step] == 2) future.reset();
      }
      EXPECT_EQ(witness.use_count(), 1);
    }
  }
}

TEST(FutureWithToken, moving_promise_and_future_keeps_them_together) {
  CancellationSource source;
  Operation operation;
  auto future = operation.promise->get_future().then([](int value) { return value + 1; }).with(source.token());
  Promise<int> promise = std::move(*operation.promise);
  Promise<int> again;
  again = std::move(promise);
  auto moved = std::move(future);
  auto target = make_ready(0);
  target = std::move(moved);
  again.set_value(1);
  EXPECT_EQ(target.get(), 2);

  Operation other;
  auto waits = other.promise->get_future().with(source.token());
  Promise<int> carried = std::move(*other.promise);
  source.cancel();
  EXPECT_EQ(other.stops, 1);
  EXPECT_TRUE(waits.failed());
}

TEST(FutureWithToken, a_future_across_threads_says_that_it_cannot) {
  CancellationSource source;
  auto promise = Promise<int>::across_threads();
  auto future = promise.get_future().with(source.token());
  EXPECT_NE(error_of([&] { future.get(); }).find("with()"), std::string::npos);
}

TEST(FutureCancel, reaches_the_operation_through_chains_inner_futures_and_coroutines) {
  Operation outer, inner;
  auto future = outer.promise->get_future().then(
      [&](int) { return inner.promise->get_future().then([](int value) { return value * 2; }); });
  auto coroutine = [](Future<int> value) -> Future<int> { co_return co_await std::move(value) + 1; };
  auto all = coroutine(coroutine(std::move(future)));
  all.cancel();
  EXPECT_EQ(outer.stops, 1);
  outer.promise->set_value(0);
  all.cancel();
  EXPECT_EQ(outer.stops, 1);
  EXPECT_EQ(inner.stops, 1);
  inner.promise->set_value(4);
  EXPECT_EQ(all.get(), 10);
}

TEST(FutureCancel, is_no_recursion_along_a_long_chain) {
  Operation operation;
  Future<int> future = operation.promise->get_future();
  for (int i = 0; i < 200'000; ++i) future = future.then([](int value) { return value + 1; });
  future.cancel();
  EXPECT_EQ(operation.stops, 1);
  operation.promise->set_value(0);
  EXPECT_EQ(future.get(), 200'000);
}

TEST(FutureDeadline, fails_in_time_and_stops_the_operation) {
  Reactor reactor;
  Operation operation;
  auto future = with_deadline(operation.promise->get_future(), reactor, 3 * kMs);
  turn_until(reactor, [&] { return future.ready(); });
  EXPECT_EQ(error_of([&] { future.get(); }), "deadline 1");
  EXPECT_EQ(operation.stops, 1);
}

TEST(FutureDeadline, a_value_in_time_disarms_it) {
  Reactor reactor;
  Operation operation;
  auto future = with_deadline(operation.promise->get_future(), reactor, 3 * kMs);
  operation.promise->set_value(3);
  const Nanos end = reactor.now() + 8 * kMs;
  turn_until(reactor, [&] { return reactor.now() > end; });
  EXPECT_EQ(future.get(), 3);
  EXPECT_EQ(operation.stops, 0);
  EXPECT_EQ(with_deadline(make_ready(4), reactor, 0).get(), 4);
}

TEST(FutureDeadline, survives_its_reactor) {
  auto reactor = std::make_optional<Reactor>();
  Operation operation;
  auto future = with_deadline(operation.promise->get_future(), *reactor, 1000 * kMs);
  reactor.reset();
  operation.promise->set_value(3);
  EXPECT_EQ(future.get(), 3);
}

TEST(FutureAcrossThreads, get_for_gives_up_in_time) {
  auto promise = Promise<int>::across_threads();
  auto future = promise.get_future();
  EXPECT_EQ(error_of([&] { future.get_for(std::chrono::milliseconds(2)); }), "deadline 1");
  promise.set_value(1);
  EXPECT_EQ(future.get_for(std::chrono::milliseconds(2)), 1);
}

}  // namespace
}  // namespace fasterapi::core

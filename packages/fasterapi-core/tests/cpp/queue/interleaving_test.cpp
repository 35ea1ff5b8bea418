// Queues, the wake of a sleeping consumer, and the object pool under every interleaving of two threads that do
// four operations each.
#if !defined(__SANITIZE_THREAD__)  // which knows nothing of fibers; there is one real thread here anyway
#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <fasterapi/core/mpmc_queue.hpp>
#include <fasterapi/core/object_pool.hpp>
#include <fasterapi/core/queue.hpp>
#include <fasterapi/core/spsc_queue.hpp>

#include "../support/interleaving.hpp"

namespace fasterapi::core {
namespace {

using test::Atomic;
using test::Interleaving;
using test::Tracked;

// Values of one producer come out in order, and each value that went in comes out once.
std::string check_fifo(std::vector<int> out, std::vector<int> in) {
  for (int producer : {0, 100}) {
    int last = -1;
    for (int value : out) {
      if (value / 100 * 100 != producer) continue;
      if (value <= last) return "out of order";
      last = value;
    }
  }
  std::sort(out.begin(), out.end());
  std::sort(in.begin(), in.end());
  return out == in ? "" : "lost or doubled values";
}

template <class Queue>
struct State {
  template <class... Args>
  explicit State(Args... args) : queue(args...) {}
  Queue queue;
  std::vector<int> in[2], out[2];
  void push(int thread, int value) {
    if constexpr (requires { queue.push(Tracked(value)); }) {
      queue.push(Tracked(value));
      in[thread].push_back(value);
    } else if (queue.try_push(Tracked(value))) {
      in[thread].push_back(value);
    }
  }
  bool pop(int thread) {
    Tracked value;
    bool got;
    if constexpr (requires { queue.pop(value); }) {
      got = queue.pop(value);
    } else {
      got = queue.try_pop(value);
    }
    if (got) out[thread].push_back(value.get());
    return got;
  }
  std::string drain_and_check() {
    std::vector<int> all = out[1];  // the consumer's, in order, then what is left
    while (pop(1)) all.push_back(out[1].back());
    all.insert(all.end(), out[0].begin(), out[0].end());
    std::vector<int> entered = in[0];
    entered.insert(entered.end(), in[1].begin(), in[1].end());
    if (!out[0].empty()) {  // two consumers: only completeness can be said of the order of the whole
      std::sort(all.begin(), all.end());
    }
    return check_fifo(all, entered);
  }
};

// Runs all of them, and says how many there were.
void explore_all(const std::function<Interleaving::Scenario()>& make, std::size_t at_least) {
  const auto result = Interleaving::explore(make);
  EXPECT_EQ(result.failure, "") << "in schedule " << result.schedules;
  EXPECT_TRUE(result.complete) << "more schedules than the limit";
  EXPECT_GE(result.schedules, at_least);
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  std::printf("%s: all %zu schedules\n", info->name(), result.schedules);
  testing::Test::RecordProperty("schedules", std::to_string(result.schedules));
}

template <class Queue, class... Args>
void producer_and_consumer(std::size_t at_least, Args... args) {
  explore_all(
      [&]() -> Interleaving::Scenario {
        auto state = std::make_shared<State<Queue>>(args...);
        return {[=] {
                  for (int i = 0; i < 4; ++i) state->push(0, i);
                },
                [=] {
                  for (int i = 0; i < 4; ++i) state->pop(1);
                },
                [=] { return state->drain_and_check(); }};
      },
      at_least);
}

TEST(QueueInterleaving, spsc_hands_over_in_order) {
  producer_and_consumer<SpscQueue<Tracked, Atomic>>(50, std::size_t{2});
}

TEST(QueueInterleaving, mpsc_hands_over_in_order) { producer_and_consumer<MpscQueue<Tracked, Atomic>>(10); }

TEST(QueueInterleaving, mpmc_hands_over_in_order) {
  producer_and_consumer<MpmcQueue<Tracked, Atomic>>(20, std::size_t{2});
}

TEST(QueueInterleaving, mpsc_takes_two_producers) {
  explore_all(
      []() -> Interleaving::Scenario {
        auto state = std::make_shared<State<MpscQueue<Tracked, Atomic>>>();
        return {[=] {
                  for (int i = 0; i < 4; ++i) state->push(0, i);
                },
                [=] {
                  state->push(1, 100);
                  state->pop(1);
                  state->push(1, 101);
                  state->pop(1);
                },
                [=] { return state->drain_and_check(); }};
      },
      15);
}

TEST(QueueInterleaving, mpmc_takes_two_of_each) {
  explore_all(
      []() -> Interleaving::Scenario {
        auto state = std::make_shared<State<MpmcQueue<Tracked, Atomic>>>(std::size_t{2});
        auto work = [=](int thread) {
          for (int i = 0; i < 2; ++i) {
            state->push(thread, thread * 100 + i);
            state->pop(thread);
          }
        };
        return {[=] { work(0); }, [=] { work(1); }, [=] { return state->drain_and_check(); }};
      },
      1000);
}

TEST(QueueInterleaving, mpmc_takes_two_producers_and_then_two_consumers) {
  for (const bool producers : {true, false}) {
    explore_all(
        [=]() -> Interleaving::Scenario {
          auto state = std::make_shared<State<MpmcQueue<Tracked, Atomic>>>(std::size_t{4});
          if (!producers) {
            for (int i = 0; i < 4; ++i) state->push(0, i);
          }
          auto work = [=](int thread) {
            for (int i = 0; i < 4; ++i)
              producers ? state->push(thread, thread * 100 + i) : void(state->pop(thread));
          };
          return {[=] { work(0); }, [=] { work(1); }, [=] { return state->drain_and_check(); }};
        },
        100);
  }
}

// How Reactor::post() wakes a reactor that sleeps: push, then signal; the sleeper takes the signal back before it
// looks into the queue. Whatever happens, nothing lies in the queue while there is no signal.
TEST(QueueInterleaving, the_wake_of_the_mpsc_consumer_is_never_lost) {
  struct Post {
    MpscQueue<Tracked, Atomic> queue;
    Atomic<int> signal{0};  // the eventfd
    int taken = 0;
    void take_all() {
      Tracked value;
      while (queue.pop(value)) ++taken;
    }
  };
  explore_all(
      []() -> Interleaving::Scenario {
        auto state = std::make_shared<Post>();
        return {[=] {
                  for (int i = 0; i < 4; ++i) {
                    state->queue.push(Tracked(i));
                    state->signal.store(1, std::memory_order_seq_cst);
                  }
                },
                [=] {
                  for (int i = 0; i < 4; ++i) {
                    if (state->signal.exchange(0, std::memory_order_seq_cst)) state->take_all();
                  }
                },
                [=]() -> std::string {
                  if (state->signal.load(std::memory_order_seq_cst)) state->take_all();
                  return state->taken == 4 ? "" : "asleep with work in the queue";
                }};
      },
      100);
}

TEST(QueueInterleaving, a_wake_before_the_push_is_found_to_be_lost) {
  auto result = Interleaving::explore([]() -> Interleaving::Scenario {
    struct Wrong {
      MpscQueue<Tracked, Atomic> queue;
      Atomic<int> signal{0};
    };
    auto state = std::make_shared<Wrong>();
    auto taken = std::make_shared<int>(0);
    auto take_all = [=] {
      Tracked value;
      while (state->queue.pop(value)) ++*taken;
    };
    return {[=] {
              state->signal.store(1, std::memory_order_seq_cst);
              state->queue.push(Tracked(1));
            },
            [=] {
              if (state->signal.exchange(0, std::memory_order_seq_cst)) take_all();
            },
            [=]() -> std::string {
              if (state->signal.load(std::memory_order_seq_cst)) take_all();
              return *taken == 1 ? "" : "lost";
            }};
  });
  EXPECT_EQ(result.failure, "lost");
}

// The memory of an object is used by the owner only after the other thread has finished with it.
struct Cells {
  std::map<const void*, Tracked> of;
  static inline Cells* current = nullptr;
};
struct Resident {
  explicit Resident(int value) : value(value) { Cells::current->of[this] = Tracked(1); }
  ~Resident() { Cells::current->of[this] = Tracked(2); }
  int value;
};
using Pool = ObjectPool<Resident, Atomic, &test::thread_number>;

TEST(PoolInterleaving, what_another_thread_gives_back_is_used_again_in_order) {
  explore_all(
      []() -> Interleaving::Scenario {
        struct State {
          State() : pool(8) {
            Cells::current = &cells;
            for (int i = 0; i < 4; ++i) out.push_back(pool.acquire(i));
          }
          ~State() { Cells::current = &cells; }
          Cells cells;
          std::vector<Resident*> out, again;
          Pool pool;
        };
        auto state = std::make_shared<State>();
        return {[=] {  // thread 0 made the pool
                  for (int i = 0; i < 4; ++i) state->again.push_back(state->pool.acquire(10 + i));
                },
                [=] {
                  for (Resident* object : state->out) state->pool.release(object);
                },
                [=]() -> std::string {
                  std::set<Resident*> distinct(state->again.begin(), state->again.end());
                  std::string text = distinct.size() == 4 ? "" : "one object for two";
                  for (int i = 0; i < 4; ++i) {
                    if (state->again[static_cast<std::size_t>(i)]->value != 10 + i) text = "overwritten";
                  }
                  for (Resident* object : state->again) state->pool.release(object);
                  state->pool.trim(0);
                  return state->pool.statistics().in_use == 0 ? text : "lost";
                }};
      },
      50);
}

// ---- the explorer itself finds what it is there to find

template <class T>
struct Forgetful : Atomic<T> {  // publishes without release
  using Atomic<T>::Atomic;
  void store(T value, std::memory_order) { Atomic<T>::store(value, std::memory_order_relaxed); }
};

TEST(QueueInterleaving, a_missing_release_is_found) {
  auto result = Interleaving::explore([]() -> Interleaving::Scenario {
    auto state = std::make_shared<State<SpscQueue<Tracked, Forgetful>>>(std::size_t{2});
    return {[=] {
              for (int i = 0; i < 4; ++i) state->push(0, i);
            },
            [=] {
              for (int i = 0; i < 4; ++i) state->pop(1);
            },
            [] { return std::string(); }};
  });
  EXPECT_NE(result.failure, "");
}

TEST(QueueInterleaving, the_explorer_runs_each_order_that_differs_once) {
  auto count = [](int objects) {
    std::set<std::vector<int>> orders;
    const auto result = Interleaving::explore([&]() -> Interleaving::Scenario {
      auto atomics = std::make_shared<std::vector<Atomic<int>>>(static_cast<std::size_t>(objects));
      auto order = std::make_shared<std::vector<int>>();
      auto work = [=](int thread) {
        for (int i = 0; i < 4; ++i) {
          (*atomics)[static_cast<std::size_t>(thread) % atomics->size()].exchange(thread,
                                                                                  std::memory_order_seq_cst);
          order->push_back(thread);
        }
      };
      return {[=] { work(0); }, [=] { work(1); },
              [=, &orders]() -> std::string {
                orders.insert(*order);
                return "";
              }};
    });
    EXPECT_TRUE(result.complete);
    return std::pair(result.schedules, orders.size());
  };
  EXPECT_EQ(count(1), std::pair(std::size_t{70}, std::size_t{70}));  // 8 over 4
  EXPECT_EQ(count(2).first, 1u);                                     // they do not meet
}

TEST(QueueInterleaving, an_update_that_is_lost_is_found) {
  auto result = Interleaving::explore([]() -> Interleaving::Scenario {
    auto count = std::make_shared<Atomic<int>>(0);
    auto add = [=] { count->store(count->load(std::memory_order_seq_cst) + 1, std::memory_order_seq_cst); };
    return {add, add, [=] { return count->load(std::memory_order_seq_cst) == 2 ? "" : "lost"; }};
  });
  EXPECT_EQ(result.failure, "lost");
}

}  // namespace
}  // namespace fasterapi::core
#endif

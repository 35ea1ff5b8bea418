// The queues under every interleaving of two threads with few forced switches, four operations each.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include <fasterapi/core/mpmc_queue.hpp>
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

template <class Queue, class... Args>
void producer_and_consumer(int preemptions, Args... args) {
  auto result = Interleaving::explore(preemptions, [&]() -> Interleaving::Scenario {
    auto state = std::make_shared<State<Queue>>(args...);
    return {[=] { for (int i = 0; i < 4; ++i) state->push(0, i); },
            [=] { for (int i = 0; i < 4; ++i) state->pop(1); },
            [=] { return state->drain_and_check(); }};
  });
  EXPECT_EQ(result.failure, "") << "in schedule " << result.schedules;
  EXPECT_GT(result.schedules, 100u);
}

TEST(QueueInterleaving, spsc_hands_over_in_order) {
  producer_and_consumer<SpscQueue<Tracked, Atomic>>(4, std::size_t{2});
}

TEST(QueueInterleaving, mpsc_hands_over_in_order) { producer_and_consumer<MpscQueue<Tracked, Atomic>>(5); }

TEST(QueueInterleaving, mpmc_hands_over_in_order) {
  producer_and_consumer<MpmcQueue<Tracked, Atomic>>(4, std::size_t{2});
}

TEST(QueueInterleaving, mpsc_takes_two_producers) {
  auto result = Interleaving::explore(3, []() -> Interleaving::Scenario {
    auto state = std::make_shared<State<MpscQueue<Tracked, Atomic>>>();
    return {[=] { for (int i = 0; i < 4; ++i) state->push(0, i); },
            [=] {
              state->push(1, 100);
              state->pop(1);
              state->push(1, 101);
              state->pop(1);
            },
            [=] { return state->drain_and_check(); }};
  });
  EXPECT_EQ(result.failure, "") << "in schedule " << result.schedules;
}

TEST(QueueInterleaving, mpmc_takes_two_of_each) {
  auto result = Interleaving::explore(3, []() -> Interleaving::Scenario {
    auto state = std::make_shared<State<MpmcQueue<Tracked, Atomic>>>(std::size_t{2});
    auto work = [=](int thread) {
      for (int i = 0; i < 2; ++i) {
        state->push(thread, thread * 100 + i);
        state->pop(thread);
      }
    };
    return {[=] { work(0); }, [=] { work(1); }, [=] { return state->drain_and_check(); }};
  });
  EXPECT_EQ(result.failure, "") << "in schedule " << result.schedules;
}

// ---- the explorer itself finds what it is there to find

template <class T>
struct Forgetful : Atomic<T> {  // publishes without release
  using Atomic<T>::Atomic;
  void store(T value, std::memory_order) { Atomic<T>::store(value, std::memory_order_relaxed); }
};

TEST(QueueInterleaving, a_missing_release_is_found) {
  auto result = Interleaving::explore(2, []() -> Interleaving::Scenario {
    auto state = std::make_shared<State<SpscQueue<Tracked, Forgetful>>>(std::size_t{2});
    return {[=] { for (int i = 0; i < 4; ++i) state->push(0, i); },
            [=] { for (int i = 0; i < 4; ++i) state->pop(1); },
            [] { return std::string(); }};
  });
  EXPECT_NE(result.failure, "");
}

TEST(QueueInterleaving, an_update_that_is_lost_is_found) {
  auto result = Interleaving::explore(1, []() -> Interleaving::Scenario {
    auto count = std::make_shared<Atomic<int>>(0);
    auto add = [=] {
      count->store(count->load(std::memory_order_seq_cst) + 1, std::memory_order_seq_cst);
    };
    return {add, add, [=] { return count->load(std::memory_order_seq_cst) == 2 ? "" : "lost"; }};
  });
  EXPECT_EQ(result.failure, "lost");
}

}  // namespace
}  // namespace fasterapi::core

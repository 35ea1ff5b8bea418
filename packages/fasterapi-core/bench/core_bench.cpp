// What do the building blocks cost by themselves? Budgets, in ns: timer re-arm with 10k timers 4, pool acquire and
// release on the owner 5 and across threads 25, ready .then 1.5, pending promise + then + set 6, queue item across
// threads 15. The queues and the pool across threads are only meaningful on two idle cores.
//   cmake -S packages/fasterapi-core -B build/bench -G Ninja -DCMAKE_BUILD_TYPE=Release -DFASTERAPI_PYTHON=OFF
//         -DFASTERAPI_BENCH=ON && cmake --build build/bench --target core_bench
//   build/bench/core_bench --benchmark_repetitions=5 --benchmark_out=core.json --benchmark_out_format=json
#include <benchmark/benchmark.h>

#include <atomic>
#include <future>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include <fasterapi/core/future.hpp>
#include <fasterapi/core/mpmc_queue.hpp>
#include <fasterapi/core/object_pool.hpp>
#include <fasterapi/core/queue.hpp>
#include <fasterapi/core/slab.hpp>
#include <fasterapi/core/spsc_queue.hpp>
#include <fasterapi/core/timer_wheel.hpp>

namespace {

using namespace fasterapi::core;

// ---------------------------------------------------------------- timers

struct Timers {
  static constexpr std::int64_t kSecond = 1'000'000'000;
  explicit Timers(std::size_t count) : wheel(0), order(count) {
    std::mt19937 random(1);
    for (std::size_t i = 0; i < count; ++i) {
      timers.push_back(std::make_unique<Timer>([](void*) noexcept {}, nullptr));
      wheel.arm(*timers[i], 30 * kSecond + static_cast<std::int64_t>(random() % (30 * kSecond)));
      order[i] = static_cast<std::uint32_t>(i);
    }
    std::shuffle(order.begin(), order.end(), random);
  }
  Timer& next() {
    at = at + 1 == order.size() ? 0 : at + 1;
    return *timers[order[at]];
  }
  TimerWheel wheel;
  std::vector<std::unique_ptr<Timer>> timers;
  std::vector<std::uint32_t> order;
  std::size_t at = 0;
};

void timer_rearm_later(benchmark::State& state) {  // an idle timer that each request moves back
  Timers timers(10'000);
  std::int64_t deadline = 61 * Timers::kSecond;
  for (auto _ : state) timers.wheel.arm(timers.next(), deadline += 100);
}
BENCHMARK(timer_rearm_later);

void timer_cancel_and_arm(benchmark::State& state) {  // both change the lists
  Timers timers(10'000);
  std::int64_t deadline = 61 * Timers::kSecond;
  for (auto _ : state) {
    Timer& timer = timers.next();
    timers.wheel.cancel(timer);
    timers.wheel.arm(timer, deadline += 100);
  }
}
BENCHMARK(timer_cancel_and_arm);

void timer_rearm_with_time_passing(benchmark::State& state) {  // the lazily moved ones find their places too
  Timers timers(10'000);
  std::int64_t now = 0;
  for (auto _ : state) {
    now += 3'000;  // 10k timers, each moved every 30 ms to 30 s ahead
    timers.wheel.arm(timers.next(), now + 30 * Timers::kSecond);
    timers.wheel.advance(now);
  }
}
BENCHMARK(timer_rearm_with_time_passing);

void timer_next_deadline(benchmark::State& state) {
  Timers timers(10'000);
  for (auto _ : state) benchmark::DoNotOptimize(timers.wheel.next_deadline());
}
BENCHMARK(timer_next_deadline);

// ---------------------------------------------------------------- pools

struct Object {
  Object() {}  // not cleared: the pool is what is measured
  std::uint64_t words[12];
};

void object_pool_owner(benchmark::State& state) {
  ObjectPool<Object> pool;
  for (auto _ : state) {
    Object* object = pool.acquire();
    benchmark::DoNotOptimize(object);
    pool.release(object);
  }
}
BENCHMARK(object_pool_owner);

void object_heap(benchmark::State& state) {
  for (auto _ : state) {
    auto* object = new Object;
    benchmark::DoNotOptimize(object);
    delete object;
  }
}
BENCHMARK(object_heap);

void object_pool_across_threads(benchmark::State& state) {  // all are given back by another thread, in batches
  constexpr std::size_t kBatch = 256;
  ObjectPool<Object> pool(kBatch);
  std::vector<Object*> objects(kBatch);
  std::atomic<int> turn{0};
  std::thread other([&] {
    for (;;) {
      int seen;
      while ((seen = turn.load(std::memory_order_acquire)) == 0) std::this_thread::yield();
      if (seen == 2) return;
      for (Object* object : objects) pool.release(object);
      turn.store(0, std::memory_order_release);
    }
  });
  for (auto _ : state) {
    for (Object*& object : objects) object = pool.acquire();
    turn.store(1, std::memory_order_release);
    while (turn.load(std::memory_order_acquire) != 0) std::this_thread::yield();
  }
  turn.store(2, std::memory_order_release);
  other.join();
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));  // acquired and given back
}
BENCHMARK(object_pool_across_threads)->UseRealTime();

void slab_acquire_release(benchmark::State& state) {
  SlabPool pool;
  for (auto _ : state) benchmark::DoNotOptimize(pool.acquire(4000).data());
}
BENCHMARK(slab_acquire_release);

// ---------------------------------------------------------------- futures

void future_ready_then(benchmark::State& state) {
  int value = 1;
  for (auto _ : state) {
    benchmark::DoNotOptimize(value);
    value = make_ready(value).then([](int v) { return v + 1; }).get();
  }
}
BENCHMARK(future_ready_then);

void future_promise_then_set(benchmark::State& state) {
  int value = 1;
  for (auto _ : state) {
    Promise<int> promise;
    auto future = promise.get_future().then([](int v) { return v + 1; });
    promise.set_value(value);
    value = future.get();
    benchmark::DoNotOptimize(value);
  }
}
BENCHMARK(future_promise_then_set);

Future<int> increment(Future<int> value) { co_return co_await std::move(value) + 1; }

void future_coroutine_pending(benchmark::State& state) {
  int value = 1;
  for (auto _ : state) {
    Promise<int> promise;
    auto future = increment(promise.get_future());
    promise.set_value(value);
    value = future.get();
    benchmark::DoNotOptimize(value);
  }
}
BENCHMARK(future_coroutine_pending);

void future_across_threads_then_set(benchmark::State& state) {
  int value = 1;
  for (auto _ : state) {
    auto promise = Promise<int>::across_threads();
    auto future = promise.get_future().then([](int v) { return v + 1; });
    promise.set_value(value);
    value = future.get();
    benchmark::DoNotOptimize(value);
  }
}
BENCHMARK(future_across_threads_then_set);

void std_promise_set_get(benchmark::State& state) {
  int value = 1;
  for (auto _ : state) {
    std::promise<int> promise;
    auto future = promise.get_future();
    promise.set_value(value);
    value = future.get();
    benchmark::DoNotOptimize(value);
  }
}
BENCHMARK(std_promise_set_get);

// ---------------------------------------------------------------- queues

template <class Queue>
void queue_one_thread(benchmark::State& state) {
  Queue queue(1024);
  std::uint64_t value = 0;
  for (auto _ : state) {
    queue.try_push(std::uint64_t{value});
    queue.try_pop(value);
    benchmark::DoNotOptimize(value);
  }
}
BENCHMARK(queue_one_thread<SpscQueue<std::uint64_t>>);
BENCHMARK(queue_one_thread<MpmcQueue<std::uint64_t>>);

void mpsc_one_thread(benchmark::State& state) {
  MpscQueue<std::uint64_t> queue;
  std::uint64_t value = 0;
  for (auto _ : state) {
    queue.push(value);
    queue.pop(value);
    benchmark::DoNotOptimize(value);
  }
}
BENCHMARK(mpsc_one_thread);

template <class Queue>
void queue_across_threads(benchmark::State& state) {  // one producer, one consumer, per item
  Queue queue(4096);
  std::atomic<bool> stop{false};
  std::thread consumer([&] {
    std::uint64_t value;
    while (!stop.load(std::memory_order_relaxed)) {
      if (!queue.try_pop(value)) std::this_thread::yield();
    }
  });
  for (auto _ : state) {
    while (!queue.try_push(1)) std::this_thread::yield();
  }
  while (queue.size() > 0) std::this_thread::yield();
  stop = true;
  consumer.join();
}
BENCHMARK(queue_across_threads<SpscQueue<std::uint64_t>>)->UseRealTime();
BENCHMARK(queue_across_threads<MpmcQueue<std::uint64_t>>)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();

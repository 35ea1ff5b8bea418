// What do a count, an observation, a token and a log line cost that is switched off or left out?
#include <benchmark/benchmark.h>

#include <ctime>

#include <fasterapi/core/log.hpp>
#include <fasterapi/core/metrics.hpp>
#include <fasterapi/core/reactor.hpp>

namespace {

using namespace fasterapi::core;

void counter_add(benchmark::State& state) {
  metrics::Counter counter = metrics::Registry::process().counter("bench_total", "");
  for (auto _ : state) {
    counter.add();
    benchmark::ClobberMemory();
  }
}
BENCHMARK(counter_add);

void counter_add_from_any_thread(benchmark::State& state) {
  metrics::Counter counter = metrics::Registry::process().counter("bench_shared_total", "");
  for (auto _ : state) counter.add_from_any_thread();
}
BENCHMARK(counter_add_from_any_thread);

void histogram_observe(benchmark::State& state) {
  metrics::Histogram histogram =
      metrics::Registry::process().histogram("bench_seconds", "", metrics::default_bounds());
  double value = 0.003;
  for (auto _ : state) {
    benchmark::DoNotOptimize(value);
    histogram.observe(value);
  }
}
BENCHMARK(histogram_observe);

void token_take(benchmark::State& state) {
  SharedBlock& block = metrics::Registry::process().block();
  std::int64_t now = 1'000'000'000'000;
  for (auto _ : state)
    benchmark::DoNotOptimize(block.take("203.0.113.7", {.rate = 1e6, .burst = 1e6}, 1, now += 1000));
}
BENCHMARK(token_take);

/// What loop metrics pay per callback, and what they would pay with the precise clock.
template <clockid_t clock>
void read_clock(benchmark::State& state) {
  timespec ts;
  for (auto _ : state) {
    ::clock_gettime(clock, &ts);
    benchmark::DoNotOptimize(ts);
  }
}
BENCHMARK(read_clock<CLOCK_MONOTONIC_COARSE>);
BENCHMARK(read_clock<CLOCK_MONOTONIC>);

void log_line_switched_off(benchmark::State& state) {
  log::Logger& logger = log::logger("bench");
  for (auto _ : state) FASTERAPI_LOG_DEBUG(logger, "not written %d", 1);
}
BENCHMARK(log_line_switched_off);

struct Nowhere final : log::Sink {
  void write(const log::Record& record) noexcept override { benchmark::DoNotOptimize(record.text_size); }
};

void log_line_left_out_by_its_limit(benchmark::State& state) {
  static Nowhere nowhere;
  log::set_sink(&nowhere);
  log::Logger& logger = log::logger("bench");
  for (auto _ : state) FASTERAPI_LOG_WARNING(logger, "left out %d", 1);
  log::set_sink(nullptr);
}
BENCHMARK(log_line_left_out_by_its_limit);

void log_line_written(benchmark::State& state) {
  static Nowhere nowhere;
  log::set_sink(&nowhere);
  log::Logger& logger = log::logger("bench");
  for (auto _ : state)
    FASTERAPI_LOG_RATE(logger, log::Level::kWarning, 4'000'000'000u, "bad request from %s: %d", "203.0.113.7",
                       400);
  log::set_sink(nullptr);
}
BENCHMARK(log_line_written);

}  // namespace

#pragma once
// What an event loop tells about itself when it is asked to (FASTERAPI_METRICS=1 or EventLoop.enable_metrics()).
//   Cost     off: one branch per turn and per callback. On: one add per turn, a clock read per callback (the
//   coarse
//            clock unless slow_callback_duration is below 20 ms), and a timer every 100 ms
//   Threads  the loop's, with the GIL
#include <ctime>

#include <fasterapi/core/metrics.hpp>

#include "loop.hpp"

namespace fasterapi::core::py {

class LoopMetrics {
 public:
  /// Throws what Registry throws.
  explicit LoopMetrics(LoopCore* loop);
  ~LoopMetrics();
  LoopMetrics(const LoopMetrics&) = delete;
  LoopMetrics& operator=(const LoopMetrics&) = delete;

  /// Between the reactor's turn and the callbacks.
  void before_callbacks() noexcept;
  /// After each callback that did not end the loop.
  void after_callback(Handle* handle) noexcept {
    const Nanos now = clock();
    const Nanos elapsed = now - last_;
    last_ = now;
    if (FASTERAPI_UNLIKELY(elapsed > threshold_)) slow(handle, elapsed);
  }
  PyObject* as_dict() const;

 private:
  Nanos clock() const noexcept {
    timespec ts;
    ::clock_gettime(coarse_ ? CLOCK_MONOTONIC_COARSE : CLOCK_MONOTONIC, &ts);
    return static_cast<Nanos>(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec;
  }
  void tick() noexcept;
  void slow(Handle* handle, Nanos elapsed) noexcept;
  void read_threshold() noexcept;
  void sample(double ready, double descriptors, double timers) noexcept;

  LoopCore* loop_;
  Timer timer_;
  Nanos due_ = 0;
  Nanos last_ = 0;  // when the callback before this one ended
  Nanos threshold_ = 100'000'000;
  bool coarse_ = true;
  double lag_last_ = 0, lag_max_ = 0;
  double ready_ = 0, descriptors_ = 0, timers_ = 0;  // this loop's parts of the gauges
  metrics::Counter turns_, slow_;
  metrics::Histogram lag_;
  metrics::Gauge ready_gauge_, descriptors_gauge_, timers_gauge_;
};

/// Starts them; 0, or -1 with an exception. No-op when they run already.
int start_loop_metrics(LoopCore* loop) noexcept;
bool loop_metrics_wanted() noexcept;  // FASTERAPI_METRICS

PyObject* loop_enable_metrics(PyObject* loop, PyObject*);
PyObject* loop_metrics(PyObject* loop, PyObject*);

}  // namespace fasterapi::core::py

#include "loop_metrics.hpp"

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace fasterapi::core::py {
namespace {

constexpr Nanos kPeriod = 100'000'000;
constexpr Nanos kCoarseFrom = 20'000'000;  // the coarse clock moves every 4 ms (CONFIG_HZ=250), 10 at worst

double seconds(Nanos time) noexcept { return static_cast<double>(time) / 1e9; }

void move_part(metrics::Gauge& gauge, double& part, double value) noexcept {
  gauge.add(value - part);
  part = value;
}

}  // namespace

LoopMetrics::LoopMetrics(LoopCore* loop)
    : loop_(loop), timer_([](void* self) noexcept { static_cast<LoopMetrics*>(self)->tick(); }, this) {
  auto& registry = metrics::Registry::process();
  turns_ = registry.counter("fasterapi_loop_turns_total", "Turns of event loops.");
  slow_ = registry.counter("fasterapi_loop_slow_callbacks_total",
                           "Callbacks that held an event loop for longer than slow_callback_duration.");
  lag_ = registry.histogram("fasterapi_loop_lag_seconds",
                            "How late a timer of 100 ms ran: what every other callback waits too.",
                            metrics::default_bounds());
  ready_gauge_ = registry.gauge("fasterapi_loop_ready_callbacks", "Callbacks that wait for their turn.");
  descriptors_gauge_ = registry.gauge("fasterapi_loop_descriptors", "Descriptors that event loops watch.");
  timers_gauge_ = registry.gauge("fasterapi_loop_timers", "Timers of call_later() and call_at() that are armed.");
  due_ = monotonic_now() + kPeriod;
  read_threshold();
  last_ = clock();  // when it is a callback that turned them on
  loop_->reactor->arm(timer_, due_);
}

LoopMetrics::~LoopMetrics() {
  loop_->reactor->cancel(timer_);
  sample(0, 0, 0);
}

void LoopMetrics::sample(double ready, double descriptors, double timers) noexcept {
  move_part(ready_gauge_, ready_, ready);
  move_part(descriptors_gauge_, descriptors_, descriptors);
  move_part(timers_gauge_, timers_, timers);
}

void LoopMetrics::tick() noexcept {
  const Nanos now = monotonic_now();
  lag_last_ = seconds(std::max<Nanos>(now - due_, 0));
  lag_max_ = std::max(lag_max_, lag_last_);
  lag_.observe(lag_last_);
  sample(static_cast<double>(loop_->ready->size()), static_cast<double>(loop_->reactor->descriptors()),
         static_cast<double>(loop_->timers->size()));
  read_threshold();
  due_ = now + kPeriod;
  loop_->reactor->arm(timer_, due_);
}

void LoopMetrics::read_threshold() noexcept {
  PyObject* value = PyObject_GetAttrString(reinterpret_cast<PyObject*>(loop_), "slow_callback_duration");
  const double limit = value ? PyFloat_AsDouble(value) : -1;
  Py_XDECREF(value);
  if (PyErr_Occurred()) PyErr_Clear();  // not a number: what was there stays
  if (limit >= 0) threshold_ = static_cast<Nanos>(std::min(limit, 1e6) * 1e9);
  coarse_ = threshold_ >= kCoarseFrom;
}

void LoopMetrics::before_callbacks() noexcept {
  turns_.add();
  last_ = clock();
  // now() was read when the poll returned: in between ran the handlers of I/O, native timers and posted work.
  const Nanos in_turn = last_ - loop_->reactor->now();
  if (FASTERAPI_UNLIKELY(in_turn > threshold_)) slow(nullptr, in_turn);
}

void LoopMetrics::slow(Handle* handle, Nanos elapsed) noexcept {
  slow_.add();
  if (loop_->debug && handle) return;  // asyncio's debug mode writes its own line
  PyObject* module = PyImport_ImportModule("fasterapi_core.metrics");
  PyObject* done =
      module ? PyObject_CallMethod(module, "_slow_callback", "Od",
                                   handle ? reinterpret_cast<PyObject*>(handle) : Py_None, seconds(elapsed))
             : nullptr;
  if (!done) PyErr_WriteUnraisable(reinterpret_cast<PyObject*>(loop_));
  Py_XDECREF(done);
  Py_XDECREF(module);
  last_ = clock();  // writing the line is not the next callback's fault
}

PyObject* LoopMetrics::as_dict() const {
  return Py_BuildValue("{s:K,s:K,s:K,s:d,s:d,s:d,s:n,s:n,s:n}", "turns",
                       static_cast<unsigned long long>(turns_.here()), "slow_callbacks",
                       static_cast<unsigned long long>(slow_.here()), "lag_count",
                       static_cast<unsigned long long>(lag_.count_here()), "lag_sum", lag_.sum_here(), "lag_last",
                       lag_last_, "lag_max", lag_max_, "ready", static_cast<Py_ssize_t>(loop_->ready->size()),
                       "timers", static_cast<Py_ssize_t>(loop_->timers->size()), "descriptors",
                       static_cast<Py_ssize_t>(loop_->reactor->descriptors()));
}

bool loop_metrics_wanted() noexcept {
  const char* value = std::getenv("FASTERAPI_METRICS");
  return value && *value && std::string_view(value) != "0";
}

int start_loop_metrics(LoopCore* loop) noexcept {
  if (loop->metrics) return 0;
  try {
    loop->metrics = new LoopMetrics(loop);
    return 0;
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
    return -1;
  }
}

PyObject* loop_enable_metrics(PyObject* self, PyObject*) {
  if (start_loop_metrics(reinterpret_cast<LoopCore*>(self)) < 0) return nullptr;
  Py_RETURN_NONE;
}
PyObject* loop_metrics(PyObject* self, PyObject*) {
  const auto* loop = reinterpret_cast<LoopCore*>(self);
  if (loop->metrics) return loop->metrics->as_dict();
  PyErr_SetString(PyExc_RuntimeError,
                  "the loop keeps no metrics: call enable_metrics() or set FASTERAPI_METRICS=1 before it is made");
  return nullptr;
}

}  // namespace fasterapi::core::py

// The metrics registry and the shared block for fasterapi_core.metrics and fasterapi_core.shared.
#include "metrics.hpp"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <fasterapi/core/error.hpp>
#include <fasterapi/core/metrics.hpp>
#include <fasterapi/core/reactor.hpp>

namespace nb = nanobind;

namespace fasterapi::core::py {
namespace {

using metrics::Registry;
using Strings = std::vector<std::string>;

/// Label names and values side by side; the registry refuses what is wrong with them.
std::vector<metrics::Label> labels_of(const Strings& names, const Strings& values) {
  if (names.size() != values.size()) throw nb::value_error("as many label values as label names");
  std::vector<metrics::Label> labels(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) labels[i] = {names[i], values[i]};
  return labels;
}

template <class Call>
auto as_value_error(Call call) {
  try {
    return call();
  } catch (const Error& error) {
    throw nb::value_error(error.what());
  }
}

/// A limit that all processes of the service share.
class RateLimiter {
 public:
  RateLimiter(std::string name, double rate, double burst) : prefix_(std::move(name) + '\0'), limit_{rate, burst} {
    if (!(rate > 0 && rate <= 1e9)) throw nb::value_error("rate must be above 0 and at most 1e9 per second");
    if (!(burst >= 1 && burst <= 1e9)) throw nb::value_error("burst must be 1 to 1e9");
  }
  std::tuple<bool, double, double> take(const std::string& key, double tokens) {
    const RateDecision decision = Registry::process().block().take(prefix_ + key, limit_, tokens, monotonic_now());
    const double wait =
        decision.retry_after_ns == INT64_MAX ? HUGE_VAL : static_cast<double>(decision.retry_after_ns) / 1e9;
    return {decision.allowed, wait, decision.remaining};
  }

 private:
  std::string prefix_;
  RateLimit limit_;
};

std::vector<std::pair<std::uint32_t, std::int64_t>> processes() {
  SharedBlock& block = Registry::process().block();
  std::vector<std::pair<std::uint32_t, std::int64_t>> found;
  for (std::uint32_t i = 0; i < block.slots(); ++i)
    if (const std::int64_t pid = block.pid(i)) found.emplace_back(i, pid);
  return found;
}

}  // namespace

void bind_metrics(nb::module_& m) {
  using namespace nb::literals;
  nb::class_<metrics::Counter>(m, "MetricCounter")
      .def(
          "inc", [](metrics::Counter& self, std::uint64_t amount) { self.add(amount); }, "amount"_a = 1)
      .def_prop_ro("value", &metrics::Counter::here);
  nb::class_<metrics::FloatCounter>(m, "MetricFloatCounter")
      .def(
          "inc",
          [](metrics::FloatCounter& self, double amount) {
            if (!(amount >= 0)) throw nb::value_error("a counter only grows");
            self.add(amount);
          },
          "amount"_a = 1.0)
      .def_prop_ro("value", &metrics::FloatCounter::here);
  nb::class_<metrics::Gauge>(m, "MetricGauge")
      .def("set", &metrics::Gauge::set, "value"_a)
      .def(
          "inc", [](metrics::Gauge& self, double amount) { self.add(amount); }, "amount"_a = 1.0)
      .def(
          "dec", [](metrics::Gauge& self, double amount) { self.add(-amount); }, "amount"_a = 1.0)
      .def_prop_ro("value", &metrics::Gauge::here);
  nb::class_<metrics::Histogram>(m, "MetricHistogram")
      .def("observe", &metrics::Histogram::observe, "value"_a)
      .def_prop_ro("count", &metrics::Histogram::count_here)
      .def_prop_ro("sum", &metrics::Histogram::sum_here);

  m.def("metric_counter",
        [](const std::string& name, const std::string& help, const Strings& names, const Strings& values) {
          return as_value_error([&] { return Registry::process().counter(name, help, labels_of(names, values)); });
        });
  m.def("metric_float_counter", [](const std::string& name, const std::string& help, const Strings& names,
                                   const Strings& values) {
    return as_value_error([&] { return Registry::process().float_counter(name, help, labels_of(names, values)); });
  });
  m.def("metric_gauge", [](const std::string& name, const std::string& help, const Strings& names,
                           const Strings& values, const std::string& merge) {
    const auto how = merge == "max"   ? metrics::Merge::kMax
                     : merge == "min" ? metrics::Merge::kMin
                                      : metrics::Merge::kSum;
    return as_value_error([&] { return Registry::process().gauge(name, help, labels_of(names, values), how); });
  });
  m.def("metric_histogram", [](const std::string& name, const std::string& help, const Strings& names,
                               const Strings& values, const std::vector<double>& bounds) {
    return as_value_error(
        [&] { return Registry::process().histogram(name, help, bounds, labels_of(names, values)); });
  });
  m.def("metrics_text", [](bool openmetrics) {
    const std::string text =
        Registry::process().text(openmetrics ? metrics::Format::kOpenMetrics : metrics::Format::kPrometheus);
    return nb::bytes(text.data(), text.size());
  });
  m.def("exponential_bounds", [](double start, double factor, std::size_t count) {
    return as_value_error([&] { return metrics::exponential_bounds(start, factor, count); });
  });
  m.def("default_bounds", [] {
    const auto bounds = metrics::default_bounds();
    return std::vector<double>(bounds.begin(), bounds.end());
  });

  nb::class_<RateLimiter>(m, "RateLimiter")
      .def(nb::init<std::string, double, double>(), "name"_a, "rate"_a, "burst"_a)
      .def("take", &RateLimiter::take, "key"_a, "tokens"_a = 1.0);
  m.def("shared_fd", [] { return Registry::process().block().fd(); });
  m.def("shared_slot", [] { return Registry::process().block().slot(); });
  m.def("shared_reap", [] { return Registry::process().block().reap(); });
  m.def("shared_processes", &processes);
  m.def("shared_evictions", [] { return Registry::process().block().evictions(); });
}

}  // namespace fasterapi::core::py

#include "request_metrics.hpp"

#include <string>

namespace fasterapi::http {

RequestMetrics::RequestMetrics(core::metrics::Registry& registry) {
  static constexpr double kBounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                       0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
  static constexpr std::string_view kClassNames[kClasses] = {"1xx", "2xx", "3xx", "4xx", "5xx", "other"};
  for (unsigned method = 0; method < kMethodCount; ++method) {
    std::string name(method_name(static_cast<Method>(method)));
    if (name.empty()) name = "other";
    for (unsigned i = 0; i < kClasses; ++i) {
      const core::metrics::Label labels[] = {{"method", name}, {"status", kClassNames[i]}};
      requests_[method][i] = registry.counter("fasterapi_http_requests_total", "Requests answered.", labels);
    }
  }
  bytes_ = registry.counter("fasterapi_http_response_body_bytes_total", "Bytes of answers' bodies.");
  seconds_ = registry.histogram("fasterapi_http_request_duration_seconds",
                                "From the complete head of a request to the end of its answer.", kBounds);
}

void RequestMetrics::record(const Transaction& tx, std::int64_t elapsed_ns) noexcept {
  auto method = static_cast<unsigned>(tx.head.method);
  int kind = tx.status() / 100;
  requests_[method][kind >= 1 && kind <= 5 ? kind - 1 : 5].add();
  bytes_.add(tx.body_bytes_sent());
  seconds_.observe(static_cast<double>(elapsed_ns) / 1e9);
}

}  // namespace fasterapi::http

#pragma once
// Counters of answered requests in the service's metrics: by method and status class, bytes, a histogram of times.
//   Cost     per request five additions to memory of this worker
//   Threads  the server's
#include <cstdint>

#include <fasterapi/core/metrics.hpp>
#include <fasterapi/http/transaction.hpp>

namespace fasterapi::http {

class RequestMetrics {
 public:
  explicit RequestMetrics(core::metrics::Registry& registry);
  void record(const Transaction& transaction, std::int64_t elapsed_ns) noexcept;

 private:
  static constexpr unsigned kClasses = 6;  // 1xx to 5xx, and what is none
  core::metrics::Counter requests_[kMethodCount][kClasses];
  core::metrics::Counter bytes_;
  core::metrics::Histogram seconds_;
};

}  // namespace fasterapi::http

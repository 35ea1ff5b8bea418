#pragma once
// What is refused before a handler sees it: clients beyond their rate (429), and everything beyond what the
// handlers can do in the time that they usually take (503). Both answers have Retry-After.
//   Cost     rate: one look-up and one compare-and-swap in the shared block; adaptive limit: a few additions
//   Threads  the server's; the token buckets are shared by all workers
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include <fasterapi/core/reactor.hpp>
#include <fasterapi/core/shared_block.hpp>
#include <fasterapi/http/server.hpp>

#include "../peer/networks.hpp"

namespace fasterapi::http {

struct GuardOptions {
  enum class Key : std::uint8_t { address, prefix, header };  // prefix: /24 or /64
  double rate = 0;                                            // requests per second and key; 0: any
  double burst = 0;
  Key key = Key::address;
  std::string header;  // lower case, Key::header
  Networks trusted;    // proxies whose X-Forwarded-For names the client
  bool adaptive = false;
  double min_limit = 4, max_limit = 1000;
};

/// How many requests may be in flight, found from how long they take: where the average of a window is above twice
/// the least one seen lately, the limit shrinks in proportion, else it grows by its square root.
class AdaptiveLimit {
 public:
  AdaptiveLimit(double least, double most) noexcept : least_(least), most_(most), limit_(std::min(most, 20.0)) {}
  bool full(std::uint64_t in_flight) const noexcept { return static_cast<double>(in_flight) >= limit_; }
  void finished(core::Nanos now, core::Nanos latency, std::uint64_t in_flight) noexcept;
  double limit() const noexcept { return limit_; }

 private:
  double least_, most_, limit_;
  double base_ = 0;  // least average of a window, ns; forgets slowly
  double sum_ = 0;
  std::uint64_t count_ = 0, busiest_ = 0;
  core::Nanos window_ = 0;
};

class Guard {
 public:
  Guard(GuardOptions options, core::SharedBlock* block);
  /// The route that refuses, or null. An admitted request counts until finished().
  const Route* check(Transaction& transaction, core::Nanos now) noexcept;
  void finished(core::Nanos now, core::Nanos latency) noexcept;
  std::uint64_t in_flight() const noexcept { return in_flight_; }
  double limit() const noexcept { return adaptive_.limit(); }
  std::uint64_t rate_limited() const noexcept { return rate_limited_; }
  std::uint64_t overloaded() const noexcept { return overloaded_; }

 private:
  std::string_view key_of(const Transaction& transaction);

  GuardOptions options_;
  core::SharedBlock* block_;
  AdaptiveLimit adaptive_;
  Route too_many_, busy_;
  std::string key_;
  std::uint64_t in_flight_ = 0, rate_limited_ = 0, overloaded_ = 0;
};

}  // namespace fasterapi::http

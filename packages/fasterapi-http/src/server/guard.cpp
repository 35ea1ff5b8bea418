#include "guard.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <new>

#include "../peer/forwarded.hpp"

namespace fasterapi::http {
namespace {

constexpr core::Nanos kWindow = 100'000'000;
constexpr std::uint64_t kEnough = 10;  // requests in a window that says something
constexpr double kTolerance = 2.0;     // times the least latency
constexpr double kSmoothing = 0.25;
constexpr double kForgetting = 1.01;  // of the least latency, per window
constexpr std::size_t kMaxKey = 128;

/// Answers everything with one status; the seconds to wait are the transaction's.
class Refusal final : public RequestHandler {
 public:
  Refusal(int status, std::string_view text) : status_(status), text_(text) {}
  void handle(Transaction& transaction) noexcept override {
    char digits[12];
    auto end = std::to_chars(digits, digits + sizeof digits, std::max(transaction.retry_after(), 1u)).ptr;
    HeaderField field{"retry-after", {digits, static_cast<std::size_t>(end - digits)}};
    transaction.respond_error(status_, text_, {&field, 1});
  }

 private:
  int status_;
  std::string_view text_;
};

}  // namespace

void AdaptiveLimit::finished(core::Nanos now, core::Nanos latency, std::uint64_t in_flight) noexcept {
  sum_ += static_cast<double>(latency);
  busiest_ = std::max(busiest_, in_flight);
  ++count_;
  if (window_ == 0) window_ = now;
  if (now - window_ < kWindow || count_ < kEnough) return;
  double average = std::max(sum_ / static_cast<double>(count_), 1.0);
  base_ = base_ == 0 ? average : std::min(base_ * kForgetting, average);
  double gradient = std::clamp(kTolerance * base_ / average, 0.5, 1.0);
  double wanted = limit_ * gradient;
  // A limit that nobody comes near says nothing about a higher one.
  if (gradient == 1.0 && static_cast<double>(busiest_) * 2 >= limit_) wanted += std::sqrt(limit_);
  limit_ = std::clamp(limit_ + kSmoothing * (wanted - limit_), least_, most_);
  window_ = now;
  sum_ = 0;
  count_ = busiest_ = 0;
}

Guard::Guard(GuardOptions options, core::SharedBlock* block)
    : options_(std::move(options)), block_(block), adaptive_(options_.min_limit, options_.max_limit) {
  too_many_.handler = std::make_shared<Refusal>(429, "Too Many Requests");
  busy_.handler = std::make_shared<Refusal>(503, "The server is overloaded");
  // Refused before the body: what comes of it is skipped.
  too_many_.stream_body = busy_.stream_body = true;
  too_many_.max_body = busy_.max_body = UINT64_MAX;
}

std::string_view Guard::key_of(const Transaction& tx) {
  key_.assign("http:");
  if (options_.key == GuardOptions::Key::header) {
    std::string_view value = tx.head.find(options_.header);
    if (!value.empty()) return key_.append(value.substr(0, kMaxKey));
  }
  IpAddress address{};
  int port = 0;
  if (!parse_ip(tx.client_host(), address)) return key_;  // UNIX sockets: all of them together
  if (!options_.trusted.empty() && options_.trusted.contains(address)) {
    Forwarded told = read_forwarded(tx.head, ForwardedStyle::x_forwarded, options_.trusted);
    if (!told.client.empty()) parse_ip_and_port(told.client, address, port);
  }
  std::size_t size = options_.key != GuardOptions::Key::prefix ? 16 : address.v4() ? 15 : 8;
  return key_.append(reinterpret_cast<const char*>(address.bytes.data()), size);
}

const Route* Guard::check(Transaction& tx, core::Nanos now) noexcept {
  if (options_.adaptive && adaptive_.full(in_flight_)) {
    ++overloaded_;
    tx.set_retry_after(1);
    return &busy_;
  }
  if (options_.rate > 0 && block_) {
    try {
      core::RateDecision decision = block_->take(key_of(tx), {options_.rate, options_.burst}, 1, now);
      if (!decision.allowed) {
        ++rate_limited_;
        tx.set_retry_after(static_cast<std::uint32_t>(
            std::min<std::int64_t>(decision.retry_after_ns / 1'000'000'000 + 1, 86'400)));
        return &too_many_;
      }
    } catch (const std::bad_alloc&) {  // no key, no limit: the request itself will tell
    }
  }
  ++in_flight_;
  return nullptr;
}

void Guard::finished(core::Nanos now, core::Nanos latency) noexcept {
  adaptive_.finished(now, latency, in_flight_);
  --in_flight_;
}

}  // namespace fasterapi::http

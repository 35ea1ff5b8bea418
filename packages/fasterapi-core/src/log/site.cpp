// The limit of each kind of line.
#include <fasterapi/core/log.hpp>

namespace fasterapi::core::log {

namespace {
constexpr std::int64_t kSecond = 1'000'000'000;
}

Site::Admitted Site::admit(std::int64_t now) noexcept {
  std::int64_t window = window_.load(std::memory_order_relaxed);
  // Who moves the window begins the new second. Others that see it moved count in it; at worst one of them still
  // reads the old second's count and is left out, never the other way round.
  if (now - window >= kSecond && window_.compare_exchange_strong(window, now, std::memory_order_relaxed)) {
    const std::uint64_t left = left_out_.exchange(0, std::memory_order_relaxed);
    written_.store(1, std::memory_order_relaxed);
    return {true, left, window == kNever ? 0 : now - window};
  }
  if (written_.load(std::memory_order_relaxed) < per_second_ &&
      written_.fetch_add(1, std::memory_order_relaxed) < per_second_)
    return {true, 0, 0};
  return {false, left_out_.fetch_add(1, std::memory_order_relaxed) + 1, 0};
}

}  // namespace fasterapi::core::log

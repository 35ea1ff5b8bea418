// Token buckets as one number each: the time at which the bucket will be full (GCRA). Taking n tokens moves that
// time n intervals on; it is refused when the bucket would be full later than the whole burst from now.
#include <algorithm>
#include <cmath>

#include "layout.hpp"

namespace fasterapi::core {
namespace {

constexpr double kUnitsPerSecond = 16e9;  // 18 years of uptime in 63 bits; 1 % of an interval at 100 M tokens/s

/// The entry of `hash` in its set, made when it is new. An entry whose bucket is full is as good as unused: taking
/// it over is a single compare-and-swap of its key, because a time in the past is a full bucket for anybody.
SharedBucket& find(SharedLayout& layout, std::uint64_t hash, std::int64_t now) noexcept {
  SharedBucket* set = layout.at<SharedBucket>(layout.buckets_at) + (hash & (layout.bucket_sets - 1)) * kBucketWays;
  for (;;) {
    SharedBucket* best = set;
    std::int64_t best_full = INT64_MAX;
    for (std::uint32_t i = 0; i < kBucketWays; ++i) {
      const std::uint64_t key = set[i].key.load(std::memory_order_acquire);
      if (key == hash) return set[i];
      const std::int64_t full = key ? set[i].full_at.load(std::memory_order_relaxed) : INT64_MIN;
      if (full < best_full) best = &set[i], best_full = full;
    }
    // `best` is unused, full, or the one that will be full first.
    std::uint64_t key = best->key.load(std::memory_order_relaxed);
    if (key == hash) return *best;
    const std::int64_t debt = std::max<std::int64_t>(best->full_at.load(std::memory_order_relaxed) - now, 0);
    if (!best->key.compare_exchange_strong(key, hash, std::memory_order_acq_rel)) continue;
    if (debt > 0) {  // forget what the old key owed, and nothing of what the new one takes meanwhile
      best->full_at.fetch_sub(debt, std::memory_order_relaxed);
      layout.evictions.fetch_add(1, std::memory_order_relaxed);
    }
    return *best;
  }
}

}  // namespace

RateDecision SharedBlock::take(std::string_view key, const RateLimit& limit, double tokens,
                               std::int64_t now_ns) noexcept {
  std::uint64_t hash = seeded_hash(key, layout_->hash_seed);
  if (hash == 0) hash = 1;
  const double interval = kUnitsPerSecond / limit.rate;
  const auto whole = static_cast<std::int64_t>(std::min(interval * limit.burst, 4e18));
  const double wanted = interval * tokens;
  const std::int64_t now = now_ns * 16;
  if (!(wanted >= 0) || wanted > static_cast<double>(whole)) return {false, INT64_MAX, 0};
  const auto cost = static_cast<std::int64_t>(std::llround(wanted));
  for (;;) {
    SharedBucket& bucket = find(*layout_, hash, now);
    std::int64_t full_at = bucket.full_at.load(std::memory_order_relaxed);
    std::int64_t after;
    for (;;) {
      after = std::max(full_at, now) + cost;
      if (after - now > whole) {
        const double left = static_cast<double>(whole - (std::max(full_at, now) - now)) / interval;
        return {false, (after - now - whole + 15) / 16, std::max(left, 0.0)};
      }
      if (bucket.full_at.compare_exchange_weak(full_at, after, std::memory_order_relaxed)) break;
    }
    if (bucket.key.load(std::memory_order_acquire) == hash)
      return {true, 0, static_cast<double>(whole - (after - now)) / interval};
    // Another key took the entry over in between: it does not owe what we took.
    bucket.full_at.fetch_sub(cost, std::memory_order_relaxed);
  }
}

std::uint64_t SharedBlock::evictions() const noexcept {
  return layout_->evictions.load(std::memory_order_relaxed);
}

}  // namespace fasterapi::core

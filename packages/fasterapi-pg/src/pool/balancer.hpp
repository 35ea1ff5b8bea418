#pragma once
// Which shared connection takes the next query.
//   Policy   the first connection whose expected work is below kPackedMicros: queries then leave in few, large
//            sends, and the server answers them in few, large ones. When all have that much to do, the one with
//            the least. A connection whose oldest query is overdue counts as loaded by what it is late.
//   Cost     O(connections), no allocation
#include <cstddef>
#include <cstdint>

namespace fasterapi::pg {

/// Work that is queued on one connection before another one is used.
inline constexpr double kPackedMicros = 1000;
/// Statements slower than this (moving average) get a connection of their own.
inline constexpr double kSlowMicros = 20'000;
inline constexpr std::int64_t kOverdueNanos = 5'000'000;

/// `load(i)`: expected microseconds of what connection i has queued, or a negative number when it takes nothing.
/// Returns `count` when none does.
template <class Load>
std::size_t choose(std::size_t count, Load load) {
  std::size_t best = count;
  double least = 0;
  for (std::size_t i = 0; i < count; ++i) {
    double micros = load(i);
    if (micros < 0) continue;
    if (micros < kPackedMicros) return i;
    if (best == count || micros < least) {
      best = i;
      least = micros;
    }
  }
  return best;
}

/// The new moving average after one more observation.
inline double average(double before, double micros, std::uint32_t runs) {
  double weight = runs < 8 ? 1.0 / (runs + 1) : 0.125;
  return before + (micros - before) * weight;
}

}  // namespace fasterapi::pg

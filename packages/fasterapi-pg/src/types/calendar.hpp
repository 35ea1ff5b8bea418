#pragma once
// Days since 2000-01-01, the server's epoch, to and from the proleptic Gregorian calendar.
//   Cost     a dozen integer operations; valid for every year that fits into int
#include <cstdint>
#include <limits>

namespace fasterapi::pg {

inline constexpr std::int64_t kMicrosPerDay = 86'400'000'000;
inline constexpr std::int32_t kDateInfinity = std::numeric_limits<std::int32_t>::max();
inline constexpr std::int32_t kDateMinusInfinity = std::numeric_limits<std::int32_t>::min();
inline constexpr std::int64_t kTimestampInfinity = std::numeric_limits<std::int64_t>::max();
inline constexpr std::int64_t kTimestampMinusInfinity = std::numeric_limits<std::int64_t>::min();

struct CivilDate {
  std::int64_t year;
  int month, day;
};

/// 719468 days lie between 0000-03-01 and 1970-01-01, 10957 more to 2000-01-01.
constexpr CivilDate civil_from_days(std::int64_t days) noexcept {
  std::int64_t z = days + 10957 + 719468;
  std::int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  unsigned doe = static_cast<unsigned>(z - era * 146097);
  unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  unsigned mp = (5 * doy + 2) / 153;
  int day = static_cast<int>(doy - (153 * mp + 2) / 5 + 1);
  int month = static_cast<int>(mp < 10 ? mp + 3 : mp - 9);
  return {static_cast<std::int64_t>(yoe) + era * 400 + (month <= 2), month, day};
}

constexpr std::int64_t days_from_civil(std::int64_t year, int month, int day) noexcept {
  year -= month <= 2;
  std::int64_t era = (year >= 0 ? year : year - 399) / 400;
  unsigned yoe = static_cast<unsigned>(year - era * 400);
  unsigned doy = static_cast<unsigned>((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1);
  unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
  return era * 146097 + static_cast<std::int64_t>(doe) - 719468 - 10957;
}

/// Splits microseconds since the epoch into days and microseconds of the day (never negative).
constexpr void split_timestamp(std::int64_t micros, std::int64_t& days, std::int64_t& rest) noexcept {
  days = micros / kMicrosPerDay;
  rest = micros % kMicrosPerDay;
  if (rest < 0) {
    rest += kMicrosPerDay;
    --days;
  }
}

inline constexpr std::int64_t kMinDay = days_from_civil(1, 1, 1);
inline constexpr std::int64_t kMaxDay = days_from_civil(9999, 12, 31);
static_assert(days_from_civil(2000, 1, 1) == 0 && civil_from_days(0).year == 2000);

}  // namespace fasterapi::pg

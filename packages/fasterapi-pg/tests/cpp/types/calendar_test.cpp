#include "types/calendar.hpp"

#include <gtest/gtest.h>

namespace fasterapi::pg {
namespace {

TEST(Calendar, known_days) {
  EXPECT_EQ(days_from_civil(2000, 1, 1), 0);
  EXPECT_EQ(days_from_civil(1970, 1, 1), -10957);
  EXPECT_EQ(days_from_civil(2024, 2, 29), 8825);
  EXPECT_EQ(days_from_civil(1, 1, 1), -730119);
  EXPECT_EQ(days_from_civil(9999, 12, 31), 2921939);
}

TEST(Calendar, every_day_comes_back) {
  int last_day = 31, last_month = 12;
  std::int64_t last_year = 0;
  for (std::int64_t day = kMinDay; day <= kMaxDay; ++day) {
    CivilDate d = civil_from_days(day);
    ASSERT_EQ(days_from_civil(d.year, d.month, d.day), day);
    bool next_day = d.year == last_year && d.month == last_month && d.day == last_day + 1;
    bool next_month = d.day == 1 && ((d.year == last_year && d.month == last_month + 1) ||
                                     (d.year == last_year + 1 && d.month == 1 && last_month == 12));
    ASSERT_TRUE(next_day || next_month) << day;
    last_day = d.day, last_month = d.month, last_year = d.year;
  }
}

TEST(Calendar, moments_before_the_epoch_have_a_time_of_day) {
  std::int64_t days, rest;
  split_timestamp(-1, days, rest);
  EXPECT_EQ(days, -1);
  EXPECT_EQ(rest, kMicrosPerDay - 1);
  split_timestamp(kMicrosPerDay, days, rest);
  EXPECT_EQ(days, 1);
  EXPECT_EQ(rest, 0);
}

}  // namespace
}  // namespace fasterapi::pg

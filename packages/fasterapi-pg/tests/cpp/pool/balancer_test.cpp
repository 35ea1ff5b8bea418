#include "pool/balancer.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace fasterapi::pg {
namespace {

std::size_t pick(const std::vector<double>& loads) {
  return choose(loads.size(), [&](std::size_t i) { return loads[i]; });
}

TEST(Balancer, packs_until_a_connection_has_enough_to_do) {
  EXPECT_EQ(pick({0, 0, 0}), 0u);
  EXPECT_EQ(pick({500, 0, 0}), 0u);
  EXPECT_EQ(pick({kPackedMicros, 0, 0}), 1u);
}

TEST(Balancer, takes_the_least_loaded_when_all_are_busy) { EXPECT_EQ(pick({5000, 3000, 4000}), 1u); }

TEST(Balancer, skips_what_takes_nothing) {
  EXPECT_EQ(pick({-1, -1, 10}), 2u);
  EXPECT_EQ(pick({-1, -1}), 2u);
  EXPECT_EQ(pick({}), 0u);
}

TEST(Balancer, average_follows_the_first_runs_quickly) {
  double cost = 1000;
  for (unsigned i = 0; i < 8; ++i) cost = average(cost, 10, i);
  EXPECT_NEAR(cost, 10, 1);
  cost = average(cost, 810, 8);
  EXPECT_NEAR(cost, 110, 1);
}

}  // namespace
}  // namespace fasterapi::pg

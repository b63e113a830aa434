// Checked arithmetic at and just past the limits of each type.
#include "base/checked.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace carat::base {
namespace {

TEST(Checked, MultipliesWithinRange) {
  EXPECT_EQ(checked_mul<std::uint64_t>(0, ~std::uint64_t{0}), 0U);
  EXPECT_EQ(checked_mul<std::uint64_t>(std::uint64_t{1} << 32, (std::uint64_t{1} << 32) - 1), 0xFFFFFFFF00000000U);
  EXPECT_EQ(checked_mul<std::int64_t>(-3, 4), -12);
  EXPECT_EQ(checked_mul<std::int64_t>(std::int64_t{1} << 62, -2), std::numeric_limits<std::int64_t>::min());
}

TEST(Checked, SeesOverflowOfProducts) {
  EXPECT_EQ(checked_mul<std::uint64_t>(std::uint64_t{1} << 32, std::uint64_t{1} << 32), std::nullopt);  // wraps to 0
  EXPECT_EQ(checked_mul<std::uint64_t>((std::uint64_t{1} << 61) + 1, 8), std::nullopt);                 // wraps to 8
  EXPECT_EQ(checked_mul<std::int64_t>(std::int64_t{1} << 62, 2), std::nullopt);
  EXPECT_EQ(checked_mul<std::int64_t>(std::numeric_limits<std::int64_t>::min(), -1), std::nullopt);
  EXPECT_EQ(checked_mul<std::int32_t>(65536, 32768), std::nullopt);
}

TEST(Checked, AddsAndSeesOverflowOfSums) {
  constexpr auto kMax = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(checked_add<std::uint64_t>(kMax - 1, 1), kMax);
  EXPECT_EQ(checked_add<std::uint64_t>(kMax, 1), std::nullopt);
  EXPECT_EQ(checked_add<std::int64_t>(std::numeric_limits<std::int64_t>::min(), -1), std::nullopt);
  EXPECT_EQ(checked_add<std::int64_t>(-5, 3), -2);
}

TEST(Checked, WorksAtCompileTime) {
  static_assert(checked_mul<std::uint8_t>(16, 15) == 240);
  static_assert(!checked_mul<std::uint8_t>(16, 16));
  static_assert(!checked_add<std::uint8_t>(255, 1));
}

TEST(Checked, ExpectsPassesWhatHolds) { expects(true, "nothing is wrong"); }

#ifndef NDEBUG
TEST(CheckedDeathTest, ExpectsEndsTheProcessWithReasonAndPlace) {
  EXPECT_DEATH(expects(1 + 1 == 3, "one and one are three"), "checked_test.cpp.*one and one are three");
}
#endif

}  // namespace
}  // namespace carat::base

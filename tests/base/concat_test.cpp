// Messages joined of texts, characters and numbers.
#include "base/concat.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace carat::base {
namespace {

TEST(Concat, JoinsEveryKind) {
  const std::string text = "text";
  EXPECT_EQ(concat(), "");
  EXPECT_EQ(concat("a", text, std::string_view("view"), 'c', 1, true, false), "atextviewc1truefalse");
  EXPECT_EQ(concat(std::filesystem::path("dir/file")), "dir/file");
}

TEST(Concat, PrintsNumbersInFull) {
  EXPECT_EQ(concat(std::numeric_limits<std::uint64_t>::max()), "18446744073709551615");
  EXPECT_EQ(concat(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(concat(std::uint8_t{200}, ' ', std::int8_t{-3}), "200 -3");  // numbers, not characters
  EXPECT_EQ(concat(0.1, ' ', 0.1F, ' ', 1e300), "0.1 0.1 1e+300");
  EXPECT_EQ(concat(std::numeric_limits<double>::quiet_NaN(), ' ', -std::numeric_limits<double>::infinity()),
            "nan -inf");
}

}  // namespace
}  // namespace carat::base

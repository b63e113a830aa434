// Text of a file in messages: readable where it can be, harmless always, never long.
#include "formats/quote.h"

#include <gtest/gtest.h>

namespace carat::formats {
namespace {

using namespace std::string_literals;

TEST(Quote, KeepsTextAndEscapesTheRest) {
  EXPECT_EQ(quote("blk.0.attn_q.weight"), "\"blk.0.attn_q.weight\"");
  EXPECT_EQ(quote(""), "\"\"");
  EXPECT_EQ(quote("é€😀"), "\"é€😀\"");
  EXPECT_EQ(quote("a\"b\\c"), R"("a\"b\\c")");
  EXPECT_EQ(quote("\x1b[2J\n\0\x7f"s), R"("\x1b[2J\x0a\x00\x7f")");
  EXPECT_EQ(quote("\xC2\x9B"), R"("\xc2\x9b")");  // a C1 control character
}

TEST(Quote, EscapesIllFormedUtf8) {
  EXPECT_EQ(quote("\x80"), R"("\x80")");
  EXPECT_EQ(quote("\xC0\x80"), R"("\xc0\x80")");          // overlong
  EXPECT_EQ(quote("\xE0\x80\x80"), R"("\xe0\x80\x80")");  // overlong
  EXPECT_EQ(quote("\xED\xA0\x80"), R"("\xed\xa0\x80")");  // a surrogate
  EXPECT_EQ(quote("\xF4\x90\x80\x80"), R"("\xf4\x90\x80\x80")");
  EXPECT_EQ(quote("\xE2\x82"), R"("\xe2\x82")");  // cut off
  EXPECT_EQ(quote("\xF0\x9F\x98"), R"("\xf0\x9f\x98")");
}

TEST(Quote, CutsLongTextBetweenCharacters) {
  EXPECT_EQ(quote(std::string(200, 'x'), 5), "\"xxxxx…\"");
  EXPECT_EQ(quote("ab€cd", 3), "\"ab€…\"");
  EXPECT_EQ(quote("abc", 3), "\"abc\"");
}

}  // namespace
}  // namespace carat::formats

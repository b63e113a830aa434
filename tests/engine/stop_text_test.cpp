// Stop texts over streams cut at every place.
#include "engine/stop_text.h"

#include <gtest/gtest.h>

namespace carat::engine {
namespace {

std::string feed(const std::vector<std::string>& stops, const std::string& text, std::size_t piece, bool* found) {
  StopText stop(stops);
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += piece) out += stop.push(text.substr(i, piece));
  out += stop.finish();
  *found = stop.found();
  return out;
}

TEST(StopText, TheSameHoweverTheStreamIsCut) {
  struct Case {
    std::vector<std::string> stops;
    std::string text, expected;
    bool found;
  };
  const Case cases[] = {
      {{"END"}, "one END two", "one ", true}, {{"END"}, "one EN two", "one EN two", false},
      {{"END"}, "EEND", "E", true},           {{"aab"}, "aaab", "a", true},
      {{"xyz", "b"}, "abxyz", "a", true},     {{"\n\n"}, "line\n\nnext", "line", true},
      {{}, "anything", "anything", false},    {{""}, "anything", "anything", false},
      {{"é"}, "caf\xc3\xa9!", "caf", true},
  };
  for (const Case& c : cases) {
    for (std::size_t piece = 1; piece <= c.text.size(); ++piece) {
      bool found = false;
      EXPECT_EQ(feed(c.stops, c.text, piece, &found), c.expected) << c.text << " by " << piece;
      EXPECT_EQ(found, c.found) << c.text << " by " << piece;
    }
  }
}

TEST(StopText, NothingComesAfterAStop) {
  StopText stop({"."});
  EXPECT_EQ(stop.push("a.b"), "a");
  EXPECT_EQ(stop.push("c"), "");
  EXPECT_EQ(stop.finish(), "");
}

}  // namespace
}  // namespace carat::engine

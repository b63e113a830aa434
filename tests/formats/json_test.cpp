// JSON text: what is accepted, what is refused, and that the error gives the byte.
#include "formats/json.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <string>

namespace carat::formats {
namespace {

TEST(Json, KeepsValuesAndTheOrderOfKeys) {
  const auto json = parse_json(
      R"( {"z": [1, -2, 2.5, 18446744073709551615], "a": {"t": true, "n": null}, "s": "\u00e9\ud83d\ude00\n"} )",
      "text");
  ASSERT_TRUE(json.has_value()) << json.error().message;
  EXPECT_EQ(json->begin().key(), "z");
  EXPECT_EQ((*json)["z"][0].get<int>(), 1);
  EXPECT_EQ((*json)["z"][1].get<int>(), -2);
  EXPECT_EQ((*json)["z"][2].get<double>(), 2.5);
  EXPECT_EQ((*json)["z"][3].get<std::uint64_t>(), 18446744073709551615ULL);
  EXPECT_TRUE((*json)["a"]["t"].get<bool>());
  EXPECT_TRUE((*json)["a"]["n"].is_null());
  EXPECT_EQ((*json)["s"].get<std::string>(), "é😀\n");
  EXPECT_EQ(parse_json("3", "text").value().get<int>(), 3);
}

TEST(Json, EqualsTheLibrarysOwnParser) {
  const std::string text =
      R"({"a":[],"b":{},"c":[[],[{}],{"x":[1,2,{"y":"z"}]}],"":"empty key","d":1e-7,"e":-0.0,"f":0})";
  EXPECT_EQ(parse_json(text, "text").value(), Json::parse(text));
}

struct Refused {
  std::string text;
  std::size_t byte;       ///< where the error must point
  std::string_view says;  ///< what it must mention
};

class JsonRefusal : public testing::TestWithParam<Refused> {};

TEST_P(JsonRefusal, NamesPlaceAndReason) {
  const auto json = parse_json(GetParam().text, "some origin");
  ASSERT_FALSE(json.has_value());
  EXPECT_EQ(json.error().code, ErrorCode::bad_file);
  const std::string& message = json.error().message;
  EXPECT_TRUE(message.starts_with("some origin: ")) << message;
  EXPECT_NE(message.find("byte " + std::to_string(GetParam().byte) + ":"), message.npos) << message;
  EXPECT_NE(message.find(GetParam().says), message.npos) << message;
}

using namespace std::string_literals;
INSTANTIATE_TEST_SUITE_P(
    Texts, JsonRefusal,
    testing::Values(Refused{"", 0, "end of input"}, Refused{"   ", 3, "end of input"},
                    Refused{"[1,", 3, "end of input"}, Refused{"{\"a\":1", 6, "end of input"},
                    Refused{"\"abc", 4, "missing closing quote"}, Refused{"[1] x", 4, "invalid literal"},
                    Refused{"{}{}", 2, "expected end of input"}, Refused{"[1,]", 3, "unexpected"},
                    Refused{"{a:1}", 1, "invalid literal"}, Refused{"{1:1}", 1, "string literal"},
                    Refused{"[01]", 2, "unexpected"}, Refused{"[nan]", 2, "invalid literal"},
                    Refused{"[NaN]", 1, "invalid literal"}, Refused{"[Infinity]", 1, "invalid literal"},
                    Refused{"[1e999]", 5, "number overflow"}, Refused{"[-1e999]", 6, "number overflow"},
                    Refused{"// c\n1", 0, "invalid literal"}, Refused{"\"\\ud800\"", 7, "surrogate"},
                    Refused{"\"\\udc00\"", 6, "surrogate"}, Refused{"\"\\ud800\\u0041\"", 12, "surrogate"},
                    Refused{"\"\\x\"", 2, "backslash"}, Refused{"\"a\nb\"", 2, "control character"},
                    Refused{"\"a\0b\""s, 2, "control character"}, Refused{"\"\x80\"", 1, "ill-formed UTF-8"},
                    Refused{"\"\xC0\x80\"", 1, "ill-formed UTF-8"}, Refused{"\"\xED\xA0\x80\"", 2, "ill-formed UTF-8"},
                    Refused{"\"\xF4\x90\x80\x80\"", 2, "ill-formed UTF-8"}, Refused{"\"\xC3", 2, "ill-formed UTF-8"},
                    Refused{R"({"a":1,"b":2,"a":3})", 16, "duplicate key \"a\""},
                    Refused{R"([{"x":{"k":1,"k":1}}])", 16, "duplicate key \"k\""},
                    Refused{R"({"a":1,"\u0061":3})", 15, "duplicate key \"a\""}));

TEST(Json, DuplicateKeysOfDifferentObjectsAreFine) {
  EXPECT_TRUE(parse_json(R"([{"a":1},{"a":2},{"b":{"a":3},"a":{"a":4}}])", "text").has_value());
}

TEST(Json, FindsOneDuplicateAmongManyKeys) {
  std::string text = "{";
  for (int i = 0; i < 5000; ++i) text += "\"key" + std::to_string(i) + "\":0,";
  EXPECT_TRUE(parse_json(text + "\"last\":0}", "text").has_value());
  const auto json = parse_json(text + "\"key77\":0}", "text");
  ASSERT_FALSE(json.has_value());
  EXPECT_NE(json.error().message.find("duplicate key \"key77\""), std::string::npos) << json.error().message;
}

TEST(Json, HoldsItsDepthLimit) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(parse_json(nested(200), "text").has_value());
  const auto deep = parse_json(nested(201), "text");
  ASSERT_FALSE(deep.has_value());
  EXPECT_NE(deep.error().message.find("more than 200"), std::string::npos) << deep.error().message;
  // Deep enough to exhaust a stack if anything recursed.
  EXPECT_FALSE(parse_json(std::string(5'000'000, '['), "text").has_value());
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_FALSE(parse_json(objects, "text").has_value());
  EXPECT_TRUE(parse_json(nested(3), "text", {.max_bytes = 100, .max_depth = 3}).has_value());
  EXPECT_FALSE(parse_json(nested(4), "text", {.max_bytes = 100, .max_depth = 3}).has_value());
}

TEST(Json, HoldsItsSizeLimit) {
  EXPECT_TRUE(parse_json("[1,2]", "text", {.max_bytes = 5, .max_depth = 9}).has_value());
  const auto json = parse_json("[1,2] ", "text", {.max_bytes = 5, .max_depth = 9});
  ASSERT_FALSE(json.has_value());
  EXPECT_NE(json.error().message.find("6 bytes"), std::string::npos) << json.error().message;
}

TEST(Json, MessagesStayShortAndPrintable) {
  const auto json = parse_json("{\"\x1b[31m" + std::string(1'000'000, 'x'), "text");
  ASSERT_FALSE(json.has_value());
  EXPECT_LT(json.error().message.size(), 400U);
  const auto duplicate = parse_json("{\"\\u001b[31m\":1,\"\\u001b[31m\":2}", "text");
  ASSERT_FALSE(duplicate.has_value());
  EXPECT_EQ(duplicate.error().message.find('\x1b'), std::string::npos);
  EXPECT_NE(duplicate.error().message.find("\\x1b[31m"), std::string::npos) << duplicate.error().message;
}

// A vocabulary of 262,144 keys must not cost a comparison with every earlier key: that would be 3.4e10 of them,
// minutes.
TEST(Json, LargeObjectsTakeAboutLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 262'144; ++i) text += "\"token number " + std::to_string(i) + "\":" + std::to_string(i) + ",";
  text.back() = '}';
  const auto start = std::chrono::steady_clock::now();
  const auto json = parse_json(text, "text");
  const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  ASSERT_TRUE(json.has_value()) << json.error().message;
  EXPECT_EQ(json->size(), 262'144U);
  EXPECT_LT(seconds, 20.0);  // far above any sanitizer build, far below the quadratic time
}

TEST(Json, RandomDamageNeverCrashes) {
  const std::string good = R"({"a":[1,-2.5e3,"é\ud83d\ude00",{"b":null,"c":[true,false]}],"d":"x\\y"})";
  std::mt19937 random(7);
  for (int round = 0; round < 20'000; ++round) {
    std::string text = good;
    for (unsigned flips = 1 + random() % 4; flips > 0; --flips)
      text[random() % text.size()] = static_cast<char>(random());
    if (random() % 4 == 0) text.resize(random() % text.size());
    if (const auto json = parse_json(text, "text"); json.has_value()) {
      const auto again = parse_json(json->dump(), "text");  // what is accepted is sound
      ASSERT_TRUE(again.has_value()) << text << ": " << again.error().message;
      EXPECT_EQ(*again, *json) << text;
    }
  }
}

}  // namespace
}  // namespace carat::formats

// Typed look-ups of GGUF metadata: what converts, what is refused, and that the error names file, key and kinds.
#include <gtest/gtest.h>

#include <limits>

#include "file_builders.h"
#include "formats/gguf.h"

namespace carat::formats {
namespace {

using tests::raw;

/// The metadata of a file; the bytes stay alive with it.
class GgufMetadataTest : public testing::Test {
 protected:
  const GgufMetadata& parse(const tests::GgufBuilder& builder) {
    text_ = builder.build();
    auto parsed = parse_gguf(tests::as_bytes(text_), "dir/m.gguf", "m.gguf");
    EXPECT_TRUE(parsed.has_value()) << parsed.error().message;
    file_ = std::move(*parsed);
    return file_.metadata;
  }

 private:
  std::string text_;
  GgufFile file_;
};

template <typename T>
void expect_refused(const Result<T>& result, std::string_view key, std::string_view says) {
  ASSERT_FALSE(result.has_value()) << key;
  EXPECT_EQ(result.error().code, ErrorCode::bad_file);
  const std::string& message = result.error().message;
  EXPECT_NE(message.find("gguf \"dir/m.gguf\": metadata \"" + std::string(key) + "\" "), message.npos) << message;
  EXPECT_NE(message.find(says), message.npos) << message;
}

TEST_F(GgufMetadataTest, ReadsEveryType) {
  const GgufMetadata& m = parse(tests::small_gguf());
  EXPECT_EQ(m.origin(), "dir/m.gguf");
  EXPECT_EQ(m.values().size(), 17U);
  EXPECT_EQ(m.text("general.architecture").value(), "gemma4");
  EXPECT_EQ(m.integer("gemma4.block_count").value(), 2);
  EXPECT_EQ(m.integer("a.u8").value(), 200);
  EXPECT_EQ(m.integer("a.i8").value(), -3);
  EXPECT_EQ(m.integer("a.u16").value(), 65535);
  EXPECT_EQ(m.integer("a.i16").value(), -300);
  EXPECT_EQ(m.integer("a.i32").value(), -7);
  EXPECT_EQ(m.integer("a.u64").value(), std::int64_t{1} << 40);
  EXPECT_EQ(m.integer("a.i64").value(), -(std::int64_t{1} << 40));
  EXPECT_EQ(m.number("a.f32").value(), 0.5);
  EXPECT_EQ(m.number("a.f64").value(), 1e100);
  EXPECT_EQ(m.number("a.i8").value(), -3.0);
  EXPECT_EQ(m.number("a.u8").value(), 200.0);
  EXPECT_EQ(m.boolean("a.bool").value(), true);
  EXPECT_EQ(m.texts("tokenizer.ggml.tokens").value(), (std::vector<std::string_view>{"a", "", "€"}));
  EXPECT_EQ(m.texts("a.none").value(), std::vector<std::string_view>{});
  EXPECT_EQ(m.numbers("tokenizer.ggml.scores").value(), (std::vector<float>{1, -2, 0}));
  EXPECT_EQ(m.numbers("a.i32s").value(), (std::vector<float>{5, -6}));
  EXPECT_EQ(m.integers("a.i32s").value(), (std::vector<std::int64_t>{5, -6}));
  EXPECT_EQ(m.integers("a.bools").value(), (std::vector<std::int64_t>{1, 0, 1}));
}

TEST_F(GgufMetadataTest, AMissingKeyIsNothing) {
  const GgufMetadata& m = parse(tests::small_gguf());
  EXPECT_FALSE(m.contains("absent"));
  EXPECT_EQ(m.find("absent"), nullptr);
  EXPECT_EQ(m.integer("absent").value(), std::nullopt);
  EXPECT_EQ(m.number("absent").value(), std::nullopt);
  EXPECT_EQ(m.boolean("absent").value(), std::nullopt);
  EXPECT_EQ(m.text("absent").value(), std::nullopt);
  EXPECT_EQ(m.integers("absent").value(), std::nullopt);
  EXPECT_EQ(m.numbers("absent").value(), std::nullopt);
  EXPECT_EQ(m.texts("absent").value(), std::nullopt);
}

TEST_F(GgufMetadataTest, RefusesOtherKinds) {
  const GgufMetadata& m = parse(tests::small_gguf());
  expect_refused(m.integer("a.f32"), "a.f32", "is a floating-point number; expected an integer");
  expect_refused(m.integer("a.bool"), "a.bool", "is a bool; expected an integer");
  expect_refused(m.integer("general.architecture"), "general.architecture", "is a string; expected an integer");
  expect_refused(m.integer("a.i32s"), "a.i32s", "is an array of i32; expected an integer");
  expect_refused(m.number("general.architecture"), "general.architecture", "is a string; expected a number");
  expect_refused(m.boolean("a.u8"), "a.u8", "is an unsigned integer; expected a bool");
  expect_refused(m.text("a.i8"), "a.i8", "is an integer; expected a string");
  expect_refused(m.text("tokenizer.ggml.tokens"), "tokenizer.ggml.tokens", "is an array of string; expected a string");
  expect_refused(m.integers("a.u8"), "a.u8", "expected an array of integers");
  expect_refused(m.integers("tokenizer.ggml.scores"), "tokenizer.ggml.scores",
                 "is an array of f32; expected an array of integers");
  expect_refused(m.integers("tokenizer.ggml.tokens"), "tokenizer.ggml.tokens", "expected an array of integers");
  expect_refused(m.numbers("tokenizer.ggml.tokens"), "tokenizer.ggml.tokens", "expected an array of numbers");
  expect_refused(m.numbers("a.bools"), "a.bools", "expected an array of numbers");
  expect_refused(m.texts("tokenizer.ggml.scores"), "tokenizer.ggml.scores", "expected an array of strings");
  expect_refused(m.texts("general.architecture"), "general.architecture", "is a string; expected an array of strings");
}

TEST_F(GgufMetadataTest, RefusesValuesOutOfRange) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  tests::GgufBuilder file;
  file.entry("huge", 10, raw(~std::uint64_t{0})).entry("inf", 12, raw(kInfinity)).f32("nan", kNan);
  file.array("huges", 10, 2, raw(std::uint64_t{1}) + raw(std::uint64_t{1} << 63));
  file.array("nans", 6, 3, raw(0.F) + raw(1.F) + raw(kNan)).array("wide", 12, 1, raw(1e300));
  const GgufMetadata& m = parse(file);
  expect_refused(m.integer("huge"), "huge", "18446744073709551615");
  expect_refused(m.number("inf"), "inf", "expected a finite number");
  expect_refused(m.number("nan"), "nan", "expected a finite number");
  expect_refused(m.integers("huges"), "huges", "element 1");
  expect_refused(m.numbers("nans"), "nans", "element 2");
  expect_refused(m.numbers("wide"), "wide", "element 0");
}

}  // namespace
}  // namespace carat::formats

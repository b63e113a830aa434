// Rotary embeddings against the reference's tables, out to position 262143.
#include "model/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/tiny_model.h"

namespace carat::model {
namespace {

struct Kind {
  const char* name;
  RopeSpec spec;
};

// The published head sizes; see tools/reference/rope_tables.py.
const Kind kKinds[] = {
    {"gemma4.sliding_attention", {1e4, 1, 256, 128}},
    {"gemma4.full_attention", {1e6, 1, 512, 64}},  // proportional: a quarter of the pairs turns, the others stay
    {"gemma3.sliding_attention", {1e4, 1, 256, 128}},
    {"gemma3.full_attention", {1e6, 8, 256, 128}},
};

class Rope : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    auto opened = formats::open_safetensors(CARAT_TEST_DATA "/golden/rope/rope.safetensors");
    ASSERT_TRUE(opened) << opened.error().message;
    file_ = std::move(*opened);
    for (const TokenId position : test::token_ids(file_, "positions")) positions_.push_back(position);
    ASSERT_EQ(positions_.back(), 262143);
    frequencies_ = read("inv_freq");
    cos_ = read("cos");
    sin_ = read("sin");
  }
  std::vector<float> read(const char* what) { return test::floats(file_, std::string(GetParam().name) + "." + what); }

  formats::SafetensorsFile file_;
  std::vector<std::int64_t> positions_;
  std::vector<float> frequencies_, cos_, sin_;
};

TEST_P(Rope, FrequenciesAreTheReferencesToTheLastPlace) {
  const std::vector<float> ours = rope_frequencies(GetParam().spec);
  ASSERT_EQ(ours.size(), static_cast<std::size_t>(GetParam().spec.rotated_pairs));
  ASSERT_GE(frequencies_.size(), ours.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    EXPECT_LE(std::abs(ours[i] - frequencies_[i]), std::nextafter(frequencies_[i], 2.0F) - frequencies_[i])
        << "pair " << i;
  }
  for (std::size_t i = ours.size(); i < frequencies_.size(); ++i) EXPECT_EQ(frequencies_[i], 0.0F) << "pair " << i;
}

// Cosines of the same f32 angles differ by no more than two implementations of cosf do.
constexpr float kRounding = 2.5e-7F;

TEST_P(Rope, TablesOfTheReferencesFrequenciesAreItsTables) {
  std::vector<float> cos, sin;
  rope_table(frequencies_, positions_, cos, sin);
  ASSERT_EQ(cos.size(), cos_.size());
  for (std::size_t i = 0; i < cos.size(); ++i) {
    const auto where = [&] {
      return "position " + std::to_string(positions_[i / frequencies_.size()]) + " pair " +
             std::to_string(i % frequencies_.size());
    };
    EXPECT_NEAR(cos[i], cos_[i], kRounding) << where();
    EXPECT_NEAR(sin[i], sin_[i], kRounding) << where();
  }
}

TEST_P(Rope, TablesOfOurFrequenciesStayWithinTheirLastPlace) {
  const std::vector<float> ours = rope_frequencies(GetParam().spec);
  std::vector<float> cos, sin;
  rope_table(ours, positions_, cos, sin);
  const std::size_t pairs = ours.size(), all = frequencies_.size();
  for (std::size_t t = 0; t < positions_.size(); ++t) {
    for (std::size_t i = 0; i < pairs; ++i) {
      // One unit in the last place of a frequency moves the angle by that much times the position, and the rounding of
      // the product to f32 by half a unit in its last place.
      const float angle = static_cast<float>(positions_[t]) * frequencies_[i];
      const float moved = std::abs(static_cast<float>(positions_[t]) * ours[i] - angle);
      EXPECT_LE(moved, 1.25e-7F * angle);
      EXPECT_NEAR(cos[t * pairs + i], cos_[t * all + i], kRounding + moved)
          << "position " << positions_[t] << " pair " << i;
      EXPECT_NEAR(sin[t * pairs + i], sin_[t * all + i], kRounding + moved)
          << "position " << positions_[t] << " pair " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Rope, testing::ValuesIn(kKinds), [](const auto& test) {
  std::string name = test.param.name;
  name[name.find('.')] = '_';
  return name;
});

}  // namespace
}  // namespace carat::model

// Sampling: the distribution equals the reference's processors on committed cases; draws follow it; seeds repeat.
#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

namespace carat::engine {
namespace {

using Json = nlohmann::json;

SamplerSettings plain() {
  SamplerSettings s;
  s.top_k = 0;
  s.top_p = 1;
  return s;
}

TEST(Sampler, DistributionsEqualTheReference) {
  std::ifstream in(CARAT_TEST_DATA "/engine/cases/sampling.json");
  const Json cases = Json::parse(in);
  ASSERT_GE(cases.size(), 30U);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Json& c = cases[i];
    SamplerSettings s;
    s.temperature = c["settings"]["temperature"];
    s.top_k = c["settings"]["top_k"];
    s.top_p = c["settings"]["top_p"];
    s.min_p = c["settings"]["min_p"];
    s.typical_p = c["settings"]["typical_p"];
    s.repetition_penalty = c["settings"]["repetition_penalty"];
    s.suppress_tokens = c["settings"]["suppress_tokens"].get<std::vector<TokenId>>();
    const auto logits = c["logits"].get<std::vector<float>>();
    const auto context = c["context"].get<std::vector<TokenId>>();
    std::map<TokenId, double> found;
    for (const auto& [id, p] : Sampler(s).distribution(logits, context, 0)) found[id] = p;
    ASSERT_EQ(found.size(), c["probabilities"].size()) << "case " << i;
    for (const auto& [id, p] : c["probabilities"].items()) {
      ASSERT_NEAR(found.at(std::stoi(id)), p.get<double>(), 1e-5) << "case " << i << " id " << id;
    }
  }
}

TEST(Sampler, GreedyTakesTheFirstOfEqualsAndHonoursBias) {
  SamplerSettings s = plain();
  s.temperature = 0;
  const std::vector<float> logits = {1, 3, 3, 2};
  EXPECT_EQ(Sampler(s).sample(logits, {}, 0), 1);
  s.logit_bias = {{3, 5.0F}};
  EXPECT_EQ(Sampler(s).sample(logits, {}, 0), 3);
  s.logit_bias = {{1, -INFINITY}};
  EXPECT_EQ(Sampler(s).sample(logits, {}, 0), 2);
  s.suppress_tokens = {2};
  EXPECT_EQ(Sampler(s).sample(logits, {}, 0), 3);
}

TEST(Sampler, PresenceAndFrequencyCountGeneratedIdsOnly) {
  SamplerSettings s = plain();
  s.temperature = 0;
  s.presence_penalty = 0.5F;
  s.frequency_penalty = 1.0F;
  const std::vector<float> logits = {2.0F, 3.0F, 0};
  const std::vector<TokenId> context = {1, 1, 1, 0, 1};  // the last two are generated
  // id 1: 3 - 0.5 - 1 = 1.5; id 0: 2 - 0.5 - 1 = 0.5.
  EXPECT_EQ(Sampler(s).sample(logits, context, 2), 1);
  s.frequency_penalty = 4.0F;  // both negative now, id 2 at 0 wins
  EXPECT_EQ(Sampler(s).sample(logits, context, 2), 2);
  EXPECT_EQ(Sampler(s).sample(logits, context, 0), 1);
}

TEST(Sampler, SameSeedSameDrawsAndDrawsFollowTheDistribution) {
  SamplerSettings s = plain();
  s.seed = 42;
  const std::vector<float> logits = {0.0F, 1.0F, 2.0F, -1.0F};
  Sampler a(s), b(s);
  std::map<TokenId, int> counts;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const TokenId id = a.sample(logits, {}, 0);
    ASSERT_EQ(id, b.sample(logits, {}, 0));
    ++counts[id];
  }
  for (const auto& [id, p] : Sampler(s).distribution(logits, {}, 0)) {
    EXPECT_NEAR(counts[id] / static_cast<double>(kDraws), p, 4 * std::sqrt(p * (1 - p) / kDraws)) << id;
  }
}

TEST(Sampler, TiesWithTheKthCandidateStay) {
  SamplerSettings s = plain();
  s.top_k = 2;
  const std::vector<float> logits = {1, 2, 2, 2, 0};
  EXPECT_EQ(Sampler(s).distribution(logits, {}, 0).size(), 3U);
}

TEST(Sampler, LogProbabilitiesAddUp) {
  const std::vector<float> row = {0.3F, -2.0F, 5.0F, 1.0F};
  double sum = 0;
  for (TokenId id = 0; id < 4; ++id) sum += std::exp(log_probability(row, id));
  EXPECT_NEAR(sum, 1, 1e-12);
  const auto top = top_log_probabilities(row, 2);
  ASSERT_EQ(top.size(), 2U);
  EXPECT_EQ(top[0].first, 2);
  EXPECT_EQ(top[1].first, 3);
  EXPECT_NEAR(top[1].second, log_probability(row, 3), 1e-6);
}

TEST(Sampler, BadSettingsAreNamed) {
  const auto message = [](auto change) {
    SamplingOptions o;
    change(o);
    const auto result = resolve_sampling(o, {}, 100);
    return result ? std::string() : result.error().message;
  };
  EXPECT_NE(message([](auto& o) { o.temperature = -1.0F; }).find("temperature"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.temperature = NAN; }).find("temperature"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.top_k = -1; }).find("top_k"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.top_p = 0.0F; }).find("top_p"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.min_p = 1.5F; }).find("min_p"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.typical_p = 0.0F; }).find("typical_p"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.repetition_penalty = 0.0F; }).find("repetition_penalty"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.logit_bias = {{100, 1.0F}}; }).find("100"), std::string::npos);
  EXPECT_TRUE(message([](auto&) {}).empty());
}

}  // namespace
}  // namespace carat::engine

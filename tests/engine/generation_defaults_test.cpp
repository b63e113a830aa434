// What generation starts from: generation_config.json, the keys of a GGUF file, else the published defaults.
#include "engine/generation_defaults.h"

#include <gtest/gtest.h>

#include "formats/file_builders.h"
#include "formats/temp_dir.h"

namespace carat::engine {
namespace {

using tests::GgufBuilder;
using tests::raw;

class Defaults : public testing::Test {
 protected:
  Defaults() {
    dir_.write("config.json", "{}");
    dir_.write("model.safetensors",
               tests::safetensors(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x"));
  }
  Result<GenerationDefaults> read(const text::Tokenizer* tokenizer = nullptr) {
    auto checkpoint = formats::open_checkpoint(dir_.path());
    if (!checkpoint) return forward(checkpoint);
    return read_generation_defaults(*checkpoint, tokenizer);
  }
  Result<GenerationDefaults> generation(std::string_view json) {
    dir_.write("generation_config.json", json);
    return read();
  }
  static const text::Tokenizer& tokenizer() {
    static const text::Tokenizer loaded = [] {
      auto made = text::Tokenizer::from_checkpoint(*formats::open_checkpoint(CARAT_TEST_DATA "/golden/e2b_like"));
      EXPECT_TRUE(made) << made.error().message;
      return std::move(*made);
    }();
    return loaded;
  }
  tests::TempDir dir_;
};

TEST_F(Defaults, WithoutAFileThePublishedOnesApply) {
  const auto defaults = read();
  ASSERT_TRUE(defaults) << defaults.error().message;
  const SamplerSettings& s = defaults->sampling;
  EXPECT_EQ(s.temperature, 1.0F);
  EXPECT_EQ(s.top_k, 64);
  EXPECT_EQ(s.top_p, 0.95F);
  EXPECT_EQ(s.min_p, 0.0F);
  EXPECT_EQ(s.typical_p, 1.0F);
  EXPECT_EQ(s.repetition_penalty, 1.0F);
  EXPECT_EQ(s.presence_penalty, 0.0F);
  EXPECT_EQ(s.frequency_penalty, 0.0F);
  EXPECT_TRUE(s.suppress_tokens.empty());
  EXPECT_TRUE(defaults->stop_tokens.empty());
}

TEST_F(Defaults, TheFileDecides) {
  // As published with the 12B; the numbers of another file.
  const auto defaults = generation(R"({"bos_token_id":2,"do_sample":true,"eos_token_id":[1,106,50],"pad_token_id":0,
      "suppress_tokens":[258883,258882],"temperature":0.5,"top_k":7,"top_p":0.25,"min_p":0.125,"typical_p":0.75,
      "repetition_penalty":1.5,"transformers_version":"5.23.0"})");
  ASSERT_TRUE(defaults) << defaults.error().message;
  const SamplerSettings& s = defaults->sampling;
  EXPECT_EQ(s.temperature, 0.5F);
  EXPECT_EQ(s.top_k, 7);
  EXPECT_EQ(s.top_p, 0.25F);
  EXPECT_EQ(s.min_p, 0.125F);
  EXPECT_EQ(s.typical_p, 0.75F);
  EXPECT_EQ(s.repetition_penalty, 1.5F);
  EXPECT_EQ(s.suppress_tokens, (std::vector<TokenId>{258883, 258882}));
  EXPECT_EQ(defaults->stop_tokens, (std::vector<TokenId>{1, 106, 50}));
}

TEST_F(Defaults, PartsLeftOutOrNullKeepThePublishedValues) {
  const auto defaults =
      generation(R"({"temperature":null,"top_k":null,"top_p":null,"suppress_tokens":null,"eos_token_id":5})");
  ASSERT_TRUE(defaults) << defaults.error().message;
  EXPECT_EQ(defaults->sampling.temperature, 1.0F);
  EXPECT_EQ(defaults->sampling.top_k, 64);
  EXPECT_EQ(defaults->sampling.top_p, 0.95F);
  EXPECT_TRUE(defaults->sampling.suppress_tokens.empty());
  EXPECT_EQ(defaults->stop_tokens, std::vector<TokenId>{5});
}

TEST_F(Defaults, NotSamplingMeansGreedy) {
  EXPECT_EQ(generation(R"({"do_sample":false,"temperature":1.0})")->sampling.temperature, 0.0F);
}

TEST_F(Defaults, TheNearestFileThatNamesAnEndWins) {
  dir_.write("config.json", R"({"eos_token_id":[1,106],"text_config":{"eos_token_id":1}})");
  EXPECT_EQ(generation(R"({"eos_token_id":50})")->stop_tokens, std::vector<TokenId>{50});
  EXPECT_EQ(generation(R"({"temperature":1.0})")->stop_tokens, (std::vector<TokenId>{1, 106}));
  EXPECT_EQ(generation(R"({"eos_token_id":[]})")->stop_tokens, (std::vector<TokenId>{1, 106}));
  dir_.write("config.json", R"({"text_config":{"eos_token_id":1}})");
  EXPECT_EQ(generation("{}")->stop_tokens, std::vector<TokenId>{1});
}

TEST_F(Defaults, WithoutAListTheVocabularyNamesTheEnds) {
  const auto defaults = read(&tokenizer());
  ASSERT_TRUE(defaults) << defaults.error().message;
  std::vector<TokenId> expected = {*tokenizer().eos(), *tokenizer().find_special("<turn|>"),
                                   *tokenizer().find_special("<|tool_response>")};
  EXPECT_EQ(defaults->stop_tokens, expected);
}

TEST_F(Defaults, EveryWrongFieldIsNamed) {
  for (const auto& [json, names] : {std::pair{R"({"temperature":"warm"})", "temperature"},
                                    {R"({"top_k":"64"})", "top_k"},
                                    {R"({"top_k":1.5})", "top_k"},
                                    {R"({"top_k":-1})", "top_k"},
                                    {R"({"top_k":99999999999})", "top_k"},
                                    {R"({"top_p":[0.9]})", "top_p"},
                                    {R"({"min_p":true})", "min_p"},
                                    {R"({"typical_p":{}})", "typical_p"},
                                    {R"({"repetition_penalty":"1"})", "repetition_penalty"},
                                    {R"({"do_sample":"no"})", "do_sample"},
                                    {R"({"suppress_tokens":"5"})", "suppress_tokens"},
                                    {R"({"suppress_tokens":[1,-5]})", "suppress_tokens"},
                                    {R"({"suppress_tokens":[1,2.5]})", "suppress_tokens"},
                                    {R"({"suppress_tokens":[18446744073709551615]})", "suppress_tokens"},
                                    {R"({"eos_token_id":"<eos>"})", "eos_token_id"},
                                    {R"({"eos_token_id":[1,null]})", "eos_token_id"},
                                    {R"({"eos_token_id":4294967297})", "eos_token_id"}}) {
    const auto defaults = generation(json);
    ASSERT_FALSE(defaults) << json;
    EXPECT_EQ(defaults.error().code, ErrorCode::bad_file) << defaults.error().message;
    EXPECT_NE(defaults.error().message.find(names), std::string::npos) << defaults.error().message;
    EXPECT_NE(defaults.error().message.find(dir_.path().string()), std::string::npos) << defaults.error().message;
  }
}

TEST_F(Defaults, GgufFilesCarrySuppressedTokens) {
  const auto read_gguf = [&](GgufBuilder file) {
    file.string("general.architecture", "gemma4");
    const auto checkpoint = formats::open_checkpoint(dir_.write("m.gguf", file.build()));
    EXPECT_TRUE(checkpoint) << checkpoint.error().message;
    return read_generation_defaults(*checkpoint, &tokenizer());
  };
  GgufBuilder file;
  file.array("tokenizer.ggml.suppress_tokens", 5, 2, raw(258883) + raw(258882));
  const auto defaults = read_gguf(file);
  ASSERT_TRUE(defaults) << defaults.error().message;
  EXPECT_EQ(defaults->sampling.suppress_tokens, (std::vector<TokenId>{258883, 258882}));
  EXPECT_EQ(defaults->sampling.temperature, 1.0F);
  EXPECT_EQ(defaults->sampling.top_k, 64);
  EXPECT_EQ(defaults->sampling.top_p, 0.95F);
  EXPECT_EQ(defaults->stop_tokens.front(), *tokenizer().eos());
  EXPECT_TRUE(read_gguf(GgufBuilder())->sampling.suppress_tokens.empty());
  for (GgufBuilder wrong : {GgufBuilder().string("tokenizer.ggml.suppress_tokens", "5"),
                            GgufBuilder().u32("tokenizer.ggml.suppress_tokens", 5),
                            GgufBuilder().strings("tokenizer.ggml.suppress_tokens", {"5"}),
                            GgufBuilder().array("tokenizer.ggml.suppress_tokens", 5, 1, raw(-5))}) {
    const auto refused = read_gguf(wrong);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("tokenizer.ggml.suppress_tokens"), std::string::npos)
        << refused.error().message;
  }
}

// What is suppressed never comes, greedy included.
TEST_F(Defaults, SuppressedTokensAreNeverDrawn) {
  SamplerSettings settings = generation(R"({"suppress_tokens":[2]})")->sampling;
  const std::vector<float> logits = {0, 1, 50, 2};
  for (const float temperature : {0.0F, 1.0F}) {
    settings.temperature = temperature;
    Sampler sampler(settings);
    for (int i = 0; i < 20; ++i) EXPECT_NE(sampler.sample(logits, {}, 0), 2);
  }
}

}  // namespace
}  // namespace carat::engine

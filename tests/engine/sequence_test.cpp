// Prefix reuse: whatever was in the cache before, the logits of a prompt are those of a fresh sequence, and as much as
// possible is kept.
#include "engine/sequence.h"

#include <gtest/gtest.h>

#include <random>

#include "engine/perplexity.h"
#include "engine/sampler.h"
#include "model/tiny_model.h"

namespace carat::engine {
namespace {

constexpr std::int64_t kSnapshotBytes = std::int64_t{64} << 20;

class SequenceTest : public testing::TestWithParam<test::GoldenCase> {
 protected:
  SequenceTest() : model_(GetParam().model) {}

  Sequence make(std::int64_t snapshot_bytes = kSnapshotBytes, std::int64_t chunk = 32) {
    auto made = Sequence::create(model_.config(), tensor::DType::f32, 240, chunk, snapshot_bytes);
    EXPECT_TRUE(made) << made.error().message;
    return std::move(*made);
  }
  Compute compute() { return {model_.transformer(), model_.context(), model_.workspace()}; }
  std::vector<float> prefill(Sequence& sequence, std::span<const TokenId> prompt) {
    auto logits = sequence.prefill(compute(), prompt, {});
    EXPECT_TRUE(logits) << logits.error().message;
    return logits ? std::vector<float>(logits->begin(), logits->end()) : std::vector<float>();
  }
  std::vector<TokenId> text(std::size_t length, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<TokenId> out;
    for (std::size_t i = 0; i < length; ++i) {
      out.push_back(static_cast<TokenId>(random() % static_cast<unsigned>(model_.config().vocab_size)));
    }
    return out;
  }
  test::TinyModel model_;
};

TEST_P(SequenceTest, EveryPromptEqualsAFreshOne) {
  Sequence reused = make(), forgetful = make(0);
  std::mt19937 random(7);
  std::vector<TokenId> prompt = text(40, 1);
  for (int turn = 0; turn < 25; ++turn) {
    Sequence fresh = make();
    const auto expected = prefill(fresh, prompt);
    ASSERT_EQ(prefill(reused, prompt), expected) << "turn " << turn;
    ASSERT_EQ(prefill(forgetful, prompt), expected) << "turn " << turn;
    ASSERT_EQ(std::vector<TokenId>(reused.ids().begin(), reused.ids().end()), prompt);
    // Generate some, then change the text somewhere: near its end, in the middle, or not at all; and go on.
    for (unsigned i = 0; i < random() % 30; ++i) {
      const TokenId next = static_cast<TokenId>(random() % 100);
      ASSERT_TRUE(reused.decode(compute(), next));
      ASSERT_TRUE(forgetful.decode(compute(), next));
    }
    const std::size_t keep =
        prompt.size() - std::min<std::size_t>(prompt.size() - 1, random() % (turn % 3 == 0 ? 60 : 6));
    prompt.resize(std::min<std::size_t>(keep, 120));
    const auto more = text(1 + random() % 40, 100 + static_cast<unsigned>(turn));
    prompt.insert(prompt.end(), more.begin(), more.end());
  }
}

TEST_P(SequenceTest, ATurnThatDropsItsThoughtKeepsThePromptBeforeIt) {
  Sequence sequence = make();
  const auto prompt = text(60, 3);
  prefill(sequence, prompt);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(sequence.decode(compute(), 5));
  // The next turn's prompt agrees with this one but for its last tokens; the answer came out differently.
  std::vector<TokenId> next(prompt.begin(), prompt.end() - 3);
  const auto more = text(20, 4);
  next.insert(next.end(), more.begin(), more.end());
  prefill(sequence, next);
  EXPECT_GE(sequence.reused_tokens(), 57);
}

TEST_P(SequenceTest, TheSamePromptAgainComputesOneToken) {
  Sequence sequence = make();
  const auto prompt = text(50, 9);
  const auto first = prefill(sequence, prompt);
  EXPECT_EQ(prefill(sequence, prompt), first);
  EXPECT_EQ(sequence.reused_tokens(), 49);
  sequence.reset();
  EXPECT_EQ(prefill(sequence, prompt), first);
  EXPECT_EQ(sequence.reused_tokens(), 0);
}

TEST_P(SequenceTest, CancellingKeepsWhatWasComputed) {
  Sequence sequence = make(kSnapshotBytes, 16);
  const auto prompt = text(80, 11);
  const auto stopped = sequence.prefill(compute(), prompt, [](std::int64_t done, std::int64_t) { return done < 32; });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
  EXPECT_EQ(sequence.cache().length(), 32);
  Sequence fresh = make(kSnapshotBytes, 16);
  EXPECT_EQ(prefill(sequence, prompt), prefill(fresh, prompt));
  EXPECT_EQ(sequence.reused_tokens(), 32);
}

TEST_P(SequenceTest, PerplexityScoresTheSecondHalfOfEachWindow) {
  constexpr std::int64_t kWindow = 32;
  const auto ids = text(100, 5);  // three windows and a rest
  const TokenId bos = 2;
  auto sum = perplexity(compute(), ids, bos, kWindow, 0, tensor::DType::f32, {});
  ASSERT_TRUE(sum) << sum.error().message;
  EXPECT_EQ(sum->windows, 3);
  EXPECT_EQ(sum->tokens, 3 * (kWindow / 2 - 1));
  double expected = 0;
  const auto vocab = static_cast<std::size_t>(model_.config().vocab_size);
  for (std::size_t w = 0; w < 3; ++w) {
    std::vector<TokenId> window(ids.begin() + static_cast<std::ptrdiff_t>(w * kWindow),
                                ids.begin() + static_cast<std::ptrdiff_t>((w + 1) * kWindow));
    window[0] = bos;
    const auto logits = model_.all_logits(window, kWindow);
    for (std::size_t i = kWindow / 2; i + 1 < kWindow; ++i) {
      expected -= log_probability(std::span(logits).subspan(i * vocab, vocab), window[i + 1]);
    }
  }
  EXPECT_NEAR(sum->negative_log_likelihood, expected, 1e-9 * expected);
  EXPECT_NEAR(sum->perplexity(), std::exp(expected / static_cast<double>(sum->tokens)), 1e-9 * sum->perplexity());
  const auto one = perplexity(compute(), ids, bos, kWindow, 1, tensor::DType::f32, {});
  ASSERT_TRUE(one);
  EXPECT_EQ(one->windows, 1);
  EXPECT_FALSE(perplexity(compute(), std::span(ids).first(60), bos, kWindow, 0, tensor::DType::f32, {}));
  EXPECT_FALSE(perplexity(compute(), ids, bos, kWindow, 0, tensor::DType::f32,
                          [](const PerplexitySum&, std::int64_t) { return false; }));
}

std::vector<test::GoldenCase> directories() {
  std::vector<test::GoldenCase> out = test::golden_cases();
  std::erase_if(out, [](const test::GoldenCase& c) { return c.model.extension() == ".gguf"; });
  return out;
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, SequenceTest, testing::ValuesIn(directories()), test::case_name);

}  // namespace
}  // namespace carat::engine

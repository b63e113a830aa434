// Chooses the next token from a row of logits: bias and suppression, penalties, then the filters in the order of the
// reference (temperature, top-k, top-p, min-p, typical-p), then one draw.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "carat/options.h"
#include "carat/result.h"

namespace carat::engine {

/// A token still in the running. Candidate lists are sorted by logit, highest first, ties by lower id.
struct Candidate {
  TokenId id = 0;
  float logit = 0;  ///< after temperature
};
using Candidates = std::vector<Candidate>;

/// SamplingOptions with nothing left open.
struct SamplerSettings {
  float temperature = 1;
  int top_k = 64;
  float top_p = 0.95F;
  float min_p = 0;
  float typical_p = 1;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  std::vector<std::pair<TokenId, float>> logit_bias;
  std::vector<TokenId> suppress_tokens;  ///< never generated, greedy included
  std::uint64_t seed = 0;
};

/// Checks ranges (temperature >= 0, 0 < top_p <= 1, ids inside the vocabulary, no NaN, …) and fills what `options`
/// leaves open from `defaults`; a missing seed is drawn from the system. Errors name the option, found and expected.
Result<SamplerSettings> resolve_sampling(const SamplingOptions& options, const SamplerSettings& defaults,
                                         TokenId vocab_size);

/// Not thread-safe: owns the random state of one generation.
class Sampler {
 public:
  explicit Sampler(SamplerSettings settings);

  /// The distribution sample() draws from: ids with probabilities that add up to 1, most likely first; one id when
  /// greedy.
  std::vector<std::pair<TokenId, double>> distribution(std::span<const float> logits, std::span<const TokenId> context,
                                                       std::int64_t generated);

  /// The next token for raw model logits [vocab_size], which are not changed. `context` is everything so far (for the
  /// repetition penalty), its last `generated` ids are the model's own (for presence and frequency).
  TokenId sample(std::span<const float> logits, std::span<const TokenId> context, std::int64_t generated);

  const SamplerSettings& settings() const { return settings_; }

 private:
  bool adjusts() const;
  void adjust(std::span<const TokenId> context, std::int64_t generated);

  SamplerSettings settings_;
  std::mt19937_64 random_;
  std::vector<float> logits_;
  Candidates candidates_;
  std::vector<TokenId> seen_;
};

/// log softmax of row[id], in double over the whole row.
double log_probability(std::span<const float> row, TokenId id);
/// The n most likely ids with their log probabilities, most likely first.
std::vector<std::pair<TokenId, float>> top_log_probabilities(std::span<const float> row, int n);

}  // namespace carat::engine

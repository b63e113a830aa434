#include "engine/sampler.h"

#include <algorithm>
#include <cmath>

#include "base/concat.h"
#include "engine/samplers/filters.h"

namespace carat::engine {

using base::concat;

Result<SamplerSettings> resolve_sampling(const SamplingOptions& options, const SamplerSettings& defaults,
                                         TokenId vocab_size) {
  SamplerSettings s = defaults;
  s.temperature = options.temperature.value_or(defaults.temperature);
  s.top_k = options.top_k.value_or(defaults.top_k);
  s.top_p = options.top_p.value_or(defaults.top_p);
  s.min_p = options.min_p.value_or(defaults.min_p);
  s.typical_p = options.typical_p.value_or(defaults.typical_p);
  s.repetition_penalty = options.repetition_penalty.value_or(defaults.repetition_penalty);
  s.presence_penalty = options.presence_penalty.value_or(defaults.presence_penalty);
  s.frequency_penalty = options.frequency_penalty.value_or(defaults.frequency_penalty);
  s.logit_bias = options.logit_bias;
  s.seed = options.seed ? *options.seed
                        : (static_cast<std::uint64_t>(std::random_device()()) << 32) ^ std::random_device()();

  const auto bad = [](const char* option, auto found, const char* expected) {
    return fail(ErrorCode::invalid_argument, concat("sampling: ", option, " is ", found, "; expected ", expected));
  };
  if (!(s.temperature >= 0) || !std::isfinite(s.temperature)) return bad("temperature", s.temperature, "0 or more");
  if (s.top_k < 0) return bad("top_k", s.top_k, "0 (off) or more");
  if (!(s.top_p > 0) || s.top_p > 1) return bad("top_p", s.top_p, "more than 0, at most 1");
  if (!(s.min_p >= 0) || s.min_p > 1) return bad("min_p", s.min_p, "0 to 1");
  if (!(s.typical_p > 0) || s.typical_p > 1) return bad("typical_p", s.typical_p, "more than 0, at most 1");
  if (!(s.repetition_penalty > 0) || !std::isfinite(s.repetition_penalty)) {
    return bad("repetition_penalty", s.repetition_penalty, "more than 0");
  }
  if (!std::isfinite(s.presence_penalty)) return bad("presence_penalty", s.presence_penalty, "a finite number");
  if (!std::isfinite(s.frequency_penalty)) return bad("frequency_penalty", s.frequency_penalty, "a finite number");
  for (const auto& [id, bias] : s.logit_bias) {
    if (id < 0 || id >= vocab_size) {
      return fail(ErrorCode::invalid_argument,
                  concat("sampling: logit_bias names token ", id, "; expected 0 to ", vocab_size - 1));
    }
    if (std::isnan(bias) || bias == INFINITY) return bad("logit_bias", bias, "a finite number or -inf");
  }
  return s;
}

Sampler::Sampler(SamplerSettings settings) : settings_(std::move(settings)), random_(settings_.seed) {}

bool Sampler::adjusts() const {
  return !settings_.logit_bias.empty() || settings_.repetition_penalty != 1 || settings_.presence_penalty != 0 ||
         settings_.frequency_penalty != 0 || !settings_.suppress_tokens.empty();
}

void Sampler::adjust(std::span<const TokenId> context, std::int64_t generated) {
  for (const auto& [id, bias] : settings_.logit_bias) logits_[static_cast<std::size_t>(id)] += bias;
  if (settings_.repetition_penalty != 1) {
    seen_.assign(context.begin(), context.end());
    std::sort(seen_.begin(), seen_.end());
    seen_.erase(std::unique(seen_.begin(), seen_.end()), seen_.end());
    for (const TokenId id : seen_) {
      float& logit = logits_[static_cast<std::size_t>(id)];
      logit = logit < 0 ? logit * settings_.repetition_penalty : logit / settings_.repetition_penalty;
    }
  }
  if (settings_.presence_penalty != 0 || settings_.frequency_penalty != 0) {
    seen_.assign(context.end() - generated, context.end());
    std::sort(seen_.begin(), seen_.end());
    for (std::size_t i = 0; i < seen_.size();) {
      std::size_t end = i;
      while (end < seen_.size() && seen_[end] == seen_[i]) ++end;
      logits_[static_cast<std::size_t>(seen_[i])] -=
          settings_.presence_penalty + settings_.frequency_penalty * static_cast<float>(end - i);
      i = end;
    }
  }
  for (const TokenId id : settings_.suppress_tokens) {
    if (id >= 0 && static_cast<std::size_t>(id) < logits_.size()) logits_[static_cast<std::size_t>(id)] = -INFINITY;
  }
}

std::vector<std::pair<TokenId, double>> Sampler::distribution(std::span<const float> logits,
                                                              std::span<const TokenId> context,
                                                              std::int64_t generated) {
  if (adjusts()) {
    logits_.assign(logits.begin(), logits.end());
    adjust(context, generated);
    logits = logits_;
  }
  if (settings_.temperature == 0) {
    return {{static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin()), 1.0}};
  }
  select_top_k(logits, settings_.temperature, settings_.top_k, candidates_);
  if (candidates_.empty()) return {{0, 1.0}};  // every token biased to -inf: nothing is likelier than the pad token
  if (settings_.top_p < 1) filter_top_p(candidates_, settings_.top_p);
  if (settings_.min_p > 0) filter_min_p(candidates_, settings_.min_p);
  if (settings_.typical_p < 1) filter_typical_p(candidates_, settings_.typical_p);
  const std::vector<double> p = probabilities(candidates_);
  std::vector<std::pair<TokenId, double>> out;
  for (std::size_t i = 0; i < p.size(); ++i) out.emplace_back(candidates_[i].id, p[i]);
  return out;
}

TokenId Sampler::sample(std::span<const float> logits, std::span<const TokenId> context, std::int64_t generated) {
  const auto choices = distribution(logits, context, generated);
  if (choices.size() == 1) return choices[0].first;
  double draw = static_cast<double>(random_() >> 11) * 0x1.0p-53;
  for (const auto& [id, p] : choices) {
    draw -= p;
    if (draw < 0) return id;
  }
  return choices.back().first;
}

double log_probability(std::span<const float> row, TokenId id) {
  const double top = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float value : row) sum += std::exp(static_cast<double>(value) - top);
  return static_cast<double>(row[static_cast<std::size_t>(id)]) - top - std::log(sum);
}

std::vector<std::pair<TokenId, float>> top_log_probabilities(std::span<const float> row, int n) {
  if (n <= 0) return {};
  Candidates best;
  select_top_k(row, 1.0F, n, best);
  const double top = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float value : row) sum += std::exp(static_cast<double>(value) - top);
  std::vector<std::pair<TokenId, float>> out;
  for (std::size_t i = 0; i < best.size() && i < static_cast<std::size_t>(n); ++i) {
    out.emplace_back(best[i].id, static_cast<float>(static_cast<double>(best[i].logit) - top - std::log(sum)));
  }
  return out;
}

}  // namespace carat::engine

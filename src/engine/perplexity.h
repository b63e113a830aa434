// Perplexity of a token sequence with the windows and scoring rule of llama-perplexity, so that figures compare.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "engine/sequence.h"

namespace carat::engine {

struct PerplexitySum {
  double negative_log_likelihood = 0, squared = 0;
  std::int64_t tokens = 0, windows = 0;

  double perplexity() const;
  double standard_error() const;
};

/// Cuts `ids` into windows of `window` tokens (a rest is dropped), replaces the first of each by `bos` and sums the
/// negative log-likelihood of the tokens after the first half, each window in a fresh cache. Calls progress after each
/// window; false cancels. Errors: invalid_argument for fewer than two windows, cancelled, not_finite.
Result<PerplexitySum> perplexity(const Compute& compute, std::span<const TokenId> ids, TokenId bos, std::int64_t window,
                                 std::int64_t max_windows, tensor::DType cache_type,
                                 const std::function<bool(const PerplexitySum&, std::int64_t total)>& progress);

}  // namespace carat::engine

#include "engine/perplexity.h"

#include <algorithm>
#include <cmath>

#include "base/concat.h"
#include "engine/sampler.h"

namespace carat::engine {

using base::concat;

double PerplexitySum::perplexity() const {
  return tokens > 0 ? std::exp(negative_log_likelihood / static_cast<double>(tokens)) : 0;
}

double PerplexitySum::standard_error() const {
  if (tokens < 2) return 0;
  const double n = static_cast<double>(tokens), mean = negative_log_likelihood / n;
  const double variance = squared / n - mean * mean;
  return variance > 0 ? std::sqrt(variance / (n - 1)) * perplexity() : 0;
}

Result<PerplexitySum> perplexity(const Compute& compute, std::span<const TokenId> ids, TokenId bos, std::int64_t window,
                                 std::int64_t max_windows, tensor::DType cache_type,
                                 const std::function<bool(const PerplexitySum&, std::int64_t)>& progress) {
  const auto count = static_cast<std::int64_t>(ids.size());
  if (count < 2 * window) {
    return fail(ErrorCode::invalid_argument,
                concat("perplexity: the text has ", count, " tokens; expected at least ", 2 * window,
                       " (two windows of ", window, "); give a longer text or a smaller --ctx"));
  }
  std::int64_t windows = count / window;
  if (max_windows > 0) windows = std::min(windows, max_windows);
  // Rows are scored a few at a time: logits of a whole half window would take 268 MB at 262,144 ids.
  constexpr std::int64_t kScoredRows = 64;
  const std::int64_t first = window / 2, vocab = compute.transformer.config().vocab_size;
  auto cache = model::KvCache::create(compute.transformer.config(), cache_type, window, std::max(first, kScoredRows));
  if (!cache) return forward(cache);
  PerplexitySum sum;
  std::vector<TokenId> tokens;
  for (std::int64_t w = 0; w < windows; ++w) {
    tokens.assign(ids.begin() + w * window, ids.begin() + (w + 1) * window);
    tokens[0] = bos;
    cache->truncate(0);
    while (cache->length() < window) {
      const std::int64_t begin = cache->length();
      const bool scored = begin >= first;
      const std::int64_t n = scored ? std::min(kScoredRows, window - begin) : first;
      const model::SequenceChunk chunk{
          &*cache, std::span(tokens).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(n)),
          scored ? 0 : n};
      auto logits = compute.transformer.forward(compute.context, compute.workspace, {&chunk, 1});
      if (!logits) return forward(logits);
      if (!scored) continue;
      for (std::int64_t i = 0; i < n && begin + i + 1 < window; ++i) {
        const auto row = logits->subspan(static_cast<std::size_t>(i * vocab), static_cast<std::size_t>(vocab));
        const double nll = -log_probability(row, tokens[static_cast<std::size_t>(begin + i + 1)]);
        sum.negative_log_likelihood += nll;
        sum.squared += nll * nll;
        ++sum.tokens;
      }
    }
    ++sum.windows;
    if (progress && !progress(sum, windows)) return fail(ErrorCode::cancelled, "perplexity was cancelled");
  }
  return sum;
}

}  // namespace carat::engine

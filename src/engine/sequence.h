// One sequence in a model: its ids, its cache, and how a new prompt reuses what the cache already holds.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <vector>

#include "carat/result.h"
#include "model/transformer.h"

namespace carat::engine {

using model::TokenId;

/// Told about prompt progress; returning false cancels.
using PromptProgress = std::function<bool(std::int64_t done, std::int64_t total)>;

/// What a computation runs with; the caller makes sure that one computes at a time.
struct Compute {
  const model::Transformer& transformer;
  const kernels::Context& context;
  model::Workspace& workspace;
};

/// Not thread-safe.
class Sequence {
 public:
  /// `snapshot_bytes` bounds the memory of ring snapshots kept for coming back to earlier turns.
  static Result<Sequence> create(const model::Config& config, tensor::DType cache_type, std::int64_t context_length,
                                 std::int64_t prompt_chunk, std::int64_t snapshot_bytes);

  /// Makes the cache hold exactly `prompt` and returns the logits after its last token, valid until the next
  /// computation. Keeps the longest usable prefix: all that is shared while the rings still reach back, else the latest
  /// snapshot within it. Requires a non-empty prompt that fits. Errors: cancelled (what was computed stays usable),
  /// not_finite.
  Result<std::span<const float>> prefill(const Compute& compute, std::span<const TokenId> prompt,
                                         const PromptProgress& progress);
  /// Appends one token and returns the logits after it.
  Result<std::span<const float>> decode(const Compute& compute, TokenId token);

  std::span<const TokenId> ids() const { return ids_; }
  std::int64_t reused_tokens() const { return reused_; }  ///< of the last prefill
  const model::KvCache& cache() const { return cache_; }
  void reset();

 private:
  std::int64_t rewind(std::int64_t common);
  void remember();

  model::KvCache cache_;
  std::vector<TokenId> ids_;
  std::vector<model::KvCache::RingSnapshot> snapshots_;  ///< by increasing length
  std::int64_t snapshot_bytes_ = 0;
  std::int64_t reused_ = 0;
};

}  // namespace carat::engine

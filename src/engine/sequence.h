// One sequence in a model: its ids, its cache, and how a new prompt reuses what the cache already holds.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
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

/// Rows of an encoder that stand in a prompt instead of tokens.
struct SoftRun {
  std::int64_t begin = 0, count = 0;  ///< prompt[begin … begin + count)
  std::string key;                    ///< equal keys, equal rows
  const float* rows = nullptr;        ///< [count, hidden_size], alive during prefill
  bool block = false;                 ///< of one image or frame
};

/// The most positions whose rows see one another in a prompt: the longest block, 0 where the model has none.
std::int64_t longest_block(const model::Config& config, std::span<const SoftRun> soft);

/// Not thread-safe.
class Sequence {
 public:
  /// `snapshot_bytes` bounds the memory of ring snapshots kept for coming back to earlier turns, `image_block` the
  /// longest_block of any prompt.
  static Result<Sequence> create(const model::Config& config, tensor::DType cache_type, std::int64_t context_length,
                                 std::int64_t prompt_chunk, std::int64_t snapshot_bytes, std::int64_t image_block = 0);

  /// Makes the cache hold exactly `prompt` and returns the logits after its last token, valid until the next
  /// computation. Keeps the longest usable prefix: all that is shared while the rings still reach back, else the latest
  /// snapshot within it. `soft` runs, in order and without overlap, stand for tokens. Requires a non-empty prompt that
  /// fits, and no block longer than the one the sequence was made for. Errors: cancelled (what was computed stays
  /// usable), not_finite.
  Result<std::span<const float>> prefill(const Compute& compute, std::span<const TokenId> prompt,
                                         const PromptProgress& progress, std::span<const SoftRun> soft = {});
  /// Appends one token and returns the logits after it.
  Result<std::span<const float>> decode(const Compute& compute, TokenId token);

  std::span<const TokenId> ids() const { return ids_; }
  std::int64_t reused_tokens() const { return reused_; }  ///< of the last prefill
  const model::KvCache& cache() const { return cache_; }
  void reset();

 private:
  std::int64_t shared_prefix(const model::Config& config, std::span<const TokenId> prompt,
                             std::span<const SoftRun> soft) const;
  std::int64_t rewind(std::int64_t common);
  void remember();

  model::KvCache cache_;
  std::vector<TokenId> ids_;
  std::vector<SoftRun> soft_;                            ///< those among ids_, without their rows
  std::vector<model::KvCache::RingSnapshot> snapshots_;  ///< by increasing length
  std::int64_t snapshot_bytes_ = 0;
  std::int64_t reused_ = 0;
};

}  // namespace carat::engine

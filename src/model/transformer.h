// The text decoder of the family: ids in, logits out. One direct forward pass that reads like the specification; what
// differs between members is data in Config.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "carat/result.h"
#include "kernels/ops.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/weights.h"
#include "model/workspace.h"

namespace carat::model {

/// Rows of an encoder that stand in for tokens: their values become the embedding as they are.
struct SoftRows {
  std::int64_t begin = 0, count = 0;  ///< tokens[begin … begin + count)
  const float* rows = nullptr;        ///< [count, hidden_size]
  bool block = false;  ///< of one image or frame: they see one another, where the model has it so (vision_blocks)
};

/// New tokens of one sequence: they take the positions cache->length() … and are appended to the cache.
struct SequenceChunk {
  KvCache* cache = nullptr;
  std::span<const TokenId> tokens;
  std::int64_t logits_from = 0;      ///< logits are wanted for tokens[logits_from …]; tokens.size() = for none
  std::span<const SoftRows> soft{};  ///< in order, without overlap; a block must lie in one chunk whole
};

/// Receives the named intermediates of a traced pass: name, dimensions, f32 values valid during the call.
using TraceSink = std::function<void(const std::string& name, std::span<const std::int64_t> dims, const float* values)>;

struct ForwardOptions {
  TraceSink trace;           ///< when set, every position passes every layer
  bool check_finite = true;  ///< fail at the first layer whose output holds a NaN or infinity
};

/// Immutable after construction; forward may run from several threads at once, each with its own Context and Workspace.
class Transformer {
 public:
  Transformer(Config config, Weights weights);

  const Config& config() const { return config_; }
  const Weights& weights() const { return weights_; }

  /// Runs the chunks of one or more sequences together. Returns the logits of the wanted rows in order, [rows,
  /// vocab_size], valid until the workspace is used again. Requires valid ids and room in each cache (checked by the
  /// engine). Errors: not_finite naming the first layer and position; the caches are then not extended.
  Result<std::span<const float>> forward(const kernels::Context& context, Workspace& workspace,
                                         std::span<const SequenceChunk> chunks,
                                         const ForwardOptions& options = {}) const;

 private:
  struct Pass;
  Config config_;
  Weights weights_;
  std::vector<RopeSpec> ropes_;                  ///< the distinct rotary embeddings, at most one per kind of layer
  std::vector<std::vector<float>> frequencies_;  ///< per entry of ropes_
  std::vector<std::size_t> layer_rope_;          ///< index into ropes_ per layer
};

}  // namespace carat::model

// What a forward pass must read and multiply, from the configuration and the weights alone: the yardstick of
// measurements.
#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/weights.h"

namespace carat::model {

/// `sequences` sequences of `tokens` new tokens each, behind `depth` positions; logits for the last `logit_rows` of
/// each.
struct PassShape {
  std::int64_t sequences = 1, tokens = 1, depth = 0, logit_rows = 1;
};

/// Every weight the pass needs is read once, however many tokens use it; cached keys and values are read once per
/// sequence. Experts are counted as if no two tokens chose the same one, up to all of them. Norms and activations count
/// nothing.
struct PassCost {
  std::int64_t weight_bytes = 0;    ///< matrices, and the rows of the embedding tables
  std::int64_t cache_bytes = 0;     ///< keys and values attended to
  std::int64_t weight_macs = 0;     ///< multiply-adds with weights
  std::int64_t attention_macs = 0;  ///< multiply-adds of queries with keys and of weights with values
  std::int64_t quantised_macs = 0;  ///< of weight_macs, those with quantised weights
  std::int64_t bf16_macs = 0;       ///< of weight_macs, those with bf16 weights

  PassCost& operator+=(const PassCost& other) {
    weight_bytes += other.weight_bytes;
    cache_bytes += other.cache_bytes;
    weight_macs += other.weight_macs;
    attention_macs += other.attention_macs;
    quantised_macs += other.quantised_macs;
    bf16_macs += other.bf16_macs;
    return *this;
  }
  std::int64_t bytes() const { return weight_bytes + cache_bytes; }
  std::int64_t macs() const { return weight_macs + attention_macs; }
};

PassCost pass_cost(const Config& config, const Weights& weights, tensor::DType cache_type, const PassShape& shape);

}  // namespace carat::model

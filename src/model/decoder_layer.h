// One decoder layer over the rows in flight, and the blocks it is made of (reference: Gemma4TextDecoderLayer.forward).
#pragma once

#include <cstdint>
#include <span>

#include "kernels/ops.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/weights.h"
#include "model/workspace.h"

namespace carat::model {

/// Everything the blocks of one layer work with. The residual stream is workspace.x, changed in place.
struct LayerPass {
  const Config& config;
  const LayerSpec& spec;
  const LayerWeights& weights;
  std::int64_t index;
  const kernels::Context& context;
  Workspace& w;

  std::span<const float> cos{}, sin{};     ///< [T, rotated_pairs] for this layer's rope
  const float* per_layer_input = nullptr;  ///< first row's per-layer input of this layer, or nullptr
  std::int64_t per_layer_stride = 0;       ///< floats between two rows of it
  bool keys_stored = false;                ///< keys and values are in the cache already

  std::int64_t hidden() const { return config.hidden_size; }
  std::int64_t rows() const { return w.rows.count; }
};

/// The whole layer: attention, MLP (and experts), per-layer input, layer scalar.
void decoder_layer(LayerPass& pass);

/// Computes and stores keys and values of all rows in flight; what the other rows of a layer need before they stop.
void store_keys_and_values(LayerPass& pass);

/// workspace.x += norm(attention(norm(x))).
void attention_block(LayerPass& pass);
/// workspace.x += norm(mlp(norm(x))), with the experts' branch where the layer has one.
void feedforward_block(LayerPass& pass);
/// out [T, hidden] = sum over the chosen experts of the rows of workspace.x (reference: Gemma4TextRouter, TextExperts).
void mixture_of_experts(LayerPass& pass, std::vector<float>& out);
/// workspace.x += norm(W_proj (gelu(W_gate x) * per-layer input)).
void per_layer_embedding_block(LayerPass& pass);

}  // namespace carat::model

// The vision tower: image patches in, pooled soft tokens out (reference: Gemma4VisionModel).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "carat/result.h"
#include "kernels/ops.h"
#include "model/encoder_config.h"
#include "model/encoder_loader.h"

namespace carat::model {

/// Told about encoded layers; returning false cancels.
using EncodeProgress = std::function<bool(std::int64_t done, std::int64_t total)>;

/// Immutable after loading; any number of threads may encode, each with its own context.
class VisionTower {
 public:
  static VisionTower load(EncoderLoader& loader, const VisionTowerConfig& config, float eps);

  /// patches [P, patch_size^2 * 3] in 0 … 1, rows then columns then channels; positions [P, 2] (x, y) of a whole grid,
  /// both sides multiples of the pooling. Returns [P / pooling^2, hidden_size], pooled, scaled and standardised.
  /// Errors: invalid_argument when a position lies outside the table or the grid is not whole; cancelled.
  Result<std::vector<float>> encode(const kernels::Context& context, std::span<const float> patches,
                                    std::span<const std::int32_t> positions, const EncodeProgress& progress) const;

  const VisionTowerConfig& config() const { return config_; }

 private:
  struct Layer {
    std::vector<float> input_layernorm, post_attention_layernorm, pre_feedforward_layernorm, post_feedforward_layernorm;
    std::vector<float> q_norm, k_norm;
    ClippedLinear q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj;
  };
  struct Scratch;

  void layer(const kernels::Context& context, const Layer& w, Scratch& s) const;
  std::vector<float> pool(const Scratch& s, std::span<const std::int32_t> positions, std::int64_t columns) const;

  VisionTowerConfig config_;
  float eps_ = 1e-6F;
  std::vector<float> input_proj_values_;  ///< where the file's order of a patch's values is another
  kernels::PackedMatrix input_proj_;
  std::vector<float> position_embedding_table_;  ///< [2, position_embedding_size, hidden_size]
  std::vector<Layer> layers_;
  std::vector<float> std_bias_, std_scale_;
};

}  // namespace carat::model

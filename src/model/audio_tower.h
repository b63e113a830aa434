// The audio tower: mel frames in, soft tokens of 40 ms out (reference: Gemma4AudioModel).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/raw_vector.h"
#include "carat/result.h"
#include "kernels/ops.h"
#include "model/encoder_config.h"
#include "model/encoder_loader.h"
#include "model/vision_tower.h"

namespace carat::model {

/// Immutable after loading; any number of threads may encode, each with its own context.
class AudioTower {
 public:
  static AudioTower load(EncoderLoader& loader, const AudioTowerConfig& config, float eps);

  /// mel [frames, mel_bins], all of them valid. Returns [frames / 4 rounded up, output_proj_dims]. Errors:
  /// invalid_argument without frames; cancelled.
  Result<std::vector<float>> encode(const kernels::Context& context, std::span<const float> mel,
                                    const EncodeProgress& progress) const;

  const AudioTowerConfig& config() const { return config_; }

 private:
  struct FeedForward {
    std::vector<float> pre_layer_norm, post_layer_norm;
    ClippedLinear ffw_layer_1, ffw_layer_2;
  };
  struct Layer {
    FeedForward feed_forward1, feed_forward2;
    std::vector<float> norm_pre_attn, norm_post_attn, norm_out;
    ClippedLinear q_proj, k_proj, v_proj, post;
    kernels::PackedMatrix relative_k_proj;
    std::vector<float> query_scale;  ///< [head_dim] head_dim^-0.5 / ln 2 * softplus(per_dim_scale)
    std::vector<float> conv_pre_norm, conv_norm;
    ClippedLinear linear_start, linear_end;
    std::vector<float> depthwise;  ///< [kernel, hidden_size]
  };
  struct Convolution {
    std::vector<float> values;  ///< [out, in * 9] in f32
    kernels::PackedMatrix kernel;
    std::vector<float> norm;
  };
  struct Scratch;
  struct Grid {
    const float* values;  ///< [times, bins, channels]
    std::int64_t times, bins, channels;
  };

  static FeedForward load_feed_forward(EncoderLoader& loader, std::int64_t index, bool second, std::int64_t hidden);
  void convolve(const kernels::Context& context, const Convolution& w, const Grid& in, std::int64_t in_first,
                std::int64_t first, std::int64_t count, float* out, base::RawVector<float>& gathered) const;
  void subsample(const kernels::Context& context, std::span<const float> mel, Scratch& s) const;
  void feed_forward(const kernels::Context& context, const FeedForward& w, Scratch& s) const;
  void attention(const kernels::Context& context, const Layer& w, Scratch& s) const;
  void light_conv(const kernels::Context& context, const Layer& w, Scratch& s) const;

  AudioTowerConfig config_;
  float eps_ = 1e-6F;
  Convolution conv_[2];
  kernels::PackedMatrix input_proj_, output_proj_;
  std::vector<float> output_bias_;
  std::vector<Layer> layers_;
};

}  // namespace carat::model

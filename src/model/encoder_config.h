// The media encoders of a checkpoint as data: which there are and how wide they are.
#pragma once

#include <cstdint>
#include <optional>

#include "carat/result.h"
#include "formats/checkpoint.h"
#include "model/config.h"

namespace carat::model {

/// A transformer over image patches, pooled to soft tokens (E2B, E4B, 26B, 31B; Gemma4VisionConfig).
struct VisionTowerConfig {
  std::int64_t hidden_size = 0, intermediate_size = 0, num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0, head_dim = 0;
  std::int64_t patch_size = 16, pooling_kernel_size = 3;
  std::int64_t position_embedding_size = 0;
  double rope_theta = 100;
  bool standardize = false;
};

/// One dense layer over raw pixels, a token each (12B; Gemma4UnifiedVisionConfig).
struct VisionEmbedderConfig {
  std::int64_t patch_size = 16, pooling_kernel_size = 3;  ///< a token is a square of their product
  std::int64_t mm_embed_dim = 0, mm_posemb_size = 0;
};

/// A conformer over mel frames (E2B, E4B; Gemma4AudioConfig).
struct AudioTowerConfig {
  std::int64_t hidden_size = 0, num_hidden_layers = 0, num_attention_heads = 0;
  std::int64_t conv_channels[2] = {0, 0};
  std::int64_t conv_kernel_size = 5;
  std::int64_t attention_context_left = 13;  ///< a frame sees this many less one, itself included (as the reference)
  float attention_logit_cap = 50, residual_weight = 0.5F;
  std::int64_t output_proj_dims = 0;
  std::int64_t mel_bins = 128;
};

/// Raw samples, a token each run of `audio_embed_dim` (12B; Gemma4UnifiedAudioConfig).
struct AudioEmbedderConfig {
  std::int64_t audio_embed_dim = 640;
};

/// How pictures are cut for a model: patches of patch_size pixels, pooling^2 of them a token; `merged` when a whole
/// token is one patch.
struct ImageFormat {
  std::int64_t patch_size = 16, pooling = 3;
  bool merged = false;
};

/// What a model hears: mel frames, or runs of samples when `samples_per_token` is set.
struct SoundFormat {
  std::int64_t mel_bins = 128;
  std::int64_t samples_per_token = 0;
};

struct EncoderConfig {
  std::optional<VisionTowerConfig> vision_tower;
  std::optional<VisionEmbedderConfig> vision_embedder;
  std::optional<AudioTowerConfig> audio_tower;
  std::optional<AudioEmbedderConfig> audio_embedder;
  float rms_norm_eps = 1e-6F;
  std::int64_t image_budget = 280;  ///< soft tokens of a picture where nobody asks for a number: processor_config.json

  std::optional<ImageFormat> image_format() const;  ///< nothing for a model that sees no images
  std::optional<SoundFormat> sound_format() const;  ///< nothing for a model that hears no sound
};

/// Reads what encoders a checkpoint has: those of config.json, or those of a GGUF projector file. All empty where there
/// are none or the family's Carat does not read (Gemma 3). Errors: bad_file, unsupported, each naming file, key, found
/// and expected.
Result<EncoderConfig> read_encoder_config(const formats::Checkpoint& checkpoint);

}  // namespace carat::model

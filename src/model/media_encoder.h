// Everything of a model that turns media into rows of its embedding: towers or embedders, and the projectors.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "carat/result.h"
#include "model/audio_tower.h"
#include "model/vision_tower.h"

namespace carat::model {

/// The soft tokens of one image, frame or sound.
struct SoftTokens {
  std::int64_t count = 0;
  std::vector<float> tower;      ///< [count, tower width] what the encoder gives, before the projector's norm
  std::vector<float> projected;  ///< [count, hidden_size of the text decoder] rows for the embedding
};

/// What a model takes in besides text: pictures and frames, or sound.
enum class Modality : std::uint8_t { vision, audio };

/// Immutable after loading; the checkpoint must outlive it. Any number of threads may encode, each with its own
/// context.
class MediaEncoder {
 public:
  /// `hidden_size` of the text decoder; with a pool, matrices are packed. With `only` one modality is loaded, and
  /// config() has nothing of the other. Errors: those of read_encoder_config; bad_file naming tensor, found and
  /// expected shape.
  static Result<MediaEncoder> load(const formats::Checkpoint& checkpoint, std::int64_t hidden_size,
                                   const kernels::KernelTable& table, base::ThreadPool* pack_with = nullptr,
                                   std::optional<Modality> only = std::nullopt);

  const EncoderConfig& config() const { return config_; }
  /// patches [P, values of a patch] in 0 … 1 and positions [P, 2]: columns and rows. Requires a config with
  /// image_format().
  Result<SoftTokens> encode_image(const kernels::Context& context, std::span<const float> patches,
                                  std::span<const std::int32_t> positions, const EncodeProgress& progress = {}) const;
  /// Mel frames [frames, mel_bins], or runs of samples [tokens, samples_per_token]. Requires a config with
  /// sound_format().
  Result<SoftTokens> encode_sound(const kernels::Context& context, std::span<const float> features,
                                  const EncodeProgress& progress = {}) const;

 private:
  struct VisionEmbedder {
    std::vector<float> ln1_weight, ln1_bias, ln2_weight, ln2_bias, pos_norm_weight, pos_norm_bias, dense_bias;
    std::vector<float> dense_values;  ///< where the file's order of a patch's values is another
    kernels::PackedMatrix dense;
    std::vector<float> pos_embedding;  ///< [mm_posemb_size, 2, mm_embed_dim]
  };
  Result<std::vector<float>> embed_patches(const kernels::Context& context, std::span<const float> patches,
                                           std::span<const std::int32_t> positions) const;
  void load_vision_embedder(EncoderLoader& loader);
  SoftTokens project(const kernels::Context& context, std::vector<float> tower, std::int64_t width,
                     const kernels::PackedMatrix& projection) const;

  EncoderConfig config_;
  std::int64_t hidden_size_ = 0;
  WeightMemory memory_;
  std::optional<VisionTower> vision_tower_;
  std::optional<AudioTower> audio_tower_;
  VisionEmbedder vision_embedder_;
  kernels::PackedMatrix vision_projection_, audio_projection_;
};

}  // namespace carat::model

#include "model/media_encoder.h"

#include <algorithm>

#include "base/concat.h"

namespace carat::model {

using base::concat;

void MediaEncoder::load_vision_embedder(EncoderLoader& loader) {
  const VisionEmbedderConfig& v = *config_.vision_embedder;
  const std::int64_t side = v.patch_size * v.pooling_kernel_size, pixels = side * side, width = v.mm_embed_dim;
  VisionEmbedder& e = vision_embedder_;
  const auto at = [&](std::string_view huggingface, std::string_view gguf) {
    return loader.name({concat("vision_embedder.", huggingface), concat("v.", gguf)});
  };
  e.ln1_weight = loader.vector(at("patch_ln1.weight", "patch_norm.1.weight"), pixels * 3);
  e.ln1_bias = loader.vector(at("patch_ln1.bias", "patch_norm.1.bias"), pixels * 3);
  e.ln2_weight = loader.vector(at("patch_ln2.weight", "patch_norm.2.weight"), width);
  e.ln2_bias = loader.vector(at("patch_ln2.bias", "patch_norm.2.bias"), width);
  e.pos_norm_weight = loader.vector(at("pos_norm.weight", "patch_norm.3.weight"), width);
  e.pos_norm_bias = loader.vector(at("pos_norm.bias", "patch_norm.3.bias"), width);
  e.dense_bias = loader.vector(at("patch_dense.bias", "patch_embd.bias"), width);
  const std::string dense = at("patch_dense.weight", "patch_embd.weight"),
                    table = at("pos_embedding", "position_embd.weight");
  if (!loader.gguf()) {
    e.dense = loader.matrix(dense, width, pixels * 3);
    e.pos_embedding = loader.values(table, tensor::Shape{v.mm_posemb_size, 2, width});
    return;
  }
  // A projector file has channels first in patches, and the axis before the position in the table.
  const auto channels_last = [&](const std::vector<float>& stored) {
    std::vector<float> out(stored.size());
    const auto count = static_cast<std::size_t>(pixels);
    for (std::size_t i = 0; i < stored.size(); ++i) {
      out[i / (3 * count) * 3 * count + i % count * 3 + i / count % 3] = stored[i];
    }
    return out;
  };
  e.ln1_weight = channels_last(e.ln1_weight);
  e.ln1_bias = channels_last(e.ln1_bias);
  e.dense_values = channels_last(loader.values(dense, tensor::Shape{width, pixels * 3}));
  const tensor::TensorView view{tensor::DType::f32, tensor::Shape{width, pixels * 3},
                                reinterpret_cast<const std::byte*>(e.dense_values.data())};
  if (!loader.error()) e.dense = loader.packed(view, dense);
  const auto stored = loader.values(table, tensor::Shape{2, v.mm_posemb_size, width});
  e.pos_embedding.resize(stored.size());
  const auto row = static_cast<std::size_t>(width), rows = static_cast<std::size_t>(v.mm_posemb_size);
  for (std::size_t i = 0; i < stored.size() / std::max<std::size_t>(row, 1); ++i) {
    const std::size_t axis = i / rows, position = i % rows;
    std::copy_n(stored.begin() + static_cast<std::ptrdiff_t>(i * row), row,
                e.pos_embedding.begin() + static_cast<std::ptrdiff_t>((position * 2 + axis) * row));
  }
}

Result<MediaEncoder> MediaEncoder::load(const formats::Checkpoint& checkpoint, std::int64_t hidden_size,
                                        const kernels::KernelTable& table, base::ThreadPool* pack_with,
                                        std::optional<Modality> only) {
  auto config = read_encoder_config(checkpoint);
  if (!config) return forward(config);
  if (only == Modality::audio) {
    config->vision_tower.reset();
    config->vision_embedder.reset();
  } else if (only == Modality::vision) {
    config->audio_tower.reset();
    config->audio_embedder.reset();
  }
  MediaEncoder out;
  out.config_ = *config;
  out.hidden_size_ = hidden_size;
  EncoderLoader loader(checkpoint, table, pack_with, out.memory_);
  std::int64_t vision_width = 0, audio_width = 0;
  if (config->vision_tower) {
    out.vision_tower_ = VisionTower::load(loader, *config->vision_tower, config->rms_norm_eps);
    vision_width = config->vision_tower->hidden_size;
  } else if (config->vision_embedder) {
    out.load_vision_embedder(loader);
    vision_width = config->vision_embedder->mm_embed_dim;
  }
  if (config->audio_tower) {
    out.audio_tower_ = AudioTower::load(loader, *config->audio_tower, 1e-6F);
    audio_width = config->audio_tower->output_proj_dims;
  } else if (config->audio_embedder) {
    audio_width = config->audio_embedder->audio_embed_dim;
  }
  if (vision_width > 0) {
    out.vision_projection_ =
        loader.matrix(loader.name({"embed_vision.embedding_projection.weight", "mm.input_projection.weight"}),
                      hidden_size, vision_width);
  }
  if (audio_width > 0) {
    out.audio_projection_ =
        loader.matrix(loader.name({"embed_audio.embedding_projection.weight", "mm.a.input_projection.weight"}),
                      hidden_size, audio_width);
  }
  if (loader.error()) return std::unexpected(*loader.error());
  return out;
}

// LN3(LN2(W LN1(p) + b) + table[x][0] + table[y][1]) (reference: Gemma4UnifiedVisionEmbedder).
Result<std::vector<float>> MediaEncoder::embed_patches(const kernels::Context& context, std::span<const float> patches,
                                                       std::span<const std::int32_t> positions) const {
  constexpr float kLayerNormEps = 1e-5F;  // torch.nn.LayerNorm's default
  const VisionEmbedderConfig& v = *config_.vision_embedder;
  const VisionEmbedder& e = vision_embedder_;
  const auto rows = static_cast<std::int64_t>(positions.size() / 2);
  const std::int64_t side = v.patch_size * v.pooling_kernel_size, in = side * side * 3, width = v.mm_embed_dim;
  for (const std::int32_t position : positions) {
    if (position < 0 || position >= v.mm_posemb_size) {
      return fail(ErrorCode::invalid_argument, concat("image: a patch lies at ", position, "; the position table has ",
                                                      v.mm_posemb_size, " entries"));
    }
  }
  std::vector<float> normed(static_cast<std::size_t>(rows * in)), out(static_cast<std::size_t>(rows * width));
  kernels::layer_norm(context, patches.data(), rows, in, e.ln1_weight.data(), e.ln1_bias.data(), kLayerNormEps,
                      normed.data());
  const kernels::MatmulTarget target{&e.dense, out.data(), 0};
  kernels::matmul(context, normed.data(), rows, {&target, 1});
  for (std::int64_t t = 0; t < rows; ++t) kernels::add(context, out.data() + t * width, e.dense_bias.data(), width);
  kernels::layer_norm(context, out.data(), rows, width, e.ln2_weight.data(), e.ln2_bias.data(), kLayerNormEps,
                      out.data());
  for (std::int64_t t = 0; t < rows; ++t) {
    for (std::int64_t axis = 0; axis < 2; ++axis) {
      const std::int64_t at = positions[static_cast<std::size_t>(2 * t + axis)];
      kernels::add(context, out.data() + t * width, e.pos_embedding.data() + (at * 2 + axis) * width, width);
    }
  }
  kernels::layer_norm(context, out.data(), rows, width, e.pos_norm_weight.data(), e.pos_norm_bias.data(), kLayerNormEps,
                      out.data());
  return out;
}

// A weightless norm, then a linear layer (reference: Gemma4MultimodalEmbedder).
SoftTokens MediaEncoder::project(const kernels::Context& context, std::vector<float> tower, std::int64_t width,
                                 const kernels::PackedMatrix& projection) const {
  SoftTokens out;
  out.count = static_cast<std::int64_t>(tower.size()) / width;
  std::vector<float> normed(tower.size());
  kernels::rms_norm(context, tower.data(), out.count, width, nullptr, config_.rms_norm_eps, normed.data());
  out.projected.resize(static_cast<std::size_t>(out.count * hidden_size_));
  const kernels::MatmulTarget target{&projection, out.projected.data(), 0};
  kernels::matmul(context, normed.data(), out.count, {&target, 1});
  out.tower = std::move(tower);
  return out;
}

Result<SoftTokens> MediaEncoder::encode_image(const kernels::Context& context, std::span<const float> patches,
                                              std::span<const std::int32_t> positions,
                                              const EncodeProgress& progress) const {
  auto tower = vision_tower_ ? vision_tower_->encode(context, patches, positions, progress)
                             : embed_patches(context, patches, positions);
  if (!tower) return forward(tower);
  const std::int64_t width =
      vision_tower_ ? vision_tower_->config().hidden_size : config_.vision_embedder->mm_embed_dim;
  return project(context, std::move(*tower), width, vision_projection_);
}

Result<SoftTokens> MediaEncoder::encode_sound(const kernels::Context& context, std::span<const float> features,
                                              const EncodeProgress& progress) const {
  if (!audio_tower_) {
    return project(context, {features.begin(), features.end()}, config_.audio_embedder->audio_embed_dim,
                   audio_projection_);
  }
  auto tower = audio_tower_->encode(context, features, progress);
  if (!tower) return forward(tower);
  return project(context, std::move(*tower), audio_tower_->config().output_proj_dims, audio_projection_);
}

}  // namespace carat::model

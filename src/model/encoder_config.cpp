#include "model/encoder_config.h"

#include "base/concat.h"
#include "model/config_reader.h"
#include "model/json_fields.h"

namespace carat::model {
namespace {

using base::concat;
using formats::Json;

// A sub-object of config.json, or nullptr where it is missing or null.
const Json* object_at(const Json& json, const char* key) {
  if (!json.is_object() || !json.contains(key) || json.at(key).is_null()) return nullptr;
  return &json.at(key);
}

void expect_text(Fields& f, const char* key, std::string_view expected) {
  const std::string found = f.text(key, std::string(expected));
  if (found != expected) {
    f.note(ErrorCode::unsupported, concat(key, " is \"", found.substr(0, 60), "\"; expected ", expected));
  }
}

VisionTowerConfig read_vision_tower(Fields& f, float& eps) {
  VisionTowerConfig out;
  out.hidden_size = f.integer("hidden_size", 1, kMaxWidth, 768);
  out.intermediate_size = f.integer("intermediate_size", 1, kMaxWidth, 3072);
  out.num_hidden_layers = f.integer("num_hidden_layers", 1, kMaxLayers, 16);
  out.num_attention_heads = f.integer("num_attention_heads", 1, kMaxHeads, 12);
  out.head_dim = f.integer("head_dim", 4, kMaxWidth, 64);
  if (out.head_dim % 4 != 0) f.wrong("head_dim", "a multiple of 4");
  if (f.integer("num_key_value_heads", 1, kMaxHeads, out.num_attention_heads) != out.num_attention_heads) {
    f.wrong("num_key_value_heads", "num_attention_heads");
  }
  out.patch_size = f.integer("patch_size", 1, 256, 16);
  out.pooling_kernel_size = f.integer("pooling_kernel_size", 1, 64, 3);
  out.position_embedding_size = f.integer("position_embedding_size", 1, kMaxPositions, 10240);
  out.standardize = f.boolean("standardize", false);
  eps = static_cast<float>(f.number("rms_norm_eps", 1e-6));
  expect_text(f, "hidden_activation", "gelu_pytorch_tanh");
  if (f.has("rope_parameters") && f.at("rope_parameters").is_object()) {
    const Json& rope = f.at("rope_parameters");
    if (rope.contains("rope_theta") && rope.at("rope_theta").is_number()) {
      out.rope_theta = rope.at("rope_theta").get<double>();
    }
  }
  if (!(out.rope_theta > 1)) f.note(ErrorCode::bad_file, "rope_parameters.rope_theta must be above 1");
  return out;
}

AudioTowerConfig read_audio_tower(Fields& f) {
  AudioTowerConfig out;
  out.hidden_size = f.integer("hidden_size", 2, kMaxWidth, 1024);
  out.num_hidden_layers = f.integer("num_hidden_layers", 1, kMaxLayers, 12);
  out.num_attention_heads = f.integer("num_attention_heads", 1, kMaxHeads, 8);
  if (out.hidden_size % (2 * out.num_attention_heads) != 0) {
    f.note(ErrorCode::bad_file, concat("hidden_size is ", out.hidden_size, " over ", out.num_attention_heads,
                                       " attention heads; expected an even number for each"));
  }
  out.conv_channels[0] = 128;
  out.conv_channels[1] = 32;
  if (f.has("subsampling_conv_channels")) {
    const Json& list = f.at("subsampling_conv_channels");
    for (std::size_t i = 0; i < 2; ++i) {
      if (!list.is_array() || list.size() != 2 || !list[i].is_number_unsigned() ||
          list[i].get<std::uint64_t>() > static_cast<std::uint64_t>(kMaxWidth) || list[i].get<std::uint64_t>() == 0) {
        f.wrong("subsampling_conv_channels", "two positive numbers");
        break;
      }
      out.conv_channels[i] = list[i].get<std::int64_t>();
    }
  }
  // The reference ties the width of its input to the channels: two halvings leave channels[0] / 4 bins.
  out.mel_bins = out.conv_channels[0];
  if (out.mel_bins % 4 != 0) f.wrong("subsampling_conv_channels", "a first number divisible by 4");
  out.conv_kernel_size = f.integer("conv_kernel_size", 1, 64, 5);
  out.attention_context_left = f.integer("attention_context_left", 2, 4096, 13);
  if (f.integer("attention_context_right", 0, 4096, 0) != 0) f.wrong("attention_context_right", "0");
  const std::int64_t chunk = f.integer("attention_chunk_size", 1, 4096, 12);
  if (chunk + 1 < out.attention_context_left) f.wrong("attention_chunk_size", "attention_context_left - 1 or more");
  out.attention_logit_cap = static_cast<float>(f.number("attention_logit_cap", 50.0));
  if (!(out.attention_logit_cap > 0)) f.wrong("attention_logit_cap", "a positive number");
  out.residual_weight = static_cast<float>(f.number("residual_weight", 0.5));
  out.output_proj_dims = f.integer("output_proj_dims", 1, kMaxWidth, 1536);
  expect_text(f, "hidden_act", "silu");
  return out;
}

Result<EncoderConfig> read_huggingface(const formats::Checkpoint& checkpoint) {
  const Json& json = checkpoint.config();
  EncoderConfig out;
  const std::string file = (checkpoint.path() / "config.json").string();
  const auto read = [&](const char* key, const auto& how) -> Result<void> {
    const Json* object = object_at(json, key);
    if (object == nullptr) return {};
    if (!object->is_object()) return fail(ErrorCode::bad_file, concat(file, ": ", key, " is no object"));
    Fields fields(*object, concat(file, ": ", key));
    how(fields);
    if (fields.error()) return std::unexpected(*fields.error());
    return {};
  };
  std::string type;
  if (json.is_object() && json.contains("model_type") && json.at("model_type").is_string()) {
    type = json.at("model_type").get<std::string>();
  }
  Result<void> vision, audio;
  if (type == "gemma4") {
    vision = read("vision_config", [&](Fields& f) { out.vision_tower = read_vision_tower(f, out.rms_norm_eps); });
    audio = read("audio_config", [&](Fields& f) { out.audio_tower = read_audio_tower(f); });
  } else if (type == "gemma4_unified") {
    vision = read("vision_config", [&](Fields& f) {
      VisionEmbedderConfig v;
      v.patch_size = f.integer("patch_size", 1, 256, 16);
      v.pooling_kernel_size = f.integer("pooling_kernel_size", 1, 64, 3);
      v.mm_embed_dim = f.integer("mm_embed_dim", 1, kMaxWidth, 3840);
      v.mm_posemb_size = f.integer("mm_posemb_size", 1, kMaxPositions, 1120);
      if (f.integer("output_proj_dims", 1, kMaxWidth, v.mm_embed_dim) != v.mm_embed_dim) {
        f.wrong("output_proj_dims", "mm_embed_dim");
      }
      out.vision_embedder = v;
    });
    audio = read("audio_config", [&](Fields& f) {
      out.audio_embedder = AudioEmbedderConfig{f.integer("audio_embed_dim", 1, kMaxWidth, 640)};
    });
  }
  if (!vision) return forward(vision);
  if (!audio) return forward(audio);
  return out;
}

}  // namespace

std::optional<ImageFormat> EncoderConfig::image_format() const {
  if (vision_tower) {
    return ImageFormat{vision_tower->patch_size, vision_tower->pooling_kernel_size, false};
  }
  if (vision_embedder) {
    return ImageFormat{vision_embedder->patch_size, vision_embedder->pooling_kernel_size, true};
  }
  return std::nullopt;
}

std::optional<SoundFormat> EncoderConfig::sound_format() const {
  if (audio_tower) return SoundFormat{audio_tower->mel_bins, 0};
  if (audio_embedder) return SoundFormat{0, audio_embedder->audio_embed_dim};
  return std::nullopt;
}

Result<EncoderConfig> read_encoder_config(const formats::Checkpoint& checkpoint) {
  if (checkpoint.format() == formats::Format::gguf) return EncoderConfig{};
  return read_huggingface(checkpoint);
}

}  // namespace carat::model

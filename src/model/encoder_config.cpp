#include "model/encoder_config.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <tuple>

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
  if (const Json* images = object_at(checkpoint.processor_config(), "image_processor");
      images != nullptr && images->is_object()) {
    Fields fields(*images, concat((checkpoint.path() / "processor_config.json").string(), ": image_processor"));
    out.image_budget = fields.integer("max_soft_tokens", 1, kMaxPositions, out.image_budget);
    if (fields.error()) return std::unexpected(*fields.error());
  }
  return out;
}

// A projector file says little in its metadata that its tensors do not say themselves. llama.cpp's converter and
// ollama's give most of them the same names.
Result<EncoderConfig> read_gguf(const formats::Checkpoint& checkpoint) {
  const std::string file = checkpoint.path().string();
  std::optional<Error> error;
  const auto shape = [&](const std::string& name, std::size_t rank) -> std::array<std::int64_t, 4> {
    std::array<std::int64_t, 4> out = {1, 1, 1, 1};
    const formats::NamedTensor* found = checkpoint.find(name);
    const bool good =
        found != nullptr && found->view.shape.rank() == rank &&
        std::ranges::all_of(found->view.shape.dims(), [](std::int64_t d) { return d >= 1 && d <= kMaxVocab; });
    if (good) {
      std::ranges::copy(found->view.shape.dims(), out.begin());
    } else if (!error) {
      error = Error{ErrorCode::bad_file,
                    concat(file, ": tensor ", name,
                           found == nullptr ? " is missing" : concat(" has shape ", found->view.shape.text()),
                           "; expected ", rank, " positive dimensions")};
    }
    return out;
  };
  const auto layers = [&](std::string_view prefix, std::string_view suffix) {
    std::int64_t count = 0;
    while (count < kMaxLayers && checkpoint.find(concat(prefix, count, ".", suffix)) != nullptr) ++count;
    return count;
  };
  const formats::GgufMetadata& metadata = checkpoint.metadata();
  for (const auto& [key, first, second] : {std::tuple{"clip.vision.projector_type", "gemma4v", "gemma4uv"},
                                           std::tuple{"clip.audio.projector_type", "gemma4a", "gemma4ua"}}) {
    const auto type = metadata.text(key);
    if (!type) return std::unexpected(type.error());
    if (*type && **type != first && **type != second) {
      return fail(ErrorCode::unsupported, concat(file, ": ", key, " is ", std::string(**type).substr(0, 60),
                                                 "; expected ", first, " or ", second));
    }
  }
  EncoderConfig out;
  std::int64_t pooling = 3;
  for (const char* key : {"clip.vision.projector.scale_factor", "gemma4.vision.projector.scale_factor"}) {
    const auto found = metadata.integer(key);
    if (!found) return std::unexpected(found.error());
    if (!*found) continue;
    if (**found < 1 || **found > 64) {
      return fail(ErrorCode::bad_file, concat(file, ": ", key, " is ", **found, "; expected 1 to 64"));
    }
    pooling = **found;
  }
  if (checkpoint.find("v.blk.0.ln1.weight") != nullptr) {
    VisionTowerConfig v;
    v.hidden_size = shape("v.blk.0.ln1.weight", 1)[0];
    v.intermediate_size = shape("v.blk.0.ffn_gate.weight", 2)[0];
    v.num_hidden_layers = layers("v.blk.", "ln1.weight");
    v.head_dim = shape("v.blk.0.attn_q_norm.weight", 1)[0];
    v.num_attention_heads = shape("v.blk.0.attn_q.weight", 2)[0] / v.head_dim;
    v.patch_size = shape("v.patch_embd.weight", 4)[3];
    v.pooling_kernel_size = pooling;
    v.position_embedding_size = shape("v.position_embd.weight", 3)[1];
    v.standardize = checkpoint.find("v.std_bias") != nullptr;
    if (!error && (v.head_dim % 4 != 0 || v.num_attention_heads < 1 || v.patch_size > 256)) {
      error =
          Error{ErrorCode::bad_file, concat(file, ": the vision tower has heads of ", v.head_dim, ", ",
                                            v.num_attention_heads, " of them, and patches of ", v.patch_size,
                                            "; expected heads of a multiple of 4, one or more, and patches up to 256")};
    }
    out.vision_tower = v;
  } else if (checkpoint.find("v.patch_norm.1.weight") != nullptr) {
    VisionEmbedderConfig v;
    const std::int64_t values = shape("v.patch_norm.1.weight", 1)[0];
    std::int64_t side = 1;
    while (3 * side * side < values) ++side;
    v.pooling_kernel_size = pooling;
    v.patch_size = side / pooling;
    v.mm_embed_dim = shape("v.patch_norm.2.weight", 1)[0];
    v.mm_posemb_size = shape("v.position_embd.weight", 3)[1];
    if (!error && (3 * side * side != values || v.patch_size * pooling != side)) {
      error = Error{ErrorCode::bad_file, concat(file, ": v.patch_norm.1.weight has ", values,
                                                " values; expected 3 for each pixel of a square of whole patches")};
    }
    out.vision_embedder = v;
  }
  if (checkpoint.find("a.blk.0.ffn_norm.weight") != nullptr) {
    AudioTowerConfig a;
    a.hidden_size = shape("a.blk.0.ffn_norm.weight", 1)[0];
    a.num_hidden_layers = layers("a.blk.", "ffn_norm.weight");
    const std::int64_t head_dim = shape("a.blk.0.per_dim_scale.weight", 1)[0];
    a.num_attention_heads = a.hidden_size / head_dim;
    a.conv_channels[0] = shape("a.conv1d.0.weight", 4)[0];
    a.conv_channels[1] = shape("a.conv1d.1.weight", 4)[0];
    a.mel_bins = a.conv_channels[0];
    a.conv_kernel_size = shape("a.blk.0.conv_dw.weight", 2)[1];
    const bool renamed = checkpoint.find("mm.a.fc.weight") != nullptr;
    a.output_proj_dims = shape(renamed ? "mm.a.fc.weight" : "a.pre_encode.out.weight", 2)[0];
    if (!error &&
        (a.num_attention_heads * head_dim != a.hidden_size || a.hidden_size % 2 != 0 || a.mel_bins % 4 != 0)) {
      error = Error{ErrorCode::bad_file, concat(file, ": the audio tower is ", a.hidden_size, " wide with heads of ",
                                                head_dim, " and ", a.mel_bins,
                                                " channels; expected whole heads, an even width and "
                                                "channels divisible by 4")};
    }
    out.audio_tower = a;
  } else if (checkpoint.find("mm.a.input_projection.weight") != nullptr) {
    out.audio_embedder = AudioEmbedderConfig{shape("mm.a.input_projection.weight", 2)[1]};
  }
  if (error) return std::unexpected(*error);
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
  return checkpoint.format() == formats::Format::gguf ? read_gguf(checkpoint) : read_huggingface(checkpoint);
}

}  // namespace carat::model

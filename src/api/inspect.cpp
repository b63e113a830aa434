// carat::Checkpoint::inspect: the checkpoint described as data.
#include <algorithm>
#include <optional>

#include "api/released_size.h"
#include "api/state.h"
#include "model/encoder_config.h"
#include "model/kv_cache.h"
#include "model/weights.h"
#include "text/chat_template.h"

namespace carat {
namespace {

LayerSummary summarise(const model::LayerSpec& spec, std::int64_t index) {
  LayerSummary out;
  out.index = index;
  out.layer_type = model::name(spec.layer_type);
  out.num_attention_heads = spec.num_attention_heads;
  out.num_key_value_heads = spec.num_key_value_heads;
  out.head_dim = spec.head_dim;
  out.intermediate_size = spec.intermediate_size;
  out.num_experts = spec.num_experts;
  out.top_k_experts = spec.top_k_experts;
  out.moe_intermediate_size = spec.moe_intermediate_size;
  out.kv_source = spec.kv_source;
  out.attention_k_eq_v = spec.attention_k_eq_v;
  out.rope_theta = spec.rope.theta;
  return out;
}

// What both media have; `tower` is empty where an embedder takes its place.
template <typename Tower>
EncoderSummary summarise(const char* medium, const char* kind, const std::optional<Tower>& tower,
                         const std::string& file) {
  EncoderSummary out;
  out.medium = medium;
  out.kind = tower ? kind : "embedder";
  if (tower) {
    out.num_hidden_layers = tower->num_hidden_layers;
    out.hidden_size = tower->hidden_size;
    out.num_attention_heads = tower->num_attention_heads;
  }
  out.file = file;
  return out;
}

std::vector<EncoderSummary> summarise(const model::EncoderConfig& config, const std::string& file) {
  std::vector<EncoderSummary> out;
  if (const auto format = config.image_format()) {
    out.push_back(summarise("image", "vision tower", config.vision_tower, file));
    out.back().token_pixels = format->patch_size * format->pooling;
    out.back().image_budget = config.image_budget;
  }
  if (const auto format = config.sound_format()) {
    out.push_back(summarise("sound", "audio tower", config.audio_tower, file));
    if (config.audio_tower) {
      out.back().mel_bins = format->mel_bins;
      out.back().token_ms = 40;  // two convolutions of stride 2 over frames of 10 ms
    } else {
      out.back().token_ms = static_cast<double>(format->samples_per_token) / 16.0;  // samples come at 16 kHz
    }
  }
  return out;
}

}  // namespace

Result<CheckpointSummary> Checkpoint::inspect() const {
  const auto& config = state_->config();
  if (!config) return std::unexpected(config.error());
  const formats::Checkpoint& file = state_->file;
  CheckpointSummary out;
  out.family = config->family;
  out.name = config->name;
  out.format = file.format() == formats::Format::gguf ? "gguf" : "huggingface";
  out.vocab_size = config->vocab_size;
  out.hidden_size = config->hidden_size;
  out.max_position_embeddings = config->max_position_embeddings;
  out.sliding_window = config->sliding_window;
  out.hidden_size_per_layer_input = config->hidden_size_per_layer_input;
  out.num_kv_shared_layers = config->num_kv_shared_layers;
  out.final_logit_softcapping = static_cast<double>(config->final_logit_softcapping);
  if (const auto kind = text::detect_prompt_kind(file)) out.prompt_template = text::name(*kind);
  for (std::size_t i = 0; i < config->layers.size(); ++i) {
    out.layers.push_back(summarise(config->layers[i], static_cast<std::int64_t>(i)));
  }
  out.released_size = released_size(out);
  if (const auto from = state_->encoder_file(); !from) {
    out.encoder_error = from.error().message;
  } else if (const auto encoders = model::read_encoder_config(**from); !encoders) {
    out.encoder_error = encoders.error().message;
  } else {
    out.encoders = summarise(*encoders, (*from)->path().string());
  }
  for (const formats::NamedTensor& tensor : file.tensors()) {
    const auto dims = tensor.view.shape.dims();
    out.tensors.push_back({tensor.name,
                           std::string(tensor::info(tensor.view.dtype).name),
                           tensor.file,
                           {dims.begin(), dims.end()},
                           tensor.view.size_bytes()});
    const std::string_view part = model::part_of_tensor(file, *config, tensor.name);
    auto row = std::find_if(out.parts.begin(), out.parts.end(), [&](const PartSummary& p) { return p.part == part; });
    if (row == out.parts.end()) row = out.parts.insert(out.parts.end(), PartSummary{std::string(part), 0, 0});
    row->parameters += tensor.view.shape.elements();
    row->bytes += tensor.view.size_bytes();
    out.total_bytes += tensor.view.size_bytes();
    if (model::counts_as_parameters(part)) out.total_parameters += tensor.view.shape.elements();
  }
  const std::int64_t weights = resident_weight_bytes(file, *config);
  std::vector<std::int64_t> lengths;
  for (const std::int64_t length : {8192, 32768, 131072, 262144}) {
    if (length < config->max_position_embeddings) lengths.push_back(length);
  }
  lengths.push_back(config->max_position_embeddings);
  for (const std::int64_t length : lengths) {
    const auto plan =
        model::plan_kv_cache(*config, tensor::DType::f16, length, std::min(length, SessionOptions().prompt_chunk));
    const std::int64_t cache = model::kv_bytes(*config, plan, tensor::DType::f16, length);
    out.memory.push_back({length, cache, weights, weights + cache});
  }
  return out;
}

}  // namespace carat

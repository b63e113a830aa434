// Which part of the model a tensor belongs to, by its name; for summaries and memory plans, never for computing.
#include <charconv>
#include <span>
#include <string>

#include "model/weights.h"

namespace carat::model {
namespace {

/// A row matches when the name contains the text; the first match wins.
struct PartRow {
  std::string_view contains, part;
};

constexpr PartRow kHuggingFaceParts[] = {
    {"put_min", kBuffersPart},  // clip bounds input_min, output_min, …
    {"put_max", kBuffersPart},
    {"vision_tower.std_", kBuffersPart},
    {"embed_vision", "vision projector"},
    {"multi_modal_projector", "vision projector"},
    {"vision_tower", "vision tower"},
    {"vision_embedder", "vision projector"},
    {"embed_audio", "audio projector"},
    {"audio_tower", "audio tower"},
    {"lm_head.weight", "embedding"},
    {"embed_tokens_per_layer", kPerLayerTablePart},
    {"embed_tokens", "embedding"},
    {"per_layer_model_projection", "per-layer model projection"},
    {"per_layer_projection_norm", "per-layer model projection"},
    {"per_layer_input_gate", "per-layer gates"},
    {".per_layer_projection.", "per-layer gates"},
    {"layer_scalar", kBuffersPart},
    {"router.", "router"},
    {"experts.", "experts"},
    {"self_attn.", "attention"},
    {"mlp.", "dense MLP"},
    {"norm", "norms"},
};

constexpr PartRow kGgufParts[] = {
    {"per_layer_token_embd", kPerLayerTablePart},
    {"token_embd.weight", "embedding"},
    {"per_layer_model_proj", "per-layer model projection"},
    {"per_layer_proj_norm", "per-layer model projection"},
    {"rope_freqs", kBuffersPart},
    {"layer_output_scale", kBuffersPart},
    {".inp_gate.", "per-layer gates"},
    {".proj.", "per-layer gates"},
    {"ffn_gate_inp", "router"},
    {"ffn_down_exps.scale", "router"},
    {"_exps.", "experts"},
    {"attn_q", "attention"},
    {"attn_k", "attention"},
    {"attn_v", "attention"},
    {"attn_output", "attention"},
    {"norm", "norms"},
    {"ffn_", "dense MLP"},
    {"output.weight", "embedding"},
};

// The layer number a name gives after `marker`, or -1 when it does not begin with that.
std::int64_t layer_of(std::string_view name, std::string_view marker) {
  std::int64_t layer = -1;
  if (name.starts_with(marker)) std::from_chars(name.data() + marker.size(), name.data() + name.size(), layer);
  return layer;
}

bool holds_any(std::string_view name, std::initializer_list<std::string_view> texts) {
  for (const std::string_view text : texts) {
    if (name.find(text) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace

bool belongs_to_text(std::string_view part) {
  return !holds_any(part, {"vision", "audio"}) && part != kUnusedPart && part != "other";
}

bool counts_as_parameters(std::string_view part) { return part != kBuffersPart && part != kUnusedPart; }

std::string_view part_of_tensor(const formats::Checkpoint& checkpoint, const Config& config, std::string_view name) {
  const bool gguf = checkpoint.format() == formats::Format::gguf;
  // Files may carry keys and values of layers that read another layer's.
  const std::int64_t layer = layer_of(name, gguf ? "blk." : config.tensor_prefix + "layers.");
  const auto count = static_cast<std::int64_t>(config.layers.size());
  if (layer >= count - config.num_kv_shared_layers && layer < count &&
      holds_any(name, {"self_attn.k_", "self_attn.v_", "attn_k.", "attn_v.", "attn_k_norm."})) {
    return kUnusedPart;
  }
  for (const PartRow& row : gguf ? std::span<const PartRow>(kGgufParts) : std::span<const PartRow>(kHuggingFaceParts)) {
    if (name.find(row.contains) != std::string_view::npos) return row.part;
  }
  return "other";
}

}  // namespace carat::model

#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/concat.h"
#include "model/config_reader.h"

namespace carat::model {

using base::concat;

std::string_view name(LayerType type) {
  return type == LayerType::sliding_attention ? "sliding_attention" : "full_attention";
}

std::int64_t Config::last_kv_owner() const {
  std::int64_t last = 0;
  for (const LayerSpec& layer : layers) last = std::max(last, layer.kv_source);
  return last;
}

namespace {

// Consistency every reader's result must have, so that the forward pass can rely on it.
Result<void> validate(const Config& config, const std::string& origin) {
  const auto bad = [&](auto... parts) { return fail(ErrorCode::bad_file, concat(origin, ": ", parts...)); };
  if (config.layers.empty()) return bad("no layers");
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    const LayerSpec& layer = config.layers[i];
    if (layer.head_dim % 2 != 0) return bad("layer ", i, ": head_dim is ", layer.head_dim, "; expected an even number");
    if (layer.num_attention_heads % layer.num_key_value_heads != 0) {
      return bad("layer ", i, ": ", layer.num_attention_heads, " attention heads over ", layer.num_key_value_heads,
                 " key-value heads; expected a multiple");
    }
    if (layer.rope.rotated_pairs < 0 || layer.rope.rotated_pairs > layer.head_dim / 2) {
      return bad("layer ", i, ": rope rotates ", layer.rope.rotated_pairs, " pairs of ", layer.head_dim / 2);
    }
    if (!(layer.rope.theta > 1) || !(layer.rope.factor > 0) || !std::isfinite(layer.rope.theta) ||
        !std::isfinite(layer.rope.factor)) {
      return bad("layer ", i, ": rope theta is ", layer.rope.theta, " with factor ", layer.rope.factor,
                 "; expected finite values above 1 and 0");
    }
    if (layer.num_experts > 0 && (layer.top_k_experts < 1 || layer.top_k_experts > layer.num_experts)) {
      return bad("layer ", i, ": top_k_experts is ", layer.top_k_experts, " of ", layer.num_experts, " experts");
    }
    const LayerSpec& source = config.layers[static_cast<std::size_t>(layer.kv_source)];
    if (source.head_dim != layer.head_dim || source.num_key_value_heads != layer.num_key_value_heads) {
      return bad("layer ", i, " reads the keys of layer ", layer.kv_source, ", whose heads differ in size or number");
    }
  }
  if (!(config.rms_norm_eps > 0) || !(config.rms_norm_eps < 1)) return bad("rms_norm_eps is ", config.rms_norm_eps);
  if (!(config.final_logit_softcapping >= 0) || !std::isfinite(config.final_logit_softcapping)) {
    return bad("final_logit_softcapping is ", config.final_logit_softcapping, "; expected 0 or more");
  }
  if (!(config.attention_scale > 0) || !std::isfinite(config.attention_scale)) {
    return bad("the attention scale is ", config.attention_scale, "; expected a positive number");
  }
  return {};
}

}  // namespace

Result<Config> read_config(const formats::Checkpoint& checkpoint) {
  Result<Config> config =
      checkpoint.format() == formats::Format::gguf ? read_gguf_config(checkpoint) : read_huggingface_config(checkpoint);
  if (!config) return config;
  if (auto valid = validate(*config, checkpoint.path().string()); !valid) return forward(valid);
  return config;
}

Result<void> assign_kv_sources(Config& config, std::int64_t num_kv_shared_layers, const std::string& origin) {
  const auto count = static_cast<std::int64_t>(config.layers.size());
  if (num_kv_shared_layers < 0 || num_kv_shared_layers >= count) {
    return fail(ErrorCode::bad_file, concat(origin, ": num_kv_shared_layers is ", num_kv_shared_layers, " of ", count,
                                            " layers; expected 0 to ", count - 1));
  }
  config.num_kv_shared_layers = num_kv_shared_layers;
  const std::int64_t first_shared = count - num_kv_shared_layers;
  std::int64_t last_of_type[2] = {-1, -1};
  for (std::int64_t i = 0; i < count; ++i) {
    LayerSpec& layer = config.layers[static_cast<std::size_t>(i)];
    std::int64_t& last = last_of_type[static_cast<int>(layer.layer_type)];
    if (i < first_shared) last = i;
    if (last < 0) {
      return fail(ErrorCode::bad_file, concat(origin, ": layer ", i, " shares keys of a ", name(layer.layer_type),
                                              " layer, but none stands before layer ", first_shared));
    }
    layer.kv_source = last;
  }
  return {};
}

}  // namespace carat::model

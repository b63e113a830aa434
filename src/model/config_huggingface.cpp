// Reads config.json as transformers publishes it: gemma4, gemma4_unified, gemma3 and their text-only forms.
#include <cmath>
#include <optional>

#include "base/concat.h"
#include "model/config_reader.h"
#include "model/json_fields.h"

namespace carat::model {
namespace {

using base::concat;
using formats::Json;

std::vector<LayerType> layer_types(Fields& f, std::int64_t layers, std::int64_t default_pattern) {
  std::vector<LayerType> types;
  if (!f.has("layer_types")) {
    const std::int64_t pattern = f.integer("sliding_window_pattern", 1, kMaxLayers, default_pattern);
    for (std::int64_t i = 0; i < layers; ++i) {
      types.push_back((i + 1) % pattern != 0 ? LayerType::sliding_attention : LayerType::full_attention);
    }
    return types;
  }
  const Json& list = f.at("layer_types");
  if (!list.is_array() || static_cast<std::int64_t>(list.size()) != layers) {
    f.note(ErrorCode::bad_file, concat("layer_types must be a list of num_hidden_layers = ", layers, " entries"));
    types.assign(static_cast<std::size_t>(layers), LayerType::full_attention);
    return types;
  }
  for (const Json& entry : list) {
    const std::string text = entry.is_string() ? entry.get<std::string>() : entry.dump();
    if (text != "sliding_attention" && text != "full_attention") {
      f.note(ErrorCode::unsupported,
             concat("layer_types holds \"", text.substr(0, 60), "\"; expected sliding_attention or full_attention"));
    }
    types.push_back(text == "sliding_attention" ? LayerType::sliding_attention : LayerType::full_attention);
  }
  return types;
}

// One entry of rope_parameters: {"rope_type": "default" | "linear" | "proportional", "rope_theta": …, …}.
RopeSpec rope_from(Fields& f, const Json& entry, std::string_view which, std::int64_t head_dim, double default_theta) {
  RopeSpec rope;
  rope.head_dim = head_dim;
  rope.rotated_pairs = head_dim / 2;
  if (!entry.is_object()) {
    f.note(ErrorCode::bad_file, concat("rope_parameters.", which, " is no object"));
    return rope;
  }
  Fields r(entry, concat(f.origin(), ": rope_parameters.", which));
  rope.theta = r.number("rope_theta", default_theta);
  const std::string type = r.text("rope_type", r.text("type", "default"));
  if (type == "linear") {
    rope.factor = r.number("factor");
  } else if (type == "proportional") {
    // The exponent's denominator stays the whole head_dim; only the leading share of the pairs turns
    // (modeling_rope_utils._compute_proportional_rope_parameters).
    const double share = r.number("partial_rotary_factor", 1.0);
    if (!(share > 0) || share > 1)
      r.note(ErrorCode::bad_file, "partial_rotary_factor must lie in (0, 1]");
    else
      rope.rotated_pairs = static_cast<std::int64_t>(std::floor(share * static_cast<double>(head_dim) / 2));
  } else if (type != "default") {
    r.note(ErrorCode::unsupported,
           concat("rope_type \"", type.substr(0, 60), "\"; expected default, linear or proportional"));
  }
  if (r.error()) f.note(r.error()->code, r.error()->message.substr(f.origin().size() + 2));
  return rope;
}

// The per-layer settings Gemma 4 and Gemma 3 share.
void read_common(Fields& f, Config& config, LayerSpec& layer) {
  config.vocab_size = f.integer("vocab_size", 1, kMaxVocab);
  config.hidden_size = f.integer("hidden_size", 1, kMaxWidth);
  config.max_position_embeddings = f.integer("max_position_embeddings", 1, kMaxPositions);
  config.rms_norm_eps = static_cast<float>(f.number("rms_norm_eps", 1e-6));
  config.final_logit_softcapping = static_cast<float>(f.number("final_logit_softcapping", 0.0));
  layer.num_attention_heads = f.integer("num_attention_heads", 1, kMaxHeads);
  layer.num_key_value_heads = f.integer("num_key_value_heads", 1, kMaxHeads);
  layer.head_dim = f.integer("head_dim", 2, kMaxWidth);
  layer.intermediate_size = f.integer("intermediate_size", 1, kMaxWidth);
  config.sliding_window = f.integer("sliding_window", 1, kMaxPositions);
  for (const char* key : {"hidden_activation", "hidden_act"}) {
    const std::string activation = f.text(key, "gelu_pytorch_tanh");
    if (activation != "gelu_pytorch_tanh") {
      f.note(ErrorCode::unsupported, concat(key, " is \"", activation.substr(0, 60), "\"; expected gelu_pytorch_tanh"));
    }
  }
  if (f.boolean("attention_bias", false)) f.note(ErrorCode::unsupported, "attention_bias is true; expected false");
}

void read_gemma4(Fields& f, Config& config) {
  LayerSpec base;
  read_common(f, config, base);
  const std::int64_t count = f.integer("num_hidden_layers", 1, kMaxLayers);
  std::vector<LayerType> types = layer_types(f, count, 6);
  types.back() = LayerType::full_attention;  // the reference forces it
  const std::int64_t shared = f.integer("num_kv_shared_layers", 0, count, 0);
  const bool k_eq_v = f.boolean("attention_k_eq_v", false);
  if (f.has("use_bidirectional_attention")) {
    const std::string which = f.text("use_bidirectional_attention", "");
    if (which == "vision") {
      // Gemma4UnifiedModel.forward overlays image blocks on both kinds of layers, Gemma4Model on the sliding ones.
      const bool unified = f.text("model_type", "") == "gemma4_unified_text";
      config.vision_blocks = unified ? VisionBlocks::all : VisionBlocks::sliding;
    } else {
      f.note(ErrorCode::unsupported,
             concat("use_bidirectional_attention is \"", which.substr(0, 60), "\"; expected \"vision\" or null"));
    }
  }
  config.pad_token_id = f.integer("pad_token_id", 0, kMaxVocab, 0);
  const bool double_wide = f.boolean("use_double_wide_mlp", false);
  config.hidden_size_per_layer_input = f.integer("hidden_size_per_layer_input", 0, kMaxWidth, 0);
  config.vocab_size_per_layer_input = f.integer("vocab_size_per_layer_input", 0, kMaxVocab, config.vocab_size);
  if (f.boolean("enable_moe_block", false)) {
    base.num_experts = f.integer("num_experts", 1, kMaxExperts);
    base.top_k_experts = f.integer("top_k_experts", 1, kMaxExperts);
    base.moe_intermediate_size = f.integer("moe_intermediate_size", 1, kMaxWidth);
  }
  if (f.has("use_bidirectional_attention") && f.text("use_bidirectional_attention", "") != "vision") {
    f.note(ErrorCode::unsupported, "use_bidirectional_attention must be absent or \"vision\" for a text decoder");
  }
  const Json* overrides = f.has("per_layer_config") ? &f.at("per_layer_config") : nullptr;
  const std::int64_t global_head_dim = f.integer("global_head_dim", 2, kMaxWidth, 512);
  const std::int64_t global_kv_heads = f.integer("num_global_key_value_heads", 1, kMaxHeads, base.num_key_value_heads);
  const Json ropes = f.has("rope_parameters") ? f.at("rope_parameters") : Json::object();
  if (!ropes.is_object()) f.note(ErrorCode::bad_file, "rope_parameters is no object");
  for (std::int64_t i = 0; i < count; ++i) {
    LayerSpec layer = base;
    layer.layer_type = types[static_cast<std::size_t>(i)];
    const bool full = layer.layer_type == LayerType::full_attention;
    layer.sliding_window = full ? 0 : config.sliding_window;
    layer.attention_k_eq_v = k_eq_v && full;
    if (overrides != nullptr) {
      const std::string key = concat(i);
      if (overrides->is_object() && overrides->contains(key)) {
        Fields o(overrides->at(key), concat(f.origin(), ": per_layer_config.", key));
        if (overrides->at(key).is_object()) {
          layer.head_dim = o.integer("head_dim", 2, kMaxWidth, layer.head_dim);
          layer.num_key_value_heads = o.integer("num_key_value_heads", 1, kMaxHeads, layer.num_key_value_heads);
          for (const auto& [field, value] : overrides->at(key).items()) {
            if (field != "head_dim" && field != "num_key_value_heads") {
              o.note(ErrorCode::unsupported, concat("unknown field \"", field.substr(0, 60), "\""));
            }
          }
        } else {
          o.note(ErrorCode::bad_file, "expected an object");
        }
        if (o.error()) f.note(o.error()->code, o.error()->message.substr(f.origin().size() + 2));
      } else if (!overrides->is_object()) {
        f.note(ErrorCode::bad_file, "per_layer_config is no object");
      }
    } else if (full) {
      layer.head_dim = global_head_dim;
      if (k_eq_v) layer.num_key_value_heads = global_kv_heads;
    }
    if (double_wide && i >= count - shared) layer.intermediate_size *= 2;
    const char* which = full ? "full_attention" : "sliding_attention";
    if (ropes.contains(which)) {
      layer.rope = rope_from(f, ropes.at(which), which, layer.head_dim, full ? 1e6 : 1e4);
    } else {  // the defaults of Gemma4TextConfig
      layer.rope = {full ? 1e6 : 1e4, 1, layer.head_dim, full ? layer.head_dim / 8 : layer.head_dim / 2};
    }
    config.layers.push_back(layer);
  }
  if (f.error()) return;
  if (auto ok = assign_kv_sources(config, shared, f.origin()); !ok) {
    f.note(ok.error().code, ok.error().message.substr(f.origin().size() + 2));
  }
}

void read_gemma3(Fields& f, Config& config) {
  config.value_norm = false;
  config.layer_scalars = false;
  config.norm_weight_plus_one = true;
  LayerSpec base;
  // Published multimodal files leave out what equals the defaults of Gemma3TextConfig.
  Json filled = Json::object();
  const std::pair<const char*, Json> defaults[] = {{"vocab_size", 262208},
                                                   {"hidden_size", 2304},
                                                   {"intermediate_size", 9216},
                                                   {"num_hidden_layers", 26},
                                                   {"num_attention_heads", 8},
                                                   {"num_key_value_heads", 4},
                                                   {"head_dim", 256},
                                                   {"sliding_window", 4096},
                                                   {"max_position_embeddings", 131072},
                                                   {"query_pre_attn_scalar", 256}};
  for (const auto& [key, value] : defaults) filled[key] = f.has(key) ? f.at(key) : value;
  for (const char* key : {"layer_types", "sliding_window_pattern", "rms_norm_eps", "final_logit_softcapping",
                          "hidden_activation", "attention_bias"}) {
    if (f.has(key)) filled[key] = f.at(key);
  }
  Fields g(filled, f.origin());
  read_common(g, config, base);
  const std::int64_t count = g.integer("num_hidden_layers", 1, kMaxLayers);
  const std::vector<LayerType> types = layer_types(g, count, 6);
  config.attention_scale = static_cast<float>(1.0 / std::sqrt(g.number("query_pre_attn_scalar")));
  if (g.error()) return f.note(g.error()->code, g.error()->message.substr(f.origin().size() + 2));
  if (f.number("attn_logit_softcapping", 0.0) != 0) {
    f.note(ErrorCode::unsupported, "attn_logit_softcapping is set; expected none");
  }
  if (f.boolean("use_bidirectional_attention", false)) {
    f.note(ErrorCode::unsupported, "use_bidirectional_attention is true; expected false");
  }
  // Newer files: rope_parameters per layer type. Older ones: rope_theta, rope_local_base_freq, rope_scaling (full
  // only).
  const bool nested =
      f.has("rope_parameters") && f.at("rope_parameters").is_object() &&
      (f.at("rope_parameters").contains("full_attention") || f.at("rope_parameters").contains("sliding_attention"));
  Json full = Json::object(), sliding = Json::object();
  if (nested) {
    full = f.at("rope_parameters").value("full_attention", Json::object());
    sliding = f.at("rope_parameters").value("sliding_attention", Json::object());
  }
  if (full.is_object() && f.has("rope_scaling") && f.at("rope_scaling").is_object()) full.update(f.at("rope_scaling"));
  if (full.is_object() && !full.contains("rope_theta")) full["rope_theta"] = f.number("rope_theta", 1e6);
  if (sliding.is_object() && !sliding.contains("rope_theta")) {
    sliding["rope_theta"] = f.number("rope_local_base_freq", 1e4);
  }
  for (std::int64_t i = 0; i < count; ++i) {
    LayerSpec layer = base;
    layer.layer_type = types[static_cast<std::size_t>(i)];
    const bool is_full = layer.layer_type == LayerType::full_attention;
    layer.sliding_window = is_full ? 0 : config.sliding_window;
    layer.rope = rope_from(f, is_full ? full : sliding, name(layer.layer_type), layer.head_dim, is_full ? 1e6 : 1e4);
    config.layers.push_back(layer);
  }
  if (f.error()) return;
  if (auto ok = assign_kv_sources(config, 0, f.origin()); !ok) f.note(ok.error().code, ok.error().message);
}

}  // namespace

Result<Config> read_huggingface_config(const formats::Checkpoint& checkpoint) {
  const Json& json = checkpoint.config();
  const std::string origin = (checkpoint.path() / "config.json").string();
  if (!json.is_object()) return fail(ErrorCode::bad_file, concat(origin, ": expected a JSON object"));
  const auto text_of = [](const Json& object, const char* key) {
    return object.contains(key) && object.at(key).is_string() ? object.at(key).get<std::string>() : std::string();
  };
  const std::string outer = text_of(json, "model_type");
  const bool nested = json.contains("text_config") && json.at("text_config").is_object();
  const Json& text = nested ? json.at("text_config") : json;
  std::string type = nested ? text_of(text, "model_type") : outer;
  if (type.empty()) type = outer + "_text";  // old multimodal files name the outer type only

  Config config;
  Fields fields(text, origin);
  if (type == "gemma4_text" || type == "gemma4_unified_text") {
    config.family = "gemma4";
    read_gemma4(fields, config);
  } else if (type == "gemma3_text") {
    config.family = "gemma3";
    read_gemma3(fields, config);
  } else {
    return fail(ErrorCode::unsupported,
                concat(origin, ": model_type is \"", (outer.empty() ? type : outer).substr(0, 60),
                       "\"; expected gemma4, gemma4_unified, gemma3 or their _text forms"));
  }
  if (fields.error()) return std::unexpected(*fields.error());
  config.name = checkpoint.path().filename().string();
  if (config.name.empty()) config.name = checkpoint.path().parent_path().filename().string();

  // Where the decoder's tensors stand differs between text-only and multimodal classes and library versions.
  for (const char* prefix : {"model.language_model.", "model.", "language_model.model.", "language_model.", ""}) {
    if (checkpoint.find(concat(prefix, "embed_tokens.weight")) != nullptr) {
      config.tensor_prefix = prefix;
      return config;
    }
  }
  return fail(ErrorCode::bad_file, concat(checkpoint.path(),
                                          ": no tensor model.language_model.embed_tokens.weight or "
                                          "model.embed_tokens.weight; expected the weights of a text decoder"));
}

}  // namespace carat::model

// Reads the metadata of GGUF files of the architectures gemma4 and gemma3, as llama.cpp's converter writes them.
#include <cmath>
#include <optional>

#include "base/concat.h"
#include "model/config_reader.h"

namespace carat::model {
namespace {

using base::concat;

// Typed access under one architecture's prefix, keeping the first error.
class Keys {
 public:
  Keys(const formats::GgufMetadata& metadata, std::string architecture)
      : metadata_(metadata), architecture_(std::move(architecture)) {}

  std::string full_key(std::string_view key) const { return concat(architecture_, ".", key); }
  bool has(std::string_view key) const { return metadata_.contains(full_key(key)); }

  std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high,
                       std::optional<std::int64_t> fallback = {}) {
    auto value = metadata_.integer(full_key(key));
    if (!value) return take(value.error()), low;
    if (!*value) return fallback ? *fallback : (missing(key), low);
    return checked(key, **value, low, high);
  }
  double number(std::string_view key, std::optional<double> fallback = {}) {
    auto value = metadata_.number(full_key(key));
    if (!value) return take(value.error()), 1.0;
    if (!*value) return fallback ? *fallback : (missing(key), 1.0);
    return **value;
  }
  std::string text(std::string_view key) {
    auto value = metadata_.text(full_key(key));
    if (!value) return take(value.error()), std::string();
    return *value ? std::string(**value) : std::string();
  }
  // A number for all layers, or an array with one per layer.
  std::vector<std::int64_t> per_layer(std::string_view key, std::int64_t layers, std::int64_t low, std::int64_t high) {
    std::vector<std::int64_t> out(static_cast<std::size_t>(layers), low);
    const formats::GgufValue* value = metadata_.find(full_key(key));
    if (value != nullptr && std::holds_alternative<formats::GgufArray>(*value)) {
      auto list = metadata_.integers(full_key(key));
      if (!list) return take(list.error()), out;
      if (static_cast<std::int64_t>((**list).size()) != layers) {
        note(concat(full_key(key), " has ", (**list).size(), " entries; expected block_count = ", layers));
        return out;
      }
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = checked(key, (**list)[i], low, high);
      return out;
    }
    out.assign(out.size(), integer(key, low, high));
    return out;
  }
  // sliding_window_pattern: a bool per layer (true = sliding), or a period (every n-th layer is full).
  std::vector<bool> sliding(std::int64_t layers, std::optional<std::int64_t> default_period) {
    constexpr std::string_view key = "attention.sliding_window_pattern";
    std::vector<bool> out(static_cast<std::size_t>(layers));
    const formats::GgufValue* value = metadata_.find(full_key(key));
    if (value != nullptr && std::holds_alternative<formats::GgufArray>(*value)) {
      const auto flags = per_layer(key, layers, 0, 1);
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = flags[i] != 0;
      return out;
    }
    const std::int64_t period = integer(key, 1, kMaxLayers, default_period);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = (static_cast<std::int64_t>(i) + 1) % period != 0;
    return out;
  }

  void note(std::string message, ErrorCode code = ErrorCode::bad_file) {
    if (!error_) error_ = Error{code, concat(metadata_.origin(), ": ", message)};
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  std::int64_t checked(std::string_view key, std::int64_t value, std::int64_t low, std::int64_t high) {
    if (value >= low && value <= high) return value;
    note(concat(full_key(key), " is ", value, "; expected ", low, " to ", high));
    return low;
  }
  void missing(std::string_view key) { note(concat("metadata key ", full_key(key), " is missing")); }
  void take(const Error& error) {
    if (!error_) error_ = error;
  }

  const formats::GgufMetadata& metadata_;
  std::string architecture_;
  std::optional<Error> error_;
};

std::int64_t vocab_size(Keys& keys, const formats::Checkpoint& checkpoint, std::int64_t hidden_size) {
  const formats::NamedTensor* table = checkpoint.find("token_embd.weight");
  if (table == nullptr) {
    keys.note("no tensor token_embd.weight; expected the weights of a text decoder (a vocabulary-only file has none)");
    return 1;
  }
  if (table->view.shape.rank() != 2 || table->view.shape[1] != hidden_size) {
    keys.note(concat("tensor token_embd.weight has shape ", table->view.shape.text(), "; expected [vocab_size, ",
                     hidden_size, "]"));
    return 1;
  }
  return table->view.shape[0];
}

// rope_freqs.weight holds a divisor per pair: 1 for pairs that turn, 1e30 for those that do not (proportional rope).
std::int64_t rotated_pairs(Keys& keys, const formats::Checkpoint& checkpoint, std::int64_t head_dim) {
  const formats::NamedTensor* tensor = checkpoint.find("rope_freqs.weight");
  if (tensor == nullptr) return head_dim / 8;  // the published factor 0.25
  const auto& view = tensor->view;
  if (view.dtype != tensor::DType::f32 || view.shape.rank() != 1 || view.shape[0] != head_dim / 2) {
    keys.note(concat("tensor rope_freqs.weight is ", tensor::info(view.dtype).name, " ", view.shape.text(),
                     "; expected f32 [", head_dim / 2, "]"));
    return 0;
  }
  std::vector<float> divisors(static_cast<std::size_t>(head_dim / 2));
  tensor::decode_row(view, 0, divisors);
  std::int64_t turning = 0;
  while (turning < head_dim / 2 && divisors[static_cast<std::size_t>(turning)] == 1.0F) ++turning;
  for (std::int64_t i = turning; i < head_dim / 2; ++i) {
    if (!(divisors[static_cast<std::size_t>(i)] >= 1e20F)) {
      keys.note(concat("tensor rope_freqs.weight[", i, "] is ", divisors[static_cast<std::size_t>(i)],
                       "; expected 1 for the leading pairs and 1e30 for the rest"),
                ErrorCode::unsupported);
      return 0;
    }
  }
  return turning;
}

void read_gemma4(Keys& k, const formats::Checkpoint& checkpoint, Config& config, std::int64_t count) {
  const auto sliding = k.sliding(count, {});
  const auto heads = k.per_layer("attention.head_count", count, 1, kMaxHeads);
  const auto kv_heads = k.per_layer("attention.head_count_kv", count, 1, kMaxHeads);
  const auto widths = k.per_layer("feed_forward_length", count, 1, kMaxWidth);
  const std::int64_t full_dim = k.integer("attention.key_length", 2, kMaxWidth);
  const std::int64_t sliding_dim = k.integer("attention.key_length_swa", 2, kMaxWidth, full_dim);
  config.sliding_window = k.integer("attention.sliding_window", 1, kMaxPositions);
  config.hidden_size_per_layer_input = k.integer("embedding_length_per_layer_input", 0, kMaxWidth, 0);
  // The models without per-layer embeddings see images in both directions; no key says so (spec 2.9).
  if (config.hidden_size_per_layer_input == 0) config.vision_blocks = VisionBlocks::sliding;
  config.final_logit_softcapping = static_cast<float>(k.number("final_logit_softcapping", 0.0));
  LayerSpec base;
  base.num_experts = k.integer("expert_count", 0, kMaxExperts, 0);
  if (base.num_experts > 0) {
    base.top_k_experts = k.integer("expert_used_count", 1, kMaxExperts);
    base.moe_intermediate_size = k.integer("expert_feed_forward_length", 1, kMaxWidth);
  }
  const double full_theta = k.number("rope.freq_base", 1e6), sliding_theta = k.number("rope.freq_base_swa", 1e4);
  const std::int64_t full_pairs = rotated_pairs(k, checkpoint, full_dim);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    LayerSpec layer = base;
    layer.layer_type = sliding[at] ? LayerType::sliding_attention : LayerType::full_attention;
    layer.num_attention_heads = heads[at];
    layer.num_key_value_heads = kv_heads[at];
    layer.intermediate_size = widths[at];
    layer.head_dim = sliding[at] ? sliding_dim : full_dim;
    layer.sliding_window = sliding[at] ? config.sliding_window : 0;
    layer.rope = sliding[at] ? RopeSpec{sliding_theta, 1, sliding_dim, sliding_dim / 2}
                             : RopeSpec{full_theta, 1, full_dim, full_pairs};
    config.layers.push_back(layer);
  }
  const std::int64_t shared = k.integer("attention.shared_kv_layers", 0, count, 0);
  if (k.error()) return;
  if (auto ok = assign_kv_sources(config, shared, checkpoint.path().string()); !ok) {
    k.note(ok.error().message.substr(checkpoint.path().string().size() + 2));
    return;
  }
  // The file has no key for k = v: a layer that owns keys but has no value projection is one.
  for (std::int64_t i = 0; i < count; ++i) {
    LayerSpec& layer = config.layers[static_cast<std::size_t>(i)];
    layer.attention_k_eq_v = layer.kv_source == i && layer.layer_type == LayerType::full_attention &&
                             checkpoint.find(concat("blk.", i, ".attn_v.weight")) == nullptr &&
                             checkpoint.find(concat("blk.", i, ".attn_qkv.weight")) == nullptr;
  }
  if (config.hidden_size_per_layer_input > 0) {
    const formats::NamedTensor* table = checkpoint.find("per_layer_token_embd.weight");
    config.vocab_size_per_layer_input = table != nullptr && table->view.shape.rank() == 2 ? table->view.shape[0] : 0;
  }
}

void read_gemma3(Keys& k, Config& config, std::int64_t count, const std::string& origin) {
  config.value_norm = false;
  config.layer_scalars = false;
  const auto heads = k.per_layer("attention.head_count", count, 1, kMaxHeads);
  const auto kv_heads = k.per_layer("attention.head_count_kv", count, 1, kMaxHeads);
  const auto widths = k.per_layer("feed_forward_length", count, 1, kMaxWidth);
  const std::int64_t head_dim = k.integer("attention.key_length", 2, kMaxWidth, 256);
  config.sliding_window = k.integer("attention.sliding_window", 0, kMaxPositions, 0);
  // The small files say neither the pattern nor the local base: every sixth layer is full, the local base is 10000.
  auto sliding = k.sliding(count, 6);
  if (config.sliding_window == 0) sliding.assign(sliding.size(), false);
  const double full_theta = k.number("rope.freq_base", 1e6), sliding_theta = k.number("rope.freq_base_swa", 1e4);
  double factor = 1;
  const std::string scaling = k.text("rope.scaling.type");
  if (scaling == "linear")
    factor = k.number("rope.scaling.factor");
  else if (!scaling.empty() && scaling != "none") {
    k.note(concat("gemma3.rope.scaling.type is \"", scaling.substr(0, 60), "\"; expected linear or none"),
           ErrorCode::unsupported);
  }
  // query_pre_attn_scalar is not stored. It is head_dim (256) in every size but the 27B, the one with heads of 128,
  // where it is hidden_size / num_attention_heads = 168.
  const double scalar = head_dim == 128 ? static_cast<double>(config.hidden_size) / static_cast<double>(heads[0])
                                        : static_cast<double>(head_dim);
  config.attention_scale = static_cast<float>(1.0 / std::sqrt(scalar));
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    LayerSpec layer;
    layer.layer_type = sliding[at] ? LayerType::sliding_attention : LayerType::full_attention;
    layer.num_attention_heads = heads[at];
    layer.num_key_value_heads = kv_heads[at];
    layer.intermediate_size = widths[at];
    layer.head_dim = head_dim;
    layer.sliding_window = sliding[at] ? config.sliding_window : 0;
    layer.rope = sliding[at] ? RopeSpec{sliding_theta, 1, head_dim, head_dim / 2}
                             : RopeSpec{full_theta, factor, head_dim, head_dim / 2};
    config.layers.push_back(layer);
  }
  if (k.error()) return;
  if (auto ok = assign_kv_sources(config, 0, origin); !ok) k.note(ok.error().message);
}

}  // namespace

Result<Config> read_gguf_config(const formats::Checkpoint& checkpoint) {
  const formats::GgufMetadata& metadata = checkpoint.metadata();
  auto architecture = metadata.text("general.architecture");
  if (!architecture) return forward(architecture);
  const std::string arch = *architecture ? std::string(**architecture) : std::string();
  if (arch != "gemma4" && arch != "gemma3") {
    return fail(ErrorCode::unsupported, concat(checkpoint.path(), ": general.architecture is \"", arch.substr(0, 60),
                                               "\"; expected gemma4 or gemma3"));
  }
  Config config;
  config.family = arch;
  if (auto name = metadata.text("general.name"); name && *name) config.name = std::string(**name);
  Keys k(metadata, arch);
  const std::int64_t count = k.integer("block_count", 1, kMaxLayers);
  config.hidden_size = k.integer("embedding_length", 1, kMaxWidth);
  config.max_position_embeddings = k.integer("context_length", 1, kMaxPositions);
  config.rms_norm_eps = static_cast<float>(k.number("attention.layer_norm_rms_epsilon", 1e-6));
  if (!k.error()) config.vocab_size = vocab_size(k, checkpoint, config.hidden_size);
  if (k.error()) return std::unexpected(*k.error());
  if (arch == "gemma4")
    read_gemma4(k, checkpoint, config, count);
  else
    read_gemma3(k, config, count, checkpoint.path().string());
  if (k.error()) return std::unexpected(*k.error());
  return config;
}

}  // namespace carat::model

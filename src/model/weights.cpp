#include "model/weights.h"

#include <cmath>
#include <optional>
#include <string>

#include "base/concat.h"
#include "model/tensor_loader.h"
#include "model/tensor_names.h"

namespace carat::model {
namespace {

using base::concat;
using formats::Checkpoint;
using tensor::Shape;
using tensor::TensorView;

class Loader : private TensorLoader {
 public:
  Loader(const Checkpoint& checkpoint, const Config& config, const kernels::KernelTable& table,
         base::ThreadPool* pack_with, Weights& weights)
      : TensorLoader(checkpoint, table, pack_with, weights), config_(config), weights_(weights) {}
  using TensorLoader::error;

  std::string full_name(const TensorName& name) const {
    return gguf() ? std::string(name.gguf) : concat(config_.tensor_prefix, name.huggingface);
  }
  std::string layer_name(std::int64_t layer, const TensorName& name) const {
    return gguf() ? concat("blk.", layer, ".", name.gguf)
                  : concat(config_.tensor_prefix, "layers.", layer, ".", name.huggingface);
  }
  std::vector<float> norm(const std::string& name, std::int64_t size) {
    std::vector<float> out = vector(name, size);
    if (config_.norm_weight_plus_one) {
      for (float& value : out) value += 1.0F;
    }
    return out;
  }
  void load_globals() {
    const std::int64_t hidden = config_.hidden_size;
    const std::string table = full_name(names::kEmbedTokens);
    if (const auto embed = view(table, Shape{config_.vocab_size, hidden})) {
      weights_.embed_tokens = {*embed, &checkpoint()};
      weights_.embedding_scale = embedding_scale(embed->dtype);
      const std::string head = gguf() ? std::string(names::kLmHead.gguf) : std::string(names::kLmHead.huggingface);
      const bool own_head = has(head) && (gguf() || !tied());
      if (own_head)
        weights_.lm_head = matrix(head, config_.vocab_size, hidden);
      else
        weights_.lm_head = packed(*embed, table);
      if (!own_head && weights_.lm_head.owned_bytes() == 0) weights_.embed_tokens.file = nullptr;
    }
    weights_.norm = norm(full_name(names::kNorm), hidden);
    if (config_.hidden_size_per_layer_input == 0) return;
    const std::int64_t width = config_.hidden_size_per_layer_input;
    const auto layers = static_cast<std::int64_t>(config_.layers.size());
    if (const auto rows =
            view(full_name(names::kEmbedTokensPerLayer), Shape{config_.vocab_size_per_layer_input, layers * width})) {
      weights_.embed_tokens_per_layer = {*rows, &checkpoint()};
    }
    const std::string projection = full_name(names::kPerLayerModelProjection);
    if (const auto whole = view(projection, Shape{layers * width, hidden})) {
      const std::int64_t cut = (config_.last_kv_owner() + 1) * width;
      weights_.per_layer_model_projection_head = packed(whole->rows(0, cut), projection);
      if (cut < layers * width) {
        weights_.per_layer_model_projection_tail = packed(whole->rows(cut, layers * width - cut), projection);
      }
    }
    weights_.per_layer_projection_norm = norm(full_name(names::kPerLayerProjectionNorm), width);
  }

  void load_layer(std::int64_t index) {
    const LayerSpec& spec = config_.layers[static_cast<std::size_t>(index)];
    const std::int64_t hidden = config_.hidden_size;
    const auto at = [&](const TensorName& name) { return layer_name(index, name); };
    LayerWeights w;
    w.input_layernorm = norm(at(names::kInputLayernorm), hidden);
    w.post_attention_layernorm = norm(at(names::kPostAttentionLayernorm), hidden);
    w.pre_feedforward_layernorm = norm(at(names::kPreFeedforwardLayernorm), hidden);
    w.post_feedforward_layernorm = norm(at(names::kPostFeedforwardLayernorm), hidden);
    load_attention(index, spec, w);
    w.gate_proj = matrix(at(names::kGateProj), spec.intermediate_size, hidden);
    w.up_proj = matrix(at(names::kUpProj), spec.intermediate_size, hidden);
    w.down_proj = matrix(at(names::kDownProj), hidden, spec.intermediate_size);
    if (config_.layer_scalars) {
      // llama.cpp treats the tensor as optional; a missing one means 1.
      const std::string name = at(names::kLayerScalar);
      if (!gguf() || has(name)) {
        const auto scalar = vector(name, 1);
        if (!scalar.empty()) w.layer_scalar = scalar[0];
      }
    }
    if (config_.hidden_size_per_layer_input > 0) {
      const std::int64_t width = config_.hidden_size_per_layer_input;
      w.per_layer_input_gate = matrix(at(names::kPerLayerInputGate), width, hidden);
      w.per_layer_projection = matrix(at(names::kPerLayerProjection), hidden, width);
      w.post_per_layer_input_norm = norm(at(names::kPostPerLayerInputNorm), hidden);
    }
    if (spec.num_experts > 0) load_experts(index, spec, w);
    weights_.layers.push_back(std::move(w));
  }

 private:
  bool tied() const {
    const formats::Json& json = checkpoint().config();
    const auto flag = [](const formats::Json& object) {
      return !object.contains("tie_word_embeddings") || object.at("tie_word_embeddings") != formats::Json(false);
    };
    const bool nested = json.contains("text_config") && json.at("text_config").is_object();
    return flag(json) && (!nested || flag(json.at("text_config")));
  }

  // The reference casts sqrt(hidden_size) to the table's type before multiplying (Gemma4TextScaledWordEmbedding).
  float embedding_scale(tensor::DType dtype) const {
    const auto exact = static_cast<float>(std::sqrt(static_cast<double>(config_.hidden_size)));
    if (dtype == tensor::DType::bf16) return tensor::bf16_to_f32(tensor::f32_to_bf16(exact));
    if (dtype == tensor::DType::f16) return tensor::f16_to_f32(tensor::f32_to_f16(exact));
    return exact;
  }

  void load_attention(std::int64_t index, const LayerSpec& spec, LayerWeights& w) {
    const auto at = [&](const TensorName& name) { return layer_name(index, name); };
    const std::int64_t hidden = config_.hidden_size;
    const std::int64_t q_width = spec.num_attention_heads * spec.head_dim;
    const std::int64_t kv_width = spec.num_key_value_heads * spec.head_dim;
    // Files may carry K and V of layers that share another's: dead weights, not read (Gemma4's _keys_to_ignore).
    const bool owns_kv = spec.kv_source == index;
    if (gguf() && has(at(names::kQkvProj))) {
      const std::string name = at(names::kQkvProj);
      if (const auto fused = view(name, Shape{q_width + 2 * kv_width, hidden})) {
        w.q_proj = packed(fused->rows(0, q_width), name);
        if (owns_kv) {
          w.k_proj = packed(fused->rows(q_width, kv_width), name);
          w.v_proj = packed(fused->rows(q_width + kv_width, kv_width), name);
        }
      }
    } else {
      w.q_proj = matrix(at(names::kQProj), q_width, hidden);
      if (owns_kv) {
        w.k_proj = matrix(at(names::kKProj), kv_width, hidden);
        if (!spec.attention_k_eq_v) w.v_proj = matrix(at(names::kVProj), kv_width, hidden);
      }
    }
    w.o_proj = matrix(at(names::kOProj), hidden, q_width);
    w.q_norm = norm(at(names::kQNorm), spec.head_dim);
    if (owns_kv) w.k_norm = norm(at(names::kKNorm), spec.head_dim);
  }

  void load_experts(std::int64_t index, const LayerSpec& spec, LayerWeights& w) {
    const auto at = [&](const TensorName& name) { return layer_name(index, name); };
    const std::int64_t hidden = config_.hidden_size, experts = spec.num_experts, width = spec.moe_intermediate_size;
    w.router_scale = vector(at(names::kRouterScale), hidden);
    // router: u = rms(a) * scale * hidden_size^-0.5; both factors together are the weight of that norm.
    const auto root = static_cast<float>(1.0 / std::sqrt(static_cast<double>(hidden)));
    for (float& value : w.router_scale) value *= root;
    // Which experts answer is chosen from unrounded activations: rounding would turn near-ties over.
    w.router_proj = exact_matrix(at(names::kRouterProj), experts, hidden, w.router_values);
    w.per_expert_scale = vector(at(names::kPerExpertScale), experts);
    w.pre_feedforward_layernorm_2 = norm(at(names::kPreFeedforwardLayernorm2), hidden);
    w.post_feedforward_layernorm_1 = norm(at(names::kPostFeedforwardLayernorm1), hidden);
    w.post_feedforward_layernorm_2 = norm(at(names::kPostFeedforwardLayernorm2), hidden);
    const std::string fused_name = at(names::kExpertsGateUpProj), down_name = at(names::kExpertsDownProj);
    const auto down = view(down_name, Shape{experts, hidden, width});
    if (has(fused_name) || !has(at(names::kExpertsGateProj))) {
      const auto fused = view(fused_name, Shape{experts, 2 * width, hidden});
      if (!fused || !down) return;
      for (std::int64_t e = 0; e < experts; ++e) {  // gate rows first
        const TensorView both = fused->slice(e);
        w.experts.push_back({packed(both.rows(0, width), fused_name), packed(both.rows(width, width), fused_name),
                             packed(down->slice(e), down_name)});
      }
      return;
    }
    const auto gate = view(at(names::kExpertsGateProj), Shape{experts, width, hidden});
    const auto up = view(at(names::kExpertsUpProj), Shape{experts, width, hidden});
    if (!gate || !up || !down) return;
    for (std::int64_t e = 0; e < experts; ++e) {
      w.experts.push_back({packed(gate->slice(e), at(names::kExpertsGateProj)),
                           packed(up->slice(e), at(names::kExpertsUpProj)), packed(down->slice(e), down_name)});
    }
  }

  const Config& config_;
  Weights& weights_;
};

}  // namespace

Result<Weights> load_weights(const Checkpoint& checkpoint, const Config& config, const kernels::KernelTable& table,
                             base::ThreadPool* pack_with,
                             const std::function<bool(std::int64_t, std::int64_t)>& progress) {
  Weights weights;
  Loader loader(checkpoint, config, table, pack_with, weights);
  loader.load_globals();
  const auto count = static_cast<std::int64_t>(config.layers.size());
  for (std::int64_t i = 0; i < count && !loader.error(); ++i) {
    if (progress && !progress(i, count)) return fail(ErrorCode::cancelled, "loading was cancelled");
    loader.load_layer(i);
  }
  if (loader.error()) return std::unexpected(*loader.error());
  if (progress) progress(count, count);
  return weights;
}

}  // namespace carat::model

// The architecture of a checkpoint as data: one LayerSpec per decoder layer plus what all layers share. Forward code
// branches on these fields and never on a model name or a layer count.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "carat/result.h"
#include "formats/checkpoint.h"

namespace carat::model {

enum class LayerType { sliding_attention, full_attention };
std::string_view name(LayerType type);

/// Rotary position embedding of one kind of layer: pair (i, i + head_dim/2) turns by position * frequency(i) for
/// i < rotated_pairs, frequency(i) = theta^(-2i / head_dim) / factor.
struct RopeSpec {
  double theta = 10000;
  double factor = 1;  ///< linear scaling: positions are divided by it
  std::int64_t head_dim = 0;
  std::int64_t rotated_pairs = 0;  ///< head_dim/2, or fewer for the "proportional" kind
  bool operator==(const RopeSpec&) const = default;
};

struct LayerSpec {
  LayerType layer_type = LayerType::full_attention;
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t kv_source = 0;       ///< layer whose keys and values this one reads; its own index when it owns them
  bool attention_k_eq_v = false;    ///< no v_proj: values come from the raw key projection
  std::int64_t sliding_window = 0;  ///< keys a row sees, itself included; 0 = all before it
  std::int64_t num_experts = 0;     ///< 0: no experts beside the dense MLP
  std::int64_t top_k_experts = 0;
  std::int64_t moe_intermediate_size = 0;
  RopeSpec rope;
};

/// Which layers let the soft tokens of one image see one another in both directions ("use_bidirectional_attention").
enum class VisionBlocks {
  causal,   ///< none
  sliding,  ///< the sliding layers (26B, 31B)
  all,      ///< every layer (12B as Gemma4UnifiedModel.forward has it)
};

struct Config {
  std::string family;  ///< "gemma4" or "gemma3"
  std::string name;    ///< for people
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t max_position_embeddings = 0;
  std::int64_t hidden_size_per_layer_input = 0;  ///< 0: no per-layer embeddings
  std::int64_t vocab_size_per_layer_input = 0;
  std::int64_t num_kv_shared_layers = 0;
  std::int64_t sliding_window = 0;
  float rms_norm_eps = 1e-6F;
  float final_logit_softcapping = 0;  ///< 0: none
  float attention_scale = 1;          ///< factor of q k^T before the softmax
  bool value_norm = true;             ///< values pass a weightless RMS norm (Gemma 4)
  bool layer_scalars = true;          ///< each layer's output is multiplied by a stored scalar (Gemma 4)
  bool norm_weight_plus_one = false;  ///< stored norm weights mean 1 + w (Gemma 3 in Hugging Face files)
  std::int64_t pad_token_id = 0;      ///< whose per-layer row soft tokens take
  VisionBlocks vision_blocks = VisionBlocks::causal;
  std::string tensor_prefix;  ///< what stands before "layers.N." in a Hugging Face file
  std::vector<LayerSpec> layers;

  /// The last layer that owns keys and values: rows whose logits nobody needs are done once they have filled it.
  std::int64_t last_kv_owner() const;
};

/// Reads and validates the architecture. Errors: unsupported (another architecture, rope type, activation), bad_file (a
/// field missing, of the wrong type or out of range), each naming file, key, found and expected.
Result<Config> read_config(const formats::Checkpoint& checkpoint);

}  // namespace carat::model

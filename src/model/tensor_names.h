// What every tensor of the decoder is called in Hugging Face checkpoints and in GGUF files.
#pragma once

#include <string_view>

namespace carat::model {

/// One tensor's suffix in both spellings: after "layers.N." and "blk.N." for layer tensors, after the checkpoint's
/// prefix and from the start of the name for the others.
struct TensorName {
  std::string_view huggingface, gguf;
};

namespace names {
inline constexpr TensorName kEmbedTokens{"embed_tokens.weight", "token_embd.weight"};
inline constexpr TensorName kLmHead{"lm_head.weight", "output.weight"};
inline constexpr TensorName kNorm{"norm.weight", "output_norm.weight"};
inline constexpr TensorName kEmbedTokensPerLayer{"embed_tokens_per_layer.weight", "per_layer_token_embd.weight"};
inline constexpr TensorName kPerLayerModelProjection{"per_layer_model_projection.weight",
                                                     "per_layer_model_proj.weight"};
inline constexpr TensorName kPerLayerProjectionNorm{"per_layer_projection_norm.weight", "per_layer_proj_norm.weight"};

inline constexpr TensorName kInputLayernorm{"input_layernorm.weight", "attn_norm.weight"};
inline constexpr TensorName kQProj{"self_attn.q_proj.weight", "attn_q.weight"};
inline constexpr TensorName kKProj{"self_attn.k_proj.weight", "attn_k.weight"};
inline constexpr TensorName kVProj{"self_attn.v_proj.weight", "attn_v.weight"};
inline constexpr TensorName kQkvProj{"self_attn.qkv_proj.weight", "attn_qkv.weight"};
inline constexpr TensorName kQNorm{"self_attn.q_norm.weight", "attn_q_norm.weight"};
inline constexpr TensorName kKNorm{"self_attn.k_norm.weight", "attn_k_norm.weight"};
inline constexpr TensorName kOProj{"self_attn.o_proj.weight", "attn_output.weight"};
inline constexpr TensorName kPostAttentionLayernorm{"post_attention_layernorm.weight", "post_attention_norm.weight"};
inline constexpr TensorName kPreFeedforwardLayernorm{"pre_feedforward_layernorm.weight", "ffn_norm.weight"};
inline constexpr TensorName kGateProj{"mlp.gate_proj.weight", "ffn_gate.weight"};
inline constexpr TensorName kUpProj{"mlp.up_proj.weight", "ffn_up.weight"};
inline constexpr TensorName kDownProj{"mlp.down_proj.weight", "ffn_down.weight"};
inline constexpr TensorName kPostFeedforwardLayernorm{"post_feedforward_layernorm.weight", "post_ffw_norm.weight"};
inline constexpr TensorName kPerLayerInputGate{"per_layer_input_gate.weight", "inp_gate.weight"};
inline constexpr TensorName kPerLayerProjection{"per_layer_projection.weight", "proj.weight"};
inline constexpr TensorName kPostPerLayerInputNorm{"post_per_layer_input_norm.weight", "post_norm.weight"};
inline constexpr TensorName kLayerScalar{"layer_scalar", "layer_output_scale.weight"};
inline constexpr TensorName kRouterProj{"router.proj.weight", "ffn_gate_inp.weight"};
inline constexpr TensorName kRouterScale{"router.scale", "ffn_gate_inp.scale"};
inline constexpr TensorName kPerExpertScale{"router.per_expert_scale", "ffn_down_exps.scale"};
inline constexpr TensorName kExpertsGateUpProj{"experts.gate_up_proj", "ffn_gate_up_exps.weight"};
inline constexpr TensorName kExpertsGateProj{"experts.gate_proj", "ffn_gate_exps.weight"};
inline constexpr TensorName kExpertsUpProj{"experts.up_proj", "ffn_up_exps.weight"};
inline constexpr TensorName kExpertsDownProj{"experts.down_proj", "ffn_down_exps.weight"};
inline constexpr TensorName kPreFeedforwardLayernorm2{"pre_feedforward_layernorm_2.weight", "pre_ffw_norm_2.weight"};
inline constexpr TensorName kPostFeedforwardLayernorm1{"post_feedforward_layernorm_1.weight", "post_ffw_norm_1.weight"};
inline constexpr TensorName kPostFeedforwardLayernorm2{"post_feedforward_layernorm_2.weight", "post_ffw_norm_2.weight"};
}  // namespace names

}  // namespace carat::model

"""The tiny checkpoints: for each its config.json as a published one spells it, and what is done with its weights.

Every field has a value of its own, so that reading the wrong one, or a default, shows. Widths are no multiples of what
kernels like, and the window of 8 is passed several times by the golden prompts.
"""
from dataclasses import dataclass, field

S, F = "sliding_attention", "full_attention"


@dataclass
class Variant:
    """One directory below tests/golden."""

    name: str
    config: dict                       # config.json
    seed: int
    torch_dtype: str = "float32"       # of the weights in the files
    shards: int = 1
    gguf: list = field(default_factory=list)   # types of the GGUF files written beside, "f32" | "f16" | "bf16"
    dead_kv: bool = False              # shared layers carry key and value tensors that nothing may read
    tokenizer: str = ""                # a tokenizer and a chat template, "small" or "large"
    greedy_bf16: bool = False          # greedy tokens of the model run in bf16
    prompt_tokens: int = 45

    @property
    def generation(self):
        """generation_config.json: the sampling settings of the released files."""
        text = self.config.get("text_config", self.config)
        return {"bos_token_id": text.get("bos_token_id", 2), "do_sample": True, "pad_token_id": text.get("pad_token_id", 0),
                "eos_token_id": self.config.get("eos_token_id", text.get("eos_token_id", 1)), "temperature": 1.0,
                "top_k": 64, "top_p": 0.95}


def rope(sliding_theta, full_theta, share):
    return {F: {"partial_rotary_factor": share, "rope_theta": full_theta, "rope_type": "proportional"},
            S: {"rope_theta": sliding_theta, "rope_type": "default"}}


def gemma4_text(model_type="gemma4_text", **fields):
    """The text fields a released config.json spells out."""
    return {
        "attention_bias": False, "attention_dropout": 0.0, "attention_k_eq_v": False, "bos_token_id": 2,
        "enable_moe_block": False, "eos_token_id": 1, "final_logit_softcapping": 30.0, "global_head_dim": 32,
        "head_dim": 16, "hidden_activation": "gelu_pytorch_tanh", "hidden_size_per_layer_input": 0,
        "initializer_range": 0.02, "max_position_embeddings": 256, "model_type": model_type,
        "moe_intermediate_size": None, "num_experts": None, "num_global_key_value_heads": None,
        "num_kv_shared_layers": 0, "pad_token_id": 0, "rms_norm_eps": 1e-06, "sliding_window": 8,
        "tie_word_embeddings": True, "top_k_experts": None, "use_bidirectional_attention": None, "use_cache": True,
        "use_double_wide_mlp": False, "vocab_size_per_layer_input": fields["vocab_size"], **fields,
    }


VISION = {"model_type": "gemma4_vision", "hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 1,
          "num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 8, "global_head_dim": 8,
          "position_embedding_size": 96, "patch_size": 4, "pooling_kernel_size": 3}
AUDIO = {"model_type": "gemma4_audio", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
         "subsampling_conv_channels": [8, 4], "output_proj_dims": 20}
# Placeholders lie at the end of the vocabulary of 300; prompts avoid them.
def media_ids(ids):
    """Of a checkpoint with the tiny tokenizer."""
    return {"boi_token_id": ids["<|image>"], "eoi_token_id": ids["<image|>"], "image_token_id": ids["<|image|>"],
            "audio_token_id": ids["<|audio|>"], "boa_token_id": ids["<|audio>"], "eoa_token_index": ids["<audio|>"],
            "video_token_id": ids["<|video|>"], "eos_token_id": [ids["<eos>"], ids["<turn|>"], ids["<|tool_response>"]]}


MEDIA_IDS = {"boi_token_id": 250, "eoi_token_id": 251, "image_token_id": 252, "audio_token_id": 253,
             "boa_token_id": 254, "eoa_token_index": 255, "video_token_id": 256}


def e2b(tokenizer_ids):
    """Shared KV with a double-wide MLP, per-layer inputs, clipped towers; nested, as released."""
    ids = tokenizer_ids
    text = gemma4_text(
        vocab_size=ids["vocab_size"], hidden_size=48, intermediate_size=56, num_hidden_layers=6,
        num_attention_heads=4, num_key_value_heads=2, layer_types=[S, S, F, S, S, F], num_kv_shared_layers=3,
        use_double_wide_mlp=True, hidden_size_per_layer_input=16, rope_parameters=rope(10000.0, 1000000.0, 0.25),
        pad_token_id=ids["<pad>"], eos_token_id=ids["<eos>"], bos_token_id=ids["<bos>"])
    return {"architectures": ["Gemma4ForConditionalGeneration"], "model_type": "gemma4", "text_config": text,
            "vision_config": {**VISION, "use_clipped_linears": True}, "audio_config": AUDIO,
            **media_ids(ids), "tie_word_embeddings": True, "initializer_range": 0.02}


def e4b():
    """Shared tail of another length, no double width, five heads on one KV head; text only and sharded."""
    return {"architectures": ["Gemma4ForCausalLM"], **gemma4_text(
        vocab_size=293, hidden_size=40, intermediate_size=88, num_hidden_layers=7, num_attention_heads=6,
        num_key_value_heads=3, head_dim=12, global_head_dim=24, layer_types=[S, S, S, F, S, S, F],
        num_kv_shared_layers=2, hidden_size_per_layer_input=20, sliding_window=6,
        final_logit_softcapping=20.0, rms_norm_eps=1e-5, rope_parameters=rope(5000.0, 200000.0, 0.5))}


def moe_26b(ids):
    """Experts beside the dense MLP, keys as values in the full layers, bidirectional images; nested, no audio."""
    text = gemma4_text(
        vocab_size=ids["vocab_size"], hidden_size=48, intermediate_size=40, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, num_global_key_value_heads=1, layer_types=[S, F, S, F], attention_k_eq_v=True,
        pad_token_id=ids["<pad>"], eos_token_id=ids["<eos>"], bos_token_id=ids["<bos>"], max_position_embeddings=1024,
        enable_moe_block=True, num_experts=6, top_k_experts=2, moe_intermediate_size=24,
        use_bidirectional_attention="vision", rope_parameters=rope(10000.0, 1000000.0, 0.25))
    return {"architectures": ["Gemma4ForConditionalGeneration"], "model_type": "gemma4", "text_config": text,
            "vision_config": {**VISION, "standardize": True}, "audio_config": None, **media_ids(ids),
            "tie_word_embeddings": True, "initializer_range": 0.02}


def dense_31b():
    """Keys as values without experts. Written as newer files are: per_layer_config instead of the global_ fields."""
    text = gemma4_text(
        vocab_size=300, hidden_size=52, intermediate_size=72, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, layer_types=[S, S, S, F], attention_k_eq_v=True, sliding_window=9,
        use_bidirectional_attention="vision", rope_parameters=rope(9000.0, 800000.0, 0.25))
    del text["global_head_dim"], text["num_global_key_value_heads"]
    text["per_layer_config"] = {"3": {"head_dim": 32, "num_key_value_heads": 2}}
    return {"architectures": ["Gemma4ForConditionalGeneration"], "model_type": "gemma4", "text_config": text,
            "vision_config": {**VISION, "standardize": True}, "audio_config": None, **MEDIA_IDS,
            "tie_word_embeddings": True, "initializer_range": 0.02}


def unified_12b(ids):
    """The encoder-free form: other model types, embedders instead of towers."""
    text = gemma4_text(
        "gemma4_unified_text", vocab_size=ids["vocab_size"], pad_token_id=ids["<pad>"], eos_token_id=ids["<eos>"],
        bos_token_id=ids["<bos>"], max_position_embeddings=1024, hidden_size=44, intermediate_size=60, num_hidden_layers=5,
        num_attention_heads=4, num_key_value_heads=2, num_global_key_value_heads=1, layer_types=[S, F, S, S, F],
        attention_k_eq_v=True, use_bidirectional_attention="vision", rope_parameters=rope(10000.0, 1000000.0, 0.25))
    for key in ("enable_moe_block", "num_experts", "top_k_experts", "moe_intermediate_size",
                "hidden_size_per_layer_input", "vocab_size_per_layer_input"):
        del text[key]  # the unified text model has neither experts nor per-layer inputs
    return {"architectures": ["Gemma4UnifiedForConditionalGeneration"], "model_type": "gemma4_unified",
            "text_config": text,
            "vision_config": {"model_type": "gemma4_unified_vision", "patch_size": 4, "pooling_kernel_size": 3,
                              "mm_embed_dim": 44, "mm_posemb_size": 32, "output_proj_dims": 44},
            "audio_config": {"model_type": "gemma4_unified_audio", "audio_embed_dim": 40},
            **media_ids(ids), "tie_word_embeddings": True, "initializer_range": 0.02}


def gemma3_text():
    """Gemma 3, text only, as published: old RoPE fields, a pattern instead of a list, an own attention scale."""
    return {"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "attention_bias": False,
            "attention_dropout": 0.0, "attn_logit_softcapping": None, "bos_token_id": 2, "eos_token_id": 1,
            "final_logit_softcapping": 25.0, "head_dim": 16, "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": 60, "initializer_range": 0.02, "intermediate_size": 76, "max_position_embeddings": 512,
            "num_attention_heads": 4, "num_hidden_layers": 5, "num_key_value_heads": 1, "pad_token_id": 0,
            "query_pre_attn_scalar": 23, "rms_norm_eps": 1e-06, "rope_local_base_freq": 7000.0,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "rope_theta": 600000.0, "sliding_window": 8,
            "sliding_window_pattern": 3, "use_cache": True, "vocab_size": 300}


def gemma3_nested():
    """Gemma 3 with a vision tower, as published: nested, the old tensor names, the default pattern of six."""
    text = {"model_type": "gemma3_text", "head_dim": 16, "hidden_size": 36, "intermediate_size": 44,
            "num_attention_heads": 4, "num_hidden_layers": 7, "num_key_value_heads": 2, "query_pre_attn_scalar": 16,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 8, "vocab_size": 300,
            "max_position_embeddings": 1024}
    return {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": text,
            "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 16, "intermediate_size": 24,
                              "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16, "patch_size": 4,
                              "vision_use_head": False},
            "boi_token_index": 250, "eoi_token_index": 251, "image_token_index": 252, "mm_tokens_per_image": 4,
            "eos_token_id": [1, 106], "initializer_range": 0.02}


def variants(tokenizer_ids):
    """All of them. Seeds differ, so no two share weights, save the bf16 twins, which are rounded copies."""
    return [
        Variant("e2b_like", e2b(tokenizer_ids), seed=101, gguf=["f32"], dead_kv=True, tokenizer="small"),
        Variant("e2b_like_bf16", e2b(tokenizer_ids), seed=101, torch_dtype="bfloat16", gguf=["bf16"], dead_kv=True,
                greedy_bf16=True),
        Variant("e4b_like", e4b(), seed=102, shards=3, prompt_tokens=51),
        Variant("moe_26b_like", moe_26b(tokenizer_ids), seed=103, tokenizer="large"),
        Variant("moe_26b_like_bf16", moe_26b(tokenizer_ids), seed=103, torch_dtype="bfloat16", gguf=["bf16"], greedy_bf16=True),
        Variant("dense_31b_like", dense_31b(), seed=104, torch_dtype="float16", gguf=["f16"], prompt_tokens=60),
        Variant("unified_12b_like", unified_12b(tokenizer_ids), seed=105, prompt_tokens=43, tokenizer="large"),
        Variant("gemma3_like", gemma3_text(), seed=106, prompt_tokens=41),
        Variant("gemma3_nested_like", gemma3_nested(), seed=107, gguf=["f32"], prompt_tokens=47),
    ]

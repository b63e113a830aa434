#!/usr/bin/env python3
"""Write a checkpoint directory as GGUF, with the names and metadata a converted release has.

usage: to_gguf.py DIR TYPE OUT.gguf       TYPE: f32 | f16 | bf16, of the matrices; vectors and the router stay f32
Text decoder only, Gemma 4 and Gemma 3; a tokenizer is embedded when the directory has one.
"""
import json
import pathlib
import re
import sys

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as T
from safetensors import safe_open
from transformers import AutoConfig

import tiny_tokenizer

TYPES = {"f32": (T.F32, gguf.LlamaFileType.ALL_F32), "f16": (T.F16, gguf.LlamaFileType.MOSTLY_F16),
         "bf16": (T.BF16, gguf.LlamaFileType.MOSTLY_BF16)}
PREFIXES = ("model.language_model.", "language_model.model.", "model.")
TOP = {"embed_tokens.weight": "token_embd.weight", "embed_tokens_per_layer.weight": "per_layer_token_embd.weight",
       "per_layer_model_projection.weight": "per_layer_model_proj.weight",
       "per_layer_projection_norm.weight": "per_layer_proj_norm.weight", "norm.weight": "output_norm.weight"}
LAYER = {
    "input_layernorm.weight": "attn_norm.weight", "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight", "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight", "self_attn.k_norm.weight": "attn_k_norm.weight",
    "self_attn.o_proj.weight": "attn_output.weight", "post_attention_layernorm.weight": "post_attention_norm.weight",
    "pre_feedforward_layernorm.weight": "ffn_norm.weight", "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight", "mlp.down_proj.weight": "ffn_down.weight",
    "post_feedforward_layernorm.weight": "post_ffw_norm.weight", "per_layer_input_gate.weight": "inp_gate.weight",
    "per_layer_projection.weight": "proj.weight", "post_per_layer_input_norm.weight": "post_norm.weight",
    "layer_scalar": "layer_output_scale.weight", "router.proj.weight": "ffn_gate_inp.weight",
    "router.scale": "ffn_gate_inp.scale", "router.per_expert_scale": "ffn_down_exps.scale",
    "experts.gate_up_proj": "ffn_gate_up_exps.weight", "experts.down_proj": "ffn_down_exps.weight",
    "pre_feedforward_layernorm_2.weight": "pre_ffw_norm_2.weight",
    "post_feedforward_layernorm_1.weight": "post_ffw_norm_1.weight",
    "post_feedforward_layernorm_2.weight": "post_ffw_norm_2.weight",
}


def gguf_name(name):
    """The GGUF name of a checkpoint's tensor; None for what is not part of the text decoder."""
    prefix = next((p for p in PREFIXES if name.startswith(p)), None)
    if prefix is None:
        return None
    suffix = name[len(prefix):]
    if suffix in TOP:
        return TOP[suffix]
    layer = re.fullmatch(r"layers\.(\d+)\.(.+)", suffix)
    return f"blk.{layer[1]}.{LAYER[layer[2]]}" if layer else None


def add_common(writer, text):
    rope = text.rope_parameters
    writer.add_block_count(text.num_hidden_layers)
    writer.add_context_length(text.max_position_embeddings)
    writer.add_embedding_length(text.hidden_size)
    writer.add_head_count(text.num_attention_heads)
    writer.add_layer_norm_rms_eps(text.rms_norm_eps)
    writer.add_rope_freq_base(rope["full_attention"]["rope_theta"])
    writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
    writer.add_sliding_window(text.sliding_window)
    if text.final_logit_softcapping:
        writer.add_final_logit_softcapping(text.final_logit_softcapping)


def add_gemma4(writer, text):
    sliding = [t == "sliding_attention" for t in text.layer_types]
    layers = [text.per_layer_config[i] for i in range(text.num_hidden_layers)]
    full, local = layers[sliding.index(False)], layers[sliding.index(True)]
    first_shared = text.num_hidden_layers - text.num_kv_shared_layers
    if getattr(text, "use_double_wide_mlp", False):
        writer.add_feed_forward_length([text.intermediate_size * (2 if i >= first_shared else 1)
                                        for i in range(text.num_hidden_layers)])
    else:
        writer.add_feed_forward_length(text.intermediate_size)
    if full.num_key_value_heads != local.num_key_value_heads:
        writer.add_head_count_kv([layer.num_key_value_heads for layer in layers])
    else:
        writer.add_head_count_kv(text.num_key_value_heads)
    writer.add_shared_kv_layers(text.num_kv_shared_layers)
    writer.add_embedding_length_per_layer_input(getattr(text, "hidden_size_per_layer_input", 0) or 0)
    writer.add_sliding_window_pattern(sliding)
    writer.add_key_length(full.head_dim)
    writer.add_value_length(full.head_dim)
    writer.add_key_length_swa(local.head_dim)
    writer.add_value_length_swa(local.head_dim)
    writer.add_rope_dimension_count(full.head_dim)
    writer.add_rope_dimension_count_swa(local.head_dim)
    if getattr(text, "enable_moe_block", False):
        writer.add_expert_count(text.num_experts)
        writer.add_expert_used_count(text.top_k_experts)
        writer.add_expert_feed_forward_length(text.moe_intermediate_size)
    # Proportional RoPE: divisors of the frequencies, 1 for the pairs that turn and so large for the others that they do
    # not. Full layers only.
    turning = int(full.head_dim * text.rope_parameters["full_attention"]["partial_rotary_factor"] / 2)
    divisors = [1.0] * turning + [1e30] * (full.head_dim // 2 - turning)
    writer.add_tensor("rope_freqs.weight", np.asarray(divisors, np.float32))


def add_gemma3(writer, text):
    writer.add_feed_forward_length(text.intermediate_size)
    writer.add_head_count_kv(text.num_key_value_heads)
    writer.add_key_length(text.head_dim)
    writer.add_value_length(text.head_dim)
    full = text.rope_parameters["full_attention"]
    if full["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(full["factor"])


def add_tokenizer(writer, directory):
    document = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = sorted(document["model"]["vocab"], key=document["model"]["vocab"].get)
    special = {t["content"] for t in document["added_tokens"]}

    def kind(piece):
        if piece in tiny_tokenizer.VISIBLE:
            return gguf.TokenType.USER_DEFINED
        if piece in special:
            return gguf.TokenType.CONTROL
        return gguf.TokenType.BYTE if re.fullmatch("<0x[0-9A-F]{2}>", piece) else gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gemma4")
    writer.add_token_list(vocab)
    writer.add_token_scores([-1000.0] * len(vocab))
    writer.add_token_types([kind(piece) for piece in vocab])
    writer.add_token_merges([" ".join(pair) for pair in document["model"]["merges"]])
    ids = document["model"]["vocab"]
    writer.add_bos_token_id(ids["<bos>"])
    writer.add_eos_token_id(ids["<eos>"])
    writer.add_unk_token_id(ids["<unk>"])
    writer.add_pad_token_id(ids["<pad>"])
    writer.add_mask_token_id(ids["<mask>"])
    writer.add_add_space_prefix(False)
    writer.add_add_bos_token(True)
    writer.add_chat_template((directory / "chat_template.jinja").read_text(encoding="utf-8"))


def convert(directory, type_name, out):
    """Writes `out` from the safetensors files of `directory`."""
    kind, file_type = TYPES[type_name]
    text = AutoConfig.from_pretrained(directory).get_text_config()
    is_gemma3 = text.model_type == "gemma3_text"
    writer = gguf.GGUFWriter(out, "gemma3" if is_gemma3 else "gemma4")
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(directory.name)
    add_common(writer, text)
    (add_gemma3 if is_gemma3 else add_gemma4)(writer, text)
    writer.add_file_type(file_type)
    writer.add_quantization_version(2)
    if (directory / "tokenizer.json").exists():
        add_tokenizer(writer, directory)
    tensors = {}
    for path in sorted(directory.glob("model*.safetensors")):
        with safe_open(path, "pt") as file:
            tensors.update({n: file.get_tensor(k) for k in file.keys() if (n := gguf_name(k)) is not None})
    for name in sorted(tensors):
        value = tensors[name].float()
        if is_gemma3 and name.endswith("norm.weight"):
            value = value + 1  # Gemma 3 checkpoints store w of (1 + w), converted files 1 + w
        matrix = value.dim() > 1 and not name.endswith(("_norm.weight", "ffn_gate_inp.weight"))
        if not matrix or kind == T.F32:
            writer.add_tensor(name, value.numpy())
        elif kind == T.F16:
            writer.add_tensor(name, value.to(torch.float16).numpy())
        else:
            writer.add_tensor(name, gguf.quantize(value.numpy(), T.BF16), raw_dtype=T.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[2] not in TYPES:
        sys.exit(__doc__)
    convert(pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3])

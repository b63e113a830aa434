#!/usr/bin/env python3
"""Write the media encoders of the tiny checkpoints as GGUF projector files, with the names llama.cpp's converter gives
them, and once with those of ollama's.

usage: to_mmproj.py     after generate.py; seconds
"""
import pathlib
import re

import gguf
import numpy as np
import torch
from safetensors import safe_open
from transformers import AutoConfig

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
# Hugging Face -> llama.cpp; parts of names, in this order.
NAMES = [
    (r"^model\.vision_tower\.encoder\.layers\.", "v.blk."), (r"^model\.audio_tower\.layers\.", "a.blk."),
    (r"^model\.vision_tower\.patch_embedder\.input_proj", "v.patch_embd"),
    (r"^model\.vision_tower\.patch_embedder\.position_embedding_table$", "v.position_embd.weight"),
    (r"^model\.vision_tower\.std_", "v.std_"),
    (r"^model\.audio_tower\.subsample_conv_projection\.layer(\d)\.conv", r"a.conv1d.\1"),
    (r"^model\.audio_tower\.subsample_conv_projection\.layer(\d)\.norm", r"a.conv1d.\1.norm"),
    (r"^model\.audio_tower\.subsample_conv_projection\.input_proj_linear", "a.input_projection"),
    (r"^model\.audio_tower\.output_proj", "a.pre_encode.out"),
    (r"^model\.embed_vision\.embedding_projection", "mm.input_projection"),
    (r"^model\.embed_audio\.embedding_projection", "mm.a.input_projection"),
    (r"^model\.vision_embedder\.patch_ln(\d)", r"v.patch_norm.\1"), (r"^model\.vision_embedder\.pos_norm", "v.patch_norm.3"),
    (r"^model\.vision_embedder\.patch_dense", "v.patch_embd"),
    (r"^model\.vision_embedder\.pos_embedding$", "v.position_embd.weight"),
    (r"\.linear\.weight$", ".weight"), (r"self_attn\.relative_k_proj", "attn_k_rel"),
    (r"self_attn\.([qk])_norm", r"attn_\1_norm"), (r"self_attn\.([qkv])_proj", r"attn_\1"),
    (r"self_attn\.(o_proj|post)\b", "attn_out"), (r"self_attn\.per_dim_scale$", "per_dim_scale.weight"),
    (r"input_layernorm", "ln1"), (r"post_attention_layernorm", "attn_post_norm"), (r"pre_feedforward_layernorm", "ln2"),
    (r"post_feedforward_layernorm", "ffn_post_norm"), (r"mlp\.(gate|up|down)_proj", r"ffn_\1"),
    (r"feed_forward1\.pre_layer_norm", "ffn_norm"), (r"feed_forward1\.post_layer_norm", "ffn_post_norm"),
    (r"feed_forward1\.ffw_layer_1", "ffn_up"), (r"feed_forward1\.ffw_layer_2", "ffn_down"),
    (r"feed_forward2\.pre_layer_norm", "ffn_norm_1"), (r"feed_forward2\.post_layer_norm", "ffn_post_norm_1"),
    (r"feed_forward2\.ffw_layer_1", "ffn_up_1"), (r"feed_forward2\.ffw_layer_2", "ffn_down_1"),
    (r"norm_pre_attn", "attn_pre_norm"), (r"norm_post_attn", "attn_post_norm"), (r"norm_out", "ln2"),
    (r"lconv1d\.pre_layer_norm", "conv_norm"), (r"lconv1d\.conv_norm", "norm_conv"),
    (r"lconv1d\.linear_start", "conv_pw1"), (r"lconv1d\.linear_end", "conv_pw2"), (r"lconv1d\.depthwise_conv1d", "conv_dw"),
]
# llama.cpp -> ollama, of audio tensors.
RENAMED = [(r"^a\.pre_encode\.out", "mm.a.fc"), (r"^a\.input_projection", "a.pre_encode.out"),
           (r"^(a\.blk\.\d+)\.ln2", r"\1.layer_pre_norm"), (r"^(a\.blk\.\d+)\.attn_pre_norm", r"\1.ln1"),
           (r"^(a\.blk\.\d+)\.attn_post_norm", r"\1.ln2"), (r"attn_k_rel", "linear_pos")]
LINEARS = ["attn_q", "attn_k", "attn_v", "attn_out", "ffn_gate", "ffn_up", "ffn_down"]
BOUNDS = ["input_min", "input_max", "output_min", "output_max"]


def channels_first(value, side):
    """Columns (or entries) of a patch from rows, columns, channels to channels, rows, columns."""
    lead = value.shape[:-1]
    return value.reshape(*lead, side, side, 3).movedim(-1, -3).reshape(*lead, -1)


def tensors(directory, config):
    out = {}
    for path in sorted(directory.glob("model*.safetensors")):
        with safe_open(path, "pt") as file:
            for key in file.keys():
                if not re.match(r"model\.(vision|audio|embed_)", key):
                    continue
                name, value = key, file.get_tensor(key).float()
                for pattern, replacement in NAMES:
                    name = re.sub(pattern, replacement, name)
                if value.dim() == 0:
                    value = value[None]
                if name == "v.patch_embd.weight" and "vision_tower" in key:
                    side = config.vision_config.patch_size
                    value = channels_first(value, side).reshape(-1, 3, side, side)
                elif re.match(r"v\.(patch_embd\.weight|patch_norm\.1)", name):
                    value = channels_first(value, config.vision_config.patch_size * config.vision_config.pooling_kernel_size)
                elif name == "v.position_embd.weight" and "vision_embedder" in key:
                    value = value.movedim(1, 0)
                elif name.endswith("per_dim_scale.weight"):
                    value = torch.nn.functional.softplus(value)
                elif name.endswith("conv_dw.weight"):
                    value = value[:, 0]
                out[name] = value.contiguous().numpy().astype(np.float32)
    return out


def convert(directory, out, ollama=False):
    config = AutoConfig.from_pretrained(directory)
    unified = config.model_type == "gemma4_unified"
    found = tensors(directory, config)
    writer = gguf.GGUFWriter(out, "gemma4" if ollama else "clip")
    if ollama:
        writer.add_uint32("gemma4.vision.projector.scale_factor", config.vision_config.pooling_kernel_size)
        layers = sum(bool(re.fullmatch(r"v\.blk\.\d+\.ln1\.weight", n)) for n in found)
        data = [found.pop(f"v.blk.{i}.{linear}.{bound}")[0] for i in range(layers) for linear in LINEARS for bound in BOUNDS]
        renamed = {}
        for name, value in found.items():
            for pattern, replacement in RENAMED:
                changed = re.sub(pattern, replacement, name)
                if changed != name:
                    name = changed
                    break
            renamed[name] = value
        found = {**renamed, "v.clamp_data": np.asarray(data + [0] * 4, np.float32)}
    else:
        writer.add_type(gguf.GGUFType.MMPROJ)
        writer.add_clip_has_vision_encoder(True)
        writer.add_clip_vision_projector_type("gemma4uv" if unified else "gemma4v")
        if config.audio_config is not None:
            writer.add_clip_has_audio_encoder(True)
            writer.add_clip_audio_projector_type("gemma4ua" if unified else "gemma4a")
    for name in sorted(found):
        writer.add_tensor(name, found[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{out.relative_to(ROOT)}: {len(found)} tensors, {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    (ROOT / "projector").mkdir(exist_ok=True)
    convert(ROOT / "e2b_like", ROOT / "e2b_like" / "mmproj-f32.gguf")
    convert(ROOT / "e2b_like", ROOT / "projector" / "e2b_like-ollama.gguf", ollama=True)
    convert(ROOT / "moe_26b_like", ROOT / "projector" / "moe_26b_like.gguf")
    convert(ROOT / "unified_12b_like", ROOT / "projector" / "unified_12b_like.gguf")

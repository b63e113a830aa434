#!/usr/bin/env python3
"""Write a projector file (mmproj) of full size with random weights: the media encoders of a Gemma 4 model, for measuring
how fast pictures and sound are encoded. llama.cpp loads the result, so both programs can be timed on the same file.

usage: synth_mmproj.py SIZE TYPE OUT.gguf
  SIZE   e2b | e4b (vision and audio tower), 26b | 31b (vision tower)
  TYPE   f16 | bf16 | q8_0
needs: numpy, gguf
"""
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

TEXT_WIDTH = {"e2b": 1536, "e4b": 2560, "26b": 2816, "31b": 5376}
SMALL = dict(layers=16, hidden=768, mlp=3072, heads=12, clipped=True)
LARGE = dict(layers=27, hidden=1152, mlp=4304, heads=16, clipped=False)
AUDIO = dict(layers=12, hidden=1024, heads=8, channels=(128, 32), out=1536)
POSITIONS, PATCH = 10240, 16
WEIGHT = {"f16": T.F16, "bf16": T.BF16, "q8_0": T.Q8_0}


def vision(c, text, add, linear):
    add("v.patch_embd.weight", (c["hidden"], 3, PATCH, PATCH), T.F16 if c["type"] != T.F32 else T.F32)
    add("v.position_embd.weight", (2, POSITIONS, c["hidden"]), T.F32)
    head = c["hidden"] // c["heads"]
    for i in range(c["layers"]):
        b = f"v.blk.{i}."
        for name in ("ln1", "attn_post_norm", "ln2", "ffn_post_norm"):
            add(b + name + ".weight", (c["hidden"],), T.F32)
        for name in ("attn_q_norm", "attn_k_norm"):
            add(b + name + ".weight", (head,), T.F32)
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            linear(b + name, c["hidden"], c["hidden"], c["clipped"])
        for name in ("ffn_gate", "ffn_up"):
            linear(b + name, c["mlp"], c["hidden"], c["clipped"])
        linear(b + "ffn_down", c["hidden"], c["mlp"], c["clipped"])
    if not c["clipped"]:
        add("v.std_bias", (c["hidden"],), T.F32)
        add("v.std_scale", (c["hidden"],), T.F32)
    linear("mm.input_projection", text, c["hidden"], False)


def audio(c, text, add, linear):
    hidden, channels = c["hidden"], c["channels"]
    add("a.conv1d.0.weight", (channels[0], 1, 3, 3), T.F32)
    add("a.conv1d.1.weight", (channels[1], channels[0], 3, 3), T.F32)
    for i in range(2):
        add(f"a.conv1d.{i}.norm.weight", (channels[i],), T.F32)
    linear("a.input_projection", hidden, channels[0] // 4 * channels[1], False)
    for i in range(c["layers"]):
        b = f"a.blk.{i}."
        for name in ("ffn_norm", "ffn_post_norm", "ffn_norm_1", "ffn_post_norm_1", "attn_pre_norm", "attn_post_norm", "ln2",
                     "conv_norm", "norm_conv"):
            add(b + name + ".weight", (hidden,), T.F32)
        for suffix in ("", "_1"):
            linear(b + "ffn_up" + suffix, 4 * hidden, hidden, True)
            linear(b + "ffn_down" + suffix, hidden, 4 * hidden, True)
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            linear(b + name, hidden, hidden, True)
        linear(b + "attn_k_rel", hidden, hidden, False)
        add(b + "per_dim_scale.weight", (hidden // c["heads"],), T.F32)
        linear(b + "conv_pw1", 2 * hidden, hidden, True)
        linear(b + "conv_pw2", hidden, hidden, True)
        add(b + "conv_dw.weight", (hidden, 5), T.F32)
    linear("a.pre_encode.out", c["out"], hidden, False)
    add("a.pre_encode.out.bias", (c["out"],), T.F32)
    linear("mm.a.input_projection", text, c["out"], False)


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in TEXT_WIDTH or sys.argv[2] not in WEIGHT:
        sys.exit(__doc__)
    size, type_name, out = sys.argv[1:]
    small, weight, rng = size in ("e2b", "e4b"), WEIGHT[type_name], np.random.default_rng(1)
    c = {**(SMALL if small else LARGE), "type": weight}
    writer = gguf.GGUFWriter(out, "clip")
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_vision_projector_type("gemma4v")
    writer.add_vision_projection_dim(TEXT_WIDTH[size])
    writer.add_vision_image_size(224)
    writer.add_vision_patch_size(PATCH)
    writer.add_vision_embedding_length(c["hidden"])
    writer.add_vision_feed_forward_length(c["mlp"])
    writer.add_vision_block_count(c["layers"])
    writer.add_vision_head_count(c["heads"])
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_image_mean([0.0] * 3)
    writer.add_vision_image_std([1.0] * 3)
    if small:
        writer.add_clip_has_audio_encoder(True)
        writer.add_clip_audio_projector_type("gemma4a")
        writer.add_audio_projection_dim(TEXT_WIDTH[size])
        writer.add_audio_embedding_length(AUDIO["hidden"])
        writer.add_audio_feed_forward_length(4 * AUDIO["hidden"])
        writer.add_audio_block_count(AUDIO["layers"])
        writer.add_audio_head_count(AUDIO["heads"])
        writer.add_audio_num_mel_bins(128)
        writer.add_audio_attention_layernorm_eps(1e-6)

    def add(name, shape, kind):
        if "norm" in name or name.rsplit(".", 1)[0].endswith(("ln1", "ln2", "std_scale")) or name == "v.std_scale":
            values = np.ones(shape, np.float32)
        else:
            fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 100
            values = (np.resize(rng.standard_normal(1 << 20), int(np.prod(shape))) / np.sqrt(fan_in)).astype(np.float32).reshape(shape)
        if kind == T.F32 or len(shape) == 1:
            writer.add_tensor(name, values)
        elif kind == T.F16:
            writer.add_tensor(name, values.astype(np.float16))
        else:
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)

    def linear(stem, rows, columns, clipped):
        whole = columns % gguf.GGML_QUANT_SIZES[weight][0] == 0
        add(stem + ".weight", (rows, columns), weight if whole else T.F16)
        for bound, value in (("input_min", -50), ("input_max", 50), ("output_min", -50), ("output_max", 50)) if clipped else ():
            writer.add_tensor(f"{stem}.{bound}", np.asarray([value], np.float32))

    vision(c, TEXT_WIDTH[size], add, linear)
    if small:
        audio(AUDIO, TEXT_WIDTH[size], add, linear)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Write a full-size Gemma 4 GGUF with random weights, for measuring speed and memory without released weights.

usage: synth_gguf.py SIZE TYPE OUT.gguf VOCAB.gguf
  SIZE   e2b | e4b | 12b | 26b | 31b          (text model only), or smoke: one of 60 MB for trying things out, or thin-e2b |
         thin-26b: two small layers as wide as that size, to measure its projector file with
  TYPE   q4_0 | q8_0 | q4_k | q6_k | bf16 | f16      (embedding tables: q6_k for the 4-bit types, else TYPE)
  VOCAB  a GGUF that carries the Gemma 4 tokenizer (llama.cpp's models/ggml-vocab-gemma-4.gguf)
needs: numpy, gguf. Values are drawn so that activations stay finite; the text it generates is noise.
llama.cpp loads the result, so both programs can be timed on the same file.
"""
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

VOCAB_SIZE, HEAD_DIM_SLIDING, HEAD_DIM_FULL = 262144, 256, 512
SIZES = {
    "e2b": dict(layers=35, hidden=1536, mlp=6144, heads=8, kv_sliding=1, kv_full=1, pattern=5, window=512,
                shared=20, ple=256, wide=True, context=131072),
    "e4b": dict(layers=42, hidden=2560, mlp=10240, heads=8, kv_sliding=2, kv_full=2, pattern=6, window=512,
                shared=18, ple=256, context=131072),
    "12b": dict(layers=48, hidden=3840, mlp=15360, heads=16, kv_sliding=8, kv_full=1, pattern=6, window=1024,
                context=262144),
    "26b": dict(layers=30, hidden=2816, mlp=2112, heads=16, kv_sliding=8, kv_full=2, pattern=6, window=1024,
                context=262144, experts=128, top_k=8, expert_mlp=704),
    "31b": dict(layers=60, hidden=5376, mlp=21504, heads=32, kv_sliding=16, kv_full=4, pattern=6, window=1024,
                context=262144),
    "thin-e2b": dict(layers=2, hidden=1536, mlp=512, heads=2, kv_sliding=1, kv_full=1, pattern=2, window=512, context=32768),
    "thin-26b": dict(layers=2, hidden=2816, mlp=512, heads=2, kv_sliding=1, kv_full=1, pattern=2, window=1024, context=32768),
    "smoke": dict(layers=6, hidden=256, mlp=512, heads=2, kv_sliding=1, kv_full=1, pattern=3, window=64, context=8192),
}
WEIGHT = {"q4_0": T.Q4_0, "q8_0": T.Q8_0, "q4_k": T.Q4_K, "q6_k": T.Q6_K, "bf16": T.BF16, "f16": T.F16}
TABLE = {"q4_0": T.Q6_K, "q8_0": T.Q8_0, "q4_k": T.Q6_K, "q6_k": T.Q6_K, "bf16": T.BF16, "f16": T.F16}
FILE_TYPE = {"q4_0": 2, "q8_0": 7, "q4_k": 15, "q6_k": 18, "bf16": 32, "f16": 1}


def size_in_bytes(shape, kind):
    block, width = gguf.GGML_QUANT_SIZES[kind]
    return int(np.prod(shape)) // block * width


def metadata(writer, c, type_name, vocab_path):
    for field in gguf.GGUFReader(vocab_path).fields.values():
        if not field.name.startswith("tokenizer."):
            continue
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(field.name, field.contents())
        else:
            writer.add_key_value(field.name, field.contents(), field.types[0])
    sliding = [i % c["pattern"] != c["pattern"] - 1 for i in range(c["layers"])]
    shared = c.get("shared", 0)
    mlp = [c["mlp"] * (2 if c.get("wide") and i >= c["layers"] - shared else 1) for i in range(c["layers"])]
    writer.add_block_count(c["layers"])
    writer.add_context_length(c["context"])
    writer.add_embedding_length(c["hidden"])
    writer.add_feed_forward_length(mlp if c.get("wide") else c["mlp"])
    writer.add_head_count(c["heads"])
    writer.add_head_count_kv([c["kv_sliding"] if s else c["kv_full"] for s in sliding])
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_float32("gemma4.rope.freq_base_swa", 1e4)
    writer.add_sliding_window(c["window"])
    writer.add_shared_kv_layers(shared)
    writer.add_embedding_length_per_layer_input(c.get("ple", 0))
    writer.add_sliding_window_pattern(sliding)
    writer.add_key_length(HEAD_DIM_FULL)
    writer.add_value_length(HEAD_DIM_FULL)
    writer.add_key_length_swa(HEAD_DIM_SLIDING)
    writer.add_value_length_swa(HEAD_DIM_SLIDING)
    writer.add_rope_dimension_count(HEAD_DIM_FULL)
    writer.add_rope_dimension_count_swa(HEAD_DIM_SLIDING)
    writer.add_final_logit_softcapping(30.0)
    if "experts" in c:
        writer.add_expert_count(c["experts"])
        writer.add_expert_used_count(c["top_k"])
        writer.add_expert_feed_forward_length(c["expert_mlp"])
    writer.add_file_type(FILE_TYPE[type_name])
    writer.add_quantization_version(2)
    return sliding, mlp


def tensors(c, sliding, mlp, weight, table):
    """Yield (name, shape slowest first, type)."""
    hidden, ple, k_eq_v = c["hidden"], c.get("ple", 0), not c.get("ple", 0)
    first_shared = c["layers"] - c.get("shared", 0)
    yield "token_embd.weight", (VOCAB_SIZE, hidden), table
    if ple:
        yield "per_layer_token_embd.weight", (VOCAB_SIZE, ple * c["layers"]), table
        yield "per_layer_model_proj.weight", (ple * c["layers"], hidden), T.BF16
        yield "per_layer_proj_norm.weight", (ple,), T.F32
    yield "output_norm.weight", (hidden,), T.F32
    yield "rope_freqs.weight", (HEAD_DIM_FULL // 2,), T.F32
    for i in range(c["layers"]):
        b = f"blk.{i}."
        d = HEAD_DIM_SLIDING if sliding[i] else HEAD_DIM_FULL
        kv = c["kv_sliding"] if sliding[i] else c["kv_full"]
        for n in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
            yield b + n + ".weight", (hidden,), T.F32
        yield b + "attn_q.weight", (c["heads"] * d, hidden), weight
        if i < first_shared:
            yield b + "attn_k.weight", (kv * d, hidden), weight
            if sliding[i] or not k_eq_v:
                yield b + "attn_v.weight", (kv * d, hidden), weight
            yield b + "attn_k_norm.weight", (d,), T.F32
        yield b + "attn_q_norm.weight", (d,), T.F32
        yield b + "attn_output.weight", (hidden, c["heads"] * d), weight
        yield b + "layer_output_scale.weight", (1,), T.F32
        yield b + "ffn_gate.weight", (mlp[i], hidden), weight
        yield b + "ffn_up.weight", (mlp[i], hidden), weight
        whole = mlp[i] % gguf.GGML_QUANT_SIZES[weight][0] == 0
        yield b + "ffn_down.weight", (hidden, mlp[i]), weight if whole else T.Q8_0
        if ple:
            yield b + "inp_gate.weight", (ple, hidden), T.BF16
            yield b + "proj.weight", (hidden, ple), T.BF16
            yield b + "post_norm.weight", (hidden,), T.F32
        if "experts" in c:
            e, m = c["experts"], c["expert_mlp"]
            yield b + "ffn_gate_inp.weight", (e, hidden), T.F32
            yield b + "ffn_gate_inp.scale", (hidden,), T.F32
            for n in ("pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2"):
                yield b + n + ".weight", (hidden,), T.F32
            yield b + "ffn_gate_up_exps.weight", (e, 2 * m, hidden), weight
            down = weight if m % gguf.GGML_QUANT_SIZES[weight][0] == 0 else T.Q8_0
            yield b + "ffn_down_exps.weight", (e, hidden, m), down
            yield b + "ffn_down_exps.scale", (e,), T.F32


class RandomBytes:
    """Random tensor bytes; one pool of blocks per (type, row length), repeated to size."""

    def __init__(self):
        self.rng, self.pools = np.random.default_rng(1), {}

    def of(self, name, shape, kind):
        count = int(np.prod(shape))
        if kind == T.F32:
            if name == "rope_freqs.weight":
                values = [1.0] * 64 + [1e30] * (HEAD_DIM_FULL // 2 - 64)
            elif name.endswith("layer_output_scale.weight"):
                values = [0.5]
            elif name.endswith("ffn_gate_inp.weight"):
                values = self.rng.standard_normal(count) * 0.5
            else:
                values = np.ones(count)
            return np.asarray(values, np.float32).view(np.uint8)
        key = (kind, shape[-1])
        if key not in self.pools:
            self.pools[key] = self.pool(kind, 1 / np.sqrt(shape[-1]))
        return np.resize(self.pools[key], size_in_bytes(shape, kind))

    def pool(self, kind, sigma):
        blocks, width = 1 << 18, gguf.GGML_QUANT_SIZES[kind][1]
        if kind in (T.BF16, T.F16):
            x = (self.rng.standard_normal(blocks * 16) * sigma).astype(np.float32)
            return ((x.view(np.uint32) >> 16).astype(np.uint16) if kind == T.BF16 else x.astype(np.float16)).view(np.uint8)
        data = self.rng.integers(0, 256, (blocks, width), dtype=np.uint8)

        def half(offset, value):
            data[:, offset:offset + 2] = np.full((blocks, 1), value, np.float16).view(np.uint8)
        if kind == T.Q4_0:
            half(0, sigma / 4.6)
        elif kind == T.Q8_0:
            half(0, sigma / 74)
        elif kind == T.Q6_K:
            half(208, sigma / 18.5 / 74)
        elif kind == T.Q4_K:
            half(0, sigma / 4.6 / 32)
            half(2, sigma / 4.6 / 32 * 7.5)
        return data.reshape(-1)


def main():
    if len(sys.argv) != 5 or sys.argv[1] not in SIZES or sys.argv[2] not in WEIGHT:
        sys.exit(__doc__)
    size, type_name, out, vocab = sys.argv[1:]
    c = SIZES[size]
    writer = gguf.GGUFWriter(out, "gemma4")
    writer.add_name(f"synthetic-{size}")
    sliding, mlp = metadata(writer, c, type_name, vocab)
    todo = list(tensors(c, sliding, mlp, WEIGHT[type_name], TABLE[type_name]))
    for name, shape, kind in todo:
        if gguf.GGML_QUANT_SIZES[kind][0] > 1:
            writer.add_tensor_info(name, gguf.quant_shape_to_byte_shape(shape, kind), np.dtype(np.uint8),
                                   size_in_bytes(shape, kind), raw_dtype=kind)
        else:
            writer.add_tensor_info(name, shape, np.dtype(np.float32 if kind == T.F32 else np.uint16),
                                   size_in_bytes(shape, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random_bytes = RandomBytes()
    for name, shape, kind in todo:
        writer.write_tensor_data(random_bytes.of(name, shape, kind))
    writer.close()
    print(f"{out}: {sum(size_in_bytes(s, k) for _, s, k in todo) / 1e9:.2f} GB of tensors")


if __name__ == "__main__":
    main()

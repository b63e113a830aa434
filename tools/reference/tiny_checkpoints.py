#!/usr/bin/env python3
"""Write the tiny random checkpoints of tests/golden and what the reference implementation computes on them.

usage: tiny_checkpoints.py            (writes every variant; deterministic)

Each folder holds a checkpoint as published ones are laid out and golden.safetensors: ids, embedding, per_layer_inputs,
layer.N, norm, logits of one forward pass in f32, and a greedy continuation. Nothing keeps its initial value: norm weights,
layer scalars, router scales and so on are drawn, so that a part left out shows. See README.md.
"""
import json
import pathlib
import shutil

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import (
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    Gemma4Config,
    Gemma4ForCausalLM,
    Gemma4ForConditionalGeneration,
    Gemma4TextConfig,
)
from transformers.models.gemma4_unified import Gemma4UnifiedForCausalLM, Gemma4UnifiedTextConfig

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/golden"
S, F = "sliding_attention", "full_attention"
COMMON = dict(vocab_size=300, hidden_size=64, intermediate_size=96, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
              sliding_window=8, max_position_embeddings=256, pad_token_id=0, eos_token_id=1, bos_token_id=2)
GEMMA4 = dict(COMMON, global_head_dim=32, final_logit_softcapping=30.0)
E2B = dict(GEMMA4, num_hidden_layers=6, layer_types=[S, S, F, S, S, F], num_kv_shared_layers=3, use_double_wide_mlp=True,
           hidden_size_per_layer_input=16, vocab_size_per_layer_input=300)
E4B = dict(GEMMA4, num_attention_heads=6, num_key_value_heads=3, num_hidden_layers=8, layer_types=[S, F, S, S, F, S, S, F],
           num_kv_shared_layers=2, hidden_size_per_layer_input=8, vocab_size_per_layer_input=300, intermediate_size=80)
LARGE = dict(GEMMA4, num_hidden_layers=4, layer_types=[S, F, S, F], num_global_key_value_heads=1, attention_k_eq_v=True,
             hidden_size_per_layer_input=0, use_bidirectional_attention="vision")
VISION = dict(hidden_size=48, intermediate_size=80, num_hidden_layers=1, num_attention_heads=3, num_key_value_heads=3, head_dim=16,
              position_embedding_size=16, patch_size=4, pooling_kernel_size=3, use_clipped_linears=True)
AUDIO = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, subsampling_conv_channels=[8, 4], output_proj_dims=24)
GEMMA3 = dict(COMMON, num_hidden_layers=7, query_pre_attn_scalar=20,
              rope_parameters={F: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}, S: {"rope_type": "default", "rope_theta": 5e3}})


def randomise(model, seed):
    g = torch.Generator().manual_seed(seed)
    gemma3 = "gemma3" in model.config.model_type

    def draw(shape, kind=torch.randn):
        return kind(shape, generator=g)

    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for name in sorted(tensors):
            t = tensors[name]
            if not t.is_floating_point() or "inv_freq" in name or "embed_scale" in name or t.numel() == 0:
                continue
            if "layer_scalar" in name:
                t.copy_(0.5 + 0.5 * draw(t.shape, torch.rand))
            elif "q_norm" in name:
                # Softer attention than trained models have: random layers otherwise double rounding noise one by one, and
                # the reference's own f32 error would reach the tolerance of the comparison.
                t.copy_((-0.5 if gemma3 else 0.5) + 0.1 * draw(t.shape))
            elif "norm" in name:
                t.copy_((0.0 if gemma3 else 1.0) + 0.2 * draw(t.shape))
            elif "router.scale" in name or "per_expert_scale" in name:
                t.copy_(0.5 + 0.5 * draw(t.shape, torch.rand))
            elif name.endswith(("_min", "_max")):
                t.fill_(-1.5 if name.endswith("_min") else 1.5)
            else:
                t.copy_(0.15 * draw(t.shape))


def decoder_of(model):
    inner = model.model
    return inner.language_model if hasattr(inner, "language_model") else inner


def run(model, ids):
    """Every intermediate the runtime's trace names, without batch axis, f32."""
    decoder, out, per_layer = decoder_of(model), {}, []
    handles = []

    def layer_hook(index):
        def hook(module, args, kwargs, result):
            hidden = result[0] if isinstance(result, tuple) else result
            out[f"layer.{index}"] = hidden[0].clone()
            if index == 0:
                out["embedding"] = (args[0] if args else kwargs["hidden_states"])[0].clone()
            if len(args) > 1 and args[1] is not None and args[1].dim() == 3:
                per_layer.append(args[1][0].clone())
        return hook

    for i, layer in enumerate(decoder.layers):
        handles.append(layer.register_forward_hook(layer_hook(i), with_kwargs=True))
    handles.append(decoder.norm.register_forward_hook(lambda m, a, r: out.__setitem__("norm", r[0].clone())))
    with torch.no_grad():
        out["logits"] = model(input_ids=ids[None], use_cache=False).logits[0].float()
    for handle in handles:
        handle.remove()
    if per_layer and getattr(decoder.config, "hidden_size_per_layer_input", 0):
        out["per_layer_inputs"] = torch.stack(per_layer, 1)
    return {k: v.float().contiguous() for k, v in out.items()}


def greedy(model, prompt, count):
    ids = list(prompt)
    gaps = []
    with torch.no_grad():
        for _ in range(count):
            logits = model(input_ids=torch.tensor(ids)[None], use_cache=False).logits[0, -1].float()
            top = logits.topk(2).values
            gaps.append((top[0] - top[1]).item())
            ids.append(int(logits.argmax()))
    return ids[len(prompt):], gaps


def write_golden(folder, model, seed, bf16_model=None):
    r = np.random.default_rng(seed)
    # Below the placeholders of media, which the multimodal classes replace.
    ids = torch.tensor(r.integers(0, 250, 70), dtype=torch.int64)
    out = run(model, ids)
    out["ids"] = ids.int()
    source = bf16_model or model
    # A short prompt whose continuation has no near-ties, so that rounding cannot change it, and no media placeholders.
    for _ in range(5000):
        prompt = r.integers(0, 250, 12).tolist()
        generated, gaps = greedy(source, prompt, 8 if bf16_model is not None else 16)
        if min(gaps) > (0.3 if bf16_model is not None else 0.01) and max(generated) < 250:
            break
    else:
        raise SystemExit(f"{folder}: no prompt without near-ties")
    out["generated_prompt"] = torch.tensor(prompt, dtype=torch.int32)
    out["generated"] = torch.tensor(generated, dtype=torch.int32)
    meta = dict(transformers=transformers.__version__, torch=torch.__version__, seed=str(seed), smallest_gap=f"{min(gaps):.4f}")
    save_file(out, folder / "golden.safetensors", metadata=meta)
    # The folder is a checkpoint: its own weights index or files must not list the golden file.


def save(model, name, dtype=torch.float32, shard=None):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard or "1GB")
    model.to(torch.float32)
    generation = dict(do_sample=True, temperature=1.0, top_k=64, top_p=0.95, eos_token_id=[1, 261], bos_token_id=2, pad_token_id=0)
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=1) + "\n")
    return folder


def round_embedding_scale(model, dtype):
    """The reference casts sqrt(hidden_size) to the weights' type; a run in f32 on 16-bit weights must keep that."""
    table = decoder_of(model).embed_tokens
    table.embed_scale = table.embed_scale.to(dtype).float()


def tiny_tokenizer():
    """The Gemma 4 scheme in 300 entries, special tokens at numbers of their own."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>"] + [f"<0x{b:02X}>" for b in range(256)]
    special = ["<|turn>", "<turn|>", "<|think|>", "<|channel>", "<channel|>", "<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>",
               "<|tool_response>", "<tool_response|>", "<|\"|>", "<|image|>", "<|audio|>", "<|video|>"]
    letters = ["\u2581", "e", "t", "a", "o", "n", "i", "s", "r", "h", "\n", "d", "l", "u"]
    merges = [("t", "h"), ("h", "e"), ("th", "e"), ("\u2581", "t"), ("e", "r"), ("i", "n"), ("a", "n"), ("\u2581", "a"), ("o", "n"), ("r", "e")]
    pieces += special + letters + ["".join(m) for m in merges] + ["ou"]
    assert len(pieces) == 300, len(pieces)
    merges.append(("o", "u"))
    tokenizer = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    user_defined = {"<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", "<|\"|>"}
    tokenizer.add_special_tokens([AddedToken(p, normalized=False, special=True) for p in pieces[:4] + special if p not in user_defined])
    tokenizer.add_tokens([AddedToken(p, normalized=False, special=False) for p in special if p in user_defined])
    return tokenizer


def main():
    # E2B as published: the multimodal class with towers in the file, which text generation leaves alone.
    config = Gemma4Config(text_config=E2B, vision_config=VISION, audio_config=AUDIO, boi_token_id=250, eoi_token_id=251, image_token_id=272,
                          audio_token_id=273, boa_token_id=254, eoa_token_index=255, video_token_id=274)
    config._attn_implementation = "eager"
    model = Gemma4ForConditionalGeneration(config).eval()
    randomise(model, 1)
    folder = save(model, "e2b_like")
    write_golden(folder, model, 1)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    shutil.copy(ROOT / "tools/templates/chat_template-small.jinja", folder / "chat_template.jinja")

    def text(name, cls, config, seed, **kw):
        config._attn_implementation = "eager"
        m = cls(config).eval()
        randomise(m, seed)
        write_golden(save(m, name, **kw), m, seed)
        return m

    text("e4b_like", Gemma4ForCausalLM, Gemma4TextConfig(**E4B), 2, shard="300KB")
    text("moe_26b_like", Gemma4ForCausalLM, Gemma4TextConfig(**LARGE, enable_moe_block=True, num_experts=6, top_k_experts=2,
                                                            moe_intermediate_size=24), 3)
    text("dense_31b_like", Gemma4ForCausalLM, Gemma4TextConfig(**dict(LARGE, num_hidden_layers=6, layer_types=[S, S, F] * 2)), 4)
    unified = {k: v for k, v in LARGE.items() if k != "hidden_size_per_layer_input"}
    text("unified_12b_like", Gemma4UnifiedForCausalLM, Gemma4UnifiedTextConfig(**unified), 5)
    text("gemma3_like", Gemma3ForCausalLM, Gemma3TextConfig(**GEMMA3), 6)

    # 16-bit files: golden in f32 on the rounded weights with the rounded embedding scale, tokens from a true bf16 run.
    for name, cls, config, seed, dtype in [
        ("e2b_like_bf16", Gemma4ForCausalLM, Gemma4TextConfig(**E2B), 11, torch.bfloat16),
        ("moe_26b_like_bf16", Gemma4ForCausalLM, Gemma4TextConfig(**LARGE, enable_moe_block=True, num_experts=6, top_k_experts=2,
                                                                  moe_intermediate_size=24), 12, torch.bfloat16),
        ("dense_31b_like_f16", Gemma4ForCausalLM, Gemma4TextConfig(**LARGE), 13, torch.float16),
    ]:
        config._attn_implementation = "eager"
        m = cls(config).eval()
        randomise(m, seed)
        m.to(dtype).to(torch.float32)
        folder = save(m, name, dtype)
        low = cls.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval() if dtype == torch.bfloat16 else None
        high = cls.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        round_embedding_scale(high, dtype)
        write_golden(folder, high, seed, low)

    # Gemma 3 in its multimodal layout.
    config = Gemma3Config(text_config=GEMMA3, vision_config=dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                                                                 image_size=28, patch_size=14), mm_tokens_per_image=4)
    config._attn_implementation = "eager"
    model = Gemma3ForConditionalGeneration(config).eval()
    randomise(model, 7)
    write_golden(save(model, "gemma3_nested_like"), model, 7)


if __name__ == "__main__":
    main()

"""The two checkpoints: configuration, tokenizer, processor settings and starting weights."""
import json
import pathlib
import random
import re

import tokenizers
import torch
import transformers
from tokenizers import models, normalizers, pre_tokenizers, trainers

import conversations
import speech

S, F = "sliding_attention", "full_attention"
ROOT = pathlib.Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "tools" / "templates"
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|turn>", "<turn|>", "<|think|>", "<|channel>", "<channel|>",
           "<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>',
           "<|image>", "<image|>", "<|image|>", "<|audio>", "<audio|>", "<|audio|>", "<|video|>"]
VOCABULARY = 896
IMAGE_BUDGET = 70
MEL_BINS = 64


def template(name):
    kind = "large" if name == "demo-moe" else "small"
    return (TEMPLATES / f"chat_template-{kind}.jinja").read_text()


# ---- Tokenizer ----

def corpus():
    """Texts of every kind, without the control tokens."""
    rng = random.Random(1)
    silence = [(speech.np.zeros(100, "i2"), speech.choose(rng)[1]) for _ in range(200)]
    for _ in range(6000):
        e = conversations.make(rng.choice(["sums", "tools", "chat", "chat"]), rng, silence)
        yield from (m["content"] for m in e["messages"] if isinstance(m["content"], str))
        yield e["target"]
        yield json.dumps(e["tools"])
    for words in (conversations.pictures.WORDS, conversations.pictures.COLOURS, conversations.pictures.SHAPES,
                  conversations.pictures.COUNTS, speech.COMMANDS, conversations.HEAR):
        for word in words:
            for form in (word, word.upper(), word.capitalize(), f"a {word}", f"two {word}s and one {word}", f"A {word.upper()}S"):
                yield from [form] * 20


def tokenizer_json():
    """BPE as released: spaces become "▁", bytes for what has no piece, every digit a token of its own."""
    trained = tokenizers.Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    split = [pre_tokenizers.Split(tokenizers.Regex(r"▁?[A-Za-z]+|[^A-Za-z]"), "isolated")]
    trained.pre_tokenizer = pre_tokenizers.Sequence(split)
    control = re.compile("|".join(re.escape(s) for s in SPECIAL))
    letters = sorted(chr(c) for c in range(33, 127)) + ["▁", "\n"]
    count = VOCABULARY - len(SPECIAL) - 256
    trained.train_from_iterator((control.sub(" ", text) for text in corpus()),
                                trainers.BpeTrainer(vocab_size=count, initial_alphabet=letters, show_progress=False))
    learned = json.loads(trained.to_str())["model"]
    letters = [p for p in learned["vocab"] if len(p) == 1]
    merges = learned["merges"]
    pieces = SPECIAL + [f"<0x{b:02X}>" for b in range(256)] + letters + ["".join(m) for m in merges]
    pieces = list(dict.fromkeys(pieces))
    assert len(pieces) <= VOCABULARY, len(pieces)
    ids = {p: i for i, p in enumerate(pieces)}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": ids[t], "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for t in SPECIAL],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
        "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": ids, "merges": [list(m) for m in merges]}}


# ---- Configuration ----

def text_config(**fields):
    return {
        "attention_bias": False, "attention_dropout": 0.0, "attention_k_eq_v": False, "bos_token_id": 2,
        "enable_moe_block": False, "eos_token_id": 1, "final_logit_softcapping": 30.0, "global_head_dim": 64,
        "head_dim": 32, "hidden_activation": "gelu_pytorch_tanh", "hidden_size_per_layer_input": 0,
        "initializer_range": 0.02, "max_position_embeddings": 4096, "model_type": "gemma4_text",
        "moe_intermediate_size": None, "num_experts": None, "num_global_key_value_heads": None,
        "num_kv_shared_layers": 0, "pad_token_id": 0, "rms_norm_eps": 1e-06, "sliding_window": 256,
        "tie_word_embeddings": True, "top_k_experts": None, "use_bidirectional_attention": None, "use_cache": True,
        "use_double_wide_mlp": False, "vocab_size": VOCABULARY, "vocab_size_per_layer_input": VOCABULARY,
        "rope_parameters": {F: {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0, "rope_type": "proportional"},
                            S: {"rope_theta": 10000.0, "rope_type": "default"}}, **fields}


def config(name):
    vision = {"model_type": "gemma4_vision", "hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3,
              "num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 32, "global_head_dim": 32,
              "position_embedding_size": 3 * IMAGE_BUDGET, "patch_size": 16, "pooling_kernel_size": 3, "use_clipped_linears": False,
              "default_output_length": IMAGE_BUDGET}
    audio = {"model_type": "gemma4_audio", "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
             "subsampling_conv_channels": [MEL_BINS, 16], "output_proj_dims": 128, "use_clipped_linears": False}
    if name == "demo":
        text = text_config(hidden_size=160, intermediate_size=320, num_hidden_layers=8, num_attention_heads=4,
                           num_key_value_heads=1, layer_types=[S, S, F, S, S, F, S, F], num_kv_shared_layers=2,
                           use_double_wide_mlp=True, hidden_size_per_layer_input=16)
    else:
        text = text_config(hidden_size=128, intermediate_size=128, num_hidden_layers=5, num_attention_heads=4,
                           num_key_value_heads=2, num_global_key_value_heads=1, layer_types=[S, F, S, S, F],
                           attention_k_eq_v=True, enable_moe_block=True, num_experts=8, top_k_experts=2,
                           moe_intermediate_size=64, use_bidirectional_attention="vision")
        vision["standardize"] = True
        audio = None
    ids = {token: i for i, token in enumerate(SPECIAL)}
    return {"architectures": ["Gemma4ForConditionalGeneration"], "model_type": "gemma4", "text_config": text,
            "vision_config": vision, "audio_config": audio, "tie_word_embeddings": True, "initializer_range": 0.02,
            "boi_token_id": ids["<|image>"], "eoi_token_id": ids["<image|>"], "image_token_id": ids["<|image|>"],
            "audio_token_id": ids["<|audio|>"], "boa_token_id": ids["<|audio>"], "eoa_token_index": ids["<audio|>"],
            "video_token_id": ids["<|video|>"], "eos_token_id": [ids["<eos>"], ids["<turn|>"], ids["<|tool_response>"]]}


def fresh(name, seed=0):
    """The reference model with weights to start from. Its attention has scale 1, so q_norm starts at head_dim^-0.5."""
    torch.manual_seed(seed)
    cfg = transformers.Gemma4Config(**{k: v for k, v in config(name).items() if k not in ("architectures", "model_type")})
    cfg._attn_implementation = {"": "sdpa", "text_config": "sdpa", "vision_config": "sdpa", "audio_config": "eager"}
    model = transformers.Gemma4ForConditionalGeneration(cfg).float()
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            if key.endswith("q_norm.weight"):
                tensor.fill_(tensor.numel() ** -0.5)
            elif key.endswith("norm.weight") or tensor.dim() < 2:
                continue
            elif "embed_tokens" in key:
                tensor.normal_(0, tensor.shape[-1] ** -0.5 if "per_layer" not in key else 0.25)
            elif "position_embedding" in key:
                tensor.normal_(0, 0.1)
            elif "conv" in key and tensor.dim() > 2:
                tensor.normal_(0, tensor[0].numel() ** -0.5)
            elif tensor.dim() == 3 and "experts" in key:
                tensor.normal_(0, tensor.shape[-1] ** -0.5)
            else:
                tensor.normal_(0, tensor.shape[-1] ** -0.5)
    return model


def write_settings(name, folder):
    """Everything of a checkpoint but its weights."""
    folder.mkdir(parents=True, exist_ok=True)

    def dump(file, value, indent=1):
        (folder / file).write_text(json.dumps(value, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")
    settings = config(name)
    settings["dtype"] = "bfloat16"
    dump("config.json", settings)
    dump("tokenizer.json", tokenizer_json(), None)
    dump("tokenizer_config.json", {
        "add_bos_token": False, "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>",
        "mask_token": "<mask>", "clean_up_tokenization_spaces": False, "tokenizer_class": "GemmaTokenizer"})
    dump("generation_config.json", {"bos_token_id": 2, "eos_token_id": settings["eos_token_id"], "pad_token_id": 0,
                                    "do_sample": False, "temperature": 1.0, "top_k": 1, "top_p": 0.95})
    processor = {"processor_class": "Gemma4Processor", "image_seq_length": IMAGE_BUDGET, "audio_seq_length": 750,
                 "audio_ms_per_token": 40,
                 "image_processor": {"image_processor_type": "Gemma4ImageProcessor", "max_soft_tokens": IMAGE_BUDGET,
                                     "patch_size": 16, "pooling_kernel_size": 3},
                 "video_processor": {"video_processor_type": "Gemma4VideoProcessor", "max_soft_tokens": IMAGE_BUDGET,
                                     "patch_size": 16, "pooling_kernel_size": 3, "num_frames": 32}}
    if settings["audio_config"]:
        processor["feature_extractor"] = {"feature_extractor_type": "Gemma4AudioFeatureExtractor", "feature_size": MEL_BINS}
    dump("processor_config.json", processor)
    (folder / "chat_template.jinja").write_text(template(name), encoding="utf-8")


if __name__ == "__main__":
    for name in ("demo", "demo-moe"):
        m = fresh(name)
        sizes = {}
        for key, tensor in m.named_parameters():
            part = key.split(".")[1]
            sizes[part] = sizes.get(part, 0) + tensor.numel()
        print(name, {k: v for k, v in sizes.items()}, sum(sizes.values()) * 2 / 1e6, "MB")

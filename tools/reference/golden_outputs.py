"""Runs the reference implementation on a checkpoint directory and records what a decoder computes, layer by layer."""
import copy
import json
import re
from importlib.metadata import version

import torch
import transformers

from stable_safetensors import save_file

CONTINUATION = 24


def load(directory, torch_dtype):
    """The class config.json names, with plain attention, in evaluation mode."""
    config = json.loads((directory / "config.json").read_text())
    cls = getattr(transformers, config["architectures"][0])
    model, notes = cls.from_pretrained(directory, dtype=torch_dtype, attn_implementation="eager",
                                       experts_implementation="eager", output_loading_info=True)
    missing = set(notes["missing_keys"]) - {"lm_head.weight"}
    unexpected = {k for k in notes["unexpected_keys"] if not re.search(r"layers\.\d+\.self_attn\.[kv]_", k)}
    assert not missing and not unexpected and not notes["mismatched_keys"], (missing, unexpected)
    return model.eval()


def decoder(model):
    """The text decoder inside a model of any of the classes."""
    inner = model.model
    return getattr(inner, "language_model", inner)


def use_embedding_scale_of(model, file_dtype):
    """Weights of 16 bits have their embedding scale rounded to that type, also when the arithmetic is f32.

    In the reference the rounding is a cast at use (Gemma4TextScaledWordEmbedding.forward), which an f32 run of 16-bit
    weights would skip.
    """
    for name in ("embed_tokens", "embed_tokens_per_layer"):
        table = getattr(decoder(model), name, None)
        if table is not None:
            table.embed_scale.copy_(table.embed_scale.to(file_dtype).to(table.embed_scale.dtype))


@torch.no_grad()
def forward(model, ids):
    """All intermediates of one pass over `ids`, without the batch axis."""
    text, out, per_layer, hooks = decoder(model), {}, [], []

    def keep(name):
        def hook(_module, _args, output):
            out[name] = (output[0] if isinstance(output, tuple) else output)[0]
        return hook

    def keep_per_layer_input(_module, args, kwargs):
        value = args[1] if len(args) > 1 else kwargs.get("per_layer_input")
        if value is not None:
            per_layer.append(value[0])
    hooks.append(text.embed_tokens.register_forward_hook(keep("embedding")))
    hooks.append(text.norm.register_forward_hook(keep("norm")))
    for i, layer in enumerate(text.layers):
        hooks.append(layer.register_forward_hook(keep(f"layer.{i}")))
        if getattr(text, "hidden_size_per_layer_input", 0):
            hooks.append(layer.register_forward_pre_hook(keep_per_layer_input, with_kwargs=True))
    # logits_to_keep=0 keeps every row, also in the layers that share keys and values.
    logits = model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=0).logits[0]
    for hook in hooks:
        hook.remove()
    if per_layer:
        out["per_layer_inputs"] = torch.stack(per_layer, dim=1)  # [tokens, layers, width]
    out["logits"] = logits
    for name, value in out.items():
        assert value.shape[0] == len(ids) and torch.isfinite(value.float()).all(), name
    return out


@torch.no_grad()
def greedy(model, prompt, count=CONTINUATION):
    """The greedy continuation, no token stopping it, and at each step how far the best logit leads."""
    ids, gaps = list(prompt), []
    for _ in range(count):
        logits = model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=1).logits[0, -1].float()
        best = torch.topk(logits, 2)
        gaps.append((best.values[0] - best.values[1]).item())
        ids.append(best.indices[0].item())
    return ids[len(prompt):], gaps


def rounding_noise(model, ids, tensors):
    """The reference's own f32 error: largest difference of any tensor, relative to its largest value, from a run with f64
    matrices (norms and softmax stay f32 in the reference)."""
    exact = forward(copy.deepcopy(model).double(), ids)
    return max(((tensors[n] - exact[n]).abs().max() / exact[n].abs().max()).item() for n in exact)


def allowed_ids(model):
    """Ids a text prompt may hold: not the placeholders a media encoder fills, not padding."""
    config, text = model.config, model.config.get_text_config()
    keys = ("image_token_id", "audio_token_id", "video_token_id", "image_token_index")
    banned = {getattr(config, k, None) for k in keys} | {text.pad_token_id}
    return [i for i in range(text.vocab_size) if i not in banned]


def random_prompt(model, generator, count):
    """BOS and random tokens."""
    ids = allowed_ids(model)
    picked = torch.randint(0, len(ids), (count - 1,), generator=generator).tolist()
    return [model.config.get_text_config().bos_token_id] + [ids[i] for i in picked]


@torch.no_grad()
def router_margin(model, ids):
    """The smallest lead of the last expert chosen over the first one not chosen, as a probability; 1 without experts."""
    margins, hooks = [1.0], []

    def hook(module, _args, output):
        probabilities = output[0].float()
        if not torch.allclose(probabilities.sum(-1), torch.ones(())):
            probabilities = probabilities.softmax(-1)
        ordered = probabilities.sort(-1, descending=True).values
        k = module.config.top_k_experts
        margins.append((ordered[..., k - 1] - ordered[..., k]).min().item())
    for layer in decoder(model).layers:
        if hasattr(layer, "router"):
            hooks.append(layer.router.register_forward_hook(hook))
    model(input_ids=torch.tensor([ids]), use_cache=False)
    for h in hooks:
        h.remove()
    return min(margins)


def choose(model, generator, count, accept):
    """The first random prompt that `accept` likes, and what it said."""
    for attempt in range(300):
        prompt = random_prompt(model, generator, count)
        found = accept(prompt)
        if found is not None:
            return prompt, found, attempt
    raise RuntimeError("no prompt without a near tie in 300 attempts")


def write_golden(directory, variant):
    """golden.safetensors, and for bf16 weights greedy_bf16.json. Returns a line to print."""
    file_dtype = getattr(torch, variant.torch_dtype)
    model = load(directory, torch.float32)
    use_embedding_scale_of(model, file_dtype)
    generator = torch.Generator().manual_seed(variant.seed + 1000)

    # Prompts on which no decision hangs on the last bits: neither the choice of an expert nor that of a token.
    ids, margin, _ = choose(model, generator, variant.prompt_tokens,
                            lambda p: m if (m := router_margin(model, p)) > 1e-3 else None)

    allowed = set(allowed_ids(model))

    def clear_continuation(prompt):
        tokens, gaps = greedy(model, prompt)
        if min(gaps) < 0.02 or len(set(tokens)) < 6 or not allowed.issuperset(tokens) or router_margin(model, prompt + tokens) < 1e-4:
            return None
        return tokens, gaps
    prompt, (tokens, gaps), _ = choose(model, generator, 9, clear_continuation)

    tensors = {name: value.contiguous() for name, value in forward(model, ids).items()}
    noise = rounding_noise(model, ids, tensors)
    tensors["ids"] = torch.tensor(ids, dtype=torch.int32)
    tensors["generated_prompt"] = torch.tensor(prompt, dtype=torch.int32)
    tensors["generated"] = torch.tensor(tokens, dtype=torch.int32)
    save_file(tensors, directory / "golden.safetensors", metadata={
        "transformers": version("transformers"), "torch": version("torch"), "seed": str(variant.seed),
        "weights": variant.torch_dtype, "arithmetic": "float32", "attention": "eager",
        "router_margin": f"{margin:.3g}", "smallest_gap": f"{min(gaps):.3g}", "rounding_noise": f"{noise:.2g}"})
    report = (f"logits up to {tensors['logits'].abs().max():.1f}, {len(set(tokens))} different tokens of {len(tokens)},"
              f" smallest gap {min(gaps):.2g}, router margin {margin:.2g}, own noise {noise:.1g}")
    if variant.greedy_bf16:
        report += ", " + write_greedy_bf16(directory, variant, model, generator)
    return report


def write_greedy_bf16(directory, variant, model_f32, generator):
    """Greedy tokens of the model run wholly in bf16, for prompts whose every step is clear and the same in f32."""
    model = load(directory, torch.bfloat16)
    cases, allowed = [], set(allowed_ids(model))
    for length in (4, 7, 12):
        def clear(prompt):
            tokens, gaps = greedy(model, prompt, 12)
            exact, exact_gaps = greedy(model_f32, prompt, 12)
            clear_enough = tokens == exact and min(gaps + exact_gaps) > 0.25 and allowed.issuperset(tokens)
            return (tokens, gaps) if clear_enough else None
        prompt, (tokens, gaps), attempts = choose(model, generator, length, clear)
        cases.append({"prompt": prompt, "generated": tokens, "gaps": [round(g, 4) for g in gaps],
                      "prompts_rejected": attempts})
    document = {"transformers": version("transformers"), "torch": version("torch"), "seed": variant.seed,
                "arithmetic": "bfloat16", "smallest_gap_allowed": 0.25, "cases": cases}
    (directory / "greedy_bf16.json").write_text(json.dumps(document, indent=1) + "\n")
    return f"bf16 prompts rejected {[c['prompts_rejected'] for c in cases]}"

"""Random values for every tensor of a model, none of them one that would hide a bug: no norm weight of 1, no scale of 1,
no bound at infinity (section by section what a random initialisation leaves at its neutral value)."""
import torch


def norm_mean(name):
    """Around 1, with two exceptions."""
    if name.endswith("q_norm.weight"):
        return 0.5  # attention less sharp than 1 gives it: a random layer would amplify rounding noise several times
    if name.endswith(("model.norm.weight", "language_model.norm.weight")):
        return 3.0  # logits large enough for the softcap to matter
    return 1.0


def randomise(model, seed):
    """Fills parameters and persistent buffers in the order of their names."""
    generator = torch.Generator().manual_seed(seed)

    def normal(shape, scale, mean=0.0):
        return mean + scale * torch.randn(shape, generator=generator)

    def uniform(shape, low, high):
        return low + (high - low) * torch.rand(shape, generator=generator)

    is_gemma3 = model.config.model_type.startswith("gemma3")
    tied = {"lm_head.weight"}
    state = {n: t for n, t in model.state_dict().items() if n not in tied}
    with torch.no_grad():
        for name in sorted(state):
            tensor, last = state[name], name.rsplit(".", 1)[-1]
            if last.endswith("_min"):
                value = -uniform(tensor.shape, 1.0, 2.0)
            elif last.endswith("_max"):
                value = uniform(tensor.shape, 1.0, 2.0)
            elif last == "layer_scalar":
                value = uniform(tensor.shape, 0.4, 1.1)
            elif last in ("per_dim_scale", "per_expert_scale") or name.endswith("router.scale"):
                value = uniform(tensor.shape, 0.5, 1.0)
            elif last == "std_scale" or last.startswith("inv_"):
                value = normal(tensor.shape, 0.1, 1.0)
            elif "norm" in name and last == "weight" and tensor.dim() == 1:
                value = normal(tensor.shape, 0.2, norm_mean(name)) - (1.0 if is_gemma3 else 0.0)  # stored w means 1 + w
            elif name.endswith("router.proj.weight"):
                value = normal(tensor.shape, 2.0)  # experts clearly apart, as trained ones are
            elif tensor.is_floating_point():
                value = normal(tensor.shape, 0.15)
            else:
                continue
            tensor.copy_(value)


def dead_kv_tensors(text_config, prefix, seed):
    """Key and value tensors for the layers that share those of another: files may carry them, nothing may use them."""
    generator = torch.Generator().manual_seed(seed + 1)
    first = text_config.num_hidden_layers - text_config.num_kv_shared_layers
    out = {}
    for i in range(first, text_config.num_hidden_layers):
        layer = text_config.per_layer_config[i]
        width = layer.num_key_value_heads * layer.head_dim
        at = f"{prefix}layers.{i}.self_attn."
        out[at + "k_proj.weight"] = torch.randn(width, text_config.hidden_size, generator=generator)
        out[at + "v_proj.weight"] = torch.randn(width, text_config.hidden_size, generator=generator)
        out[at + "k_norm.weight"] = torch.randn(layer.head_dim, generator=generator)
    return out

"""Cosines and sines of the reference's rotary embeddings far into the context, with the head sizes of released models."""
from importlib.metadata import version

import torch
from transformers import Gemma3TextConfig, Gemma4TextConfig
from transformers.models.gemma3.modeling_gemma3 import Gemma3RotaryEmbedding
from transformers.models.gemma4.modeling_gemma4 import Gemma4TextRotaryEmbedding

from stable_safetensors import save_file

POSITIONS = [0, 1, 7, 511, 4095, 131071, 262143]


def write(out_dir):
    """rope.safetensors: positions [7] i32; per kind inv_freq [pairs], cos and sin [7, pairs], all f32."""
    linear = {"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
              "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0}}
    modules = {
        # head_dim 256 in sliding layers, 512 in full ones
        "gemma4": Gemma4TextRotaryEmbedding(Gemma4TextConfig(head_dim=256, num_hidden_layers=6)),
        # head_dim 256 everywhere
        "gemma3": Gemma3RotaryEmbedding(Gemma3TextConfig(head_dim=256, num_hidden_layers=6, rope_parameters=linear)),
    }
    tensors = {"positions": torch.tensor(POSITIONS, dtype=torch.int32)}
    x = torch.zeros(1, dtype=torch.float32)
    for family, module in modules.items():
        for kind in ("sliding_attention", "full_attention"):
            cos, sin = module(x, torch.tensor([POSITIONS]), kind)
            pairs = cos.shape[-1] // 2
            assert torch.equal(cos[..., :pairs], cos[..., pairs:])  # both halves of a head turn alike
            at = f"{family}.{kind}."
            tensors[at + "inv_freq"] = getattr(module, f"{kind}_inv_freq").float().contiguous()
            tensors[at + "cos"] = cos[0, :, :pairs].contiguous()
            tensors[at + "sin"] = sin[0, :, :pairs].contiguous()
    out_dir.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out_dir / "rope.safetensors",
              metadata={"transformers": version("transformers"), "torch": version("torch")})

#!/usr/bin/env python3
"""Write a trained checkpoint as models/NAME: bf16 safetensors with everything that belongs beside them.

usage: export.py demo --state FOLDER [--to models/demo] [--mantissa 4]
"""
import argparse
import json
import pathlib
import sys

import torch

import checkpoints

sys.path.insert(0, str(checkpoints.ROOT / "tools" / "reference"))
from stable_safetensors import save_file  # noqa: E402  (beside the fixtures)


def rounded(tensor, mantissa):
    """bf16 with so many bits of mantissa in use, to nearest, ties to even."""
    fraction, exponent = torch.frexp(tensor.float())  # 0.5 <= fraction < 1
    steps = 2.0 ** (mantissa + 1)
    return torch.ldexp(torch.round(fraction * steps) / steps, exponent).to(torch.bfloat16).contiguous()


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("name", choices=["demo", "demo-moe"])
    options.add_argument("--state", type=pathlib.Path, required=True)
    options.add_argument("--to", type=pathlib.Path)
    options.add_argument("--latest", action="store_true", help="the last weights instead of their running average")
    options.add_argument("--mantissa", type=int, default=7, choices=range(3, 8),
                         help="bits of mantissa in use; with four, version control stores a quarter less")
    args = options.parse_args()
    to = args.to or checkpoints.ROOT / "models" / args.name
    state = torch.load(args.state / f"{args.name}.pt")
    weights = state["model" if args.latest else "average"]
    checkpoints.write_settings(args.name, to)
    kept = {k: rounded(v, args.mantissa) for k, v in weights.items()
            if v.is_floating_point() and not k.startswith("lm_head") and not k.rsplit(".", 1)[-1].startswith(
                ("embed_scale", "softcap", "inv_timescales")) and "inv_freq" not in k}
    save_file(kept, to / "model.safetensors", metadata={"format": "pt"})
    report = {"steps": state["step"], "parameters": sum(v.numel() for v in kept.values()),
              "bytes": (to / "model.safetensors").stat().st_size}
    print(json.dumps(report))


if __name__ == "__main__":
    main()

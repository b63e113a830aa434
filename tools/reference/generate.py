#!/usr/bin/env python3
"""Write every fixture below tests/golden: tiny random checkpoints, what the reference computes on them, RoPE tables and
quantised blocks.

usage: generate.py [--only NAME] [--out DIR]     see README.md; about two minutes on two cores
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file

import golden_outputs
import media_outputs
import random_weights
import rope_tables
import tiny_tokenizer
import to_gguf
import variants
from stable_safetensors import save_file

HERE = pathlib.Path(__file__).resolve().parent


def published_tensors(variant):
    """Random weights under the names and with the type a released file has."""
    config = variant.config
    config_class = getattr(transformers, config["architectures"][0]).config_class
    model_config = config_class.from_dict(dict(config))
    model = getattr(transformers, config["architectures"][0])(model_config).float()
    random_weights.randomise(model, variant.seed)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)  # knows which names differ between module and file
        tensors = load_file(pathlib.Path(folder) / "model.safetensors")
    if variant.dead_kv:
        prefix = next(n[:-len("embed_tokens.weight")] for n in tensors if n.endswith("embed_tokens.weight"))
        tensors.update(random_weights.dead_kv_tensors(model_config.get_text_config(), prefix, variant.seed))
    dtype = getattr(torch, variant.torch_dtype)
    return {n: t.to(dtype).contiguous() for n, t in tensors.items()}


def write_safetensors(directory, tensors, shards):
    """One file, or several with an index, cut so that a layer's tensors lie in different files."""
    metadata = {"format": "pt"}
    if shards == 1:
        save_file(tensors, directory / "model.safetensors", metadata=metadata)
        return
    names, weight_map = sorted(tensors), {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {n: tensors[n] for n in names[shard::shards]}
        save_file(part, directory / file, metadata=metadata)
        weight_map.update({n: file for n in part})
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def write_variant(variant, out):
    directory = out / variant.name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    config = {**variant.config, "dtype": variant.torch_dtype, "transformers_version": transformers.__version__}
    (directory / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    generation = {**variant.generation, "transformers_version": transformers.__version__}
    (directory / "generation_config.json").write_text(json.dumps(generation, indent=1, sort_keys=True) + "\n")
    write_safetensors(directory, published_tensors(variant), variant.shards)
    if variant.tokenizer:
        tiny_tokenizer.write(directory, (HERE.parent / "templates" / f"chat_template-{variant.tokenizer}.jinja").read_text(encoding="utf-8"))
    report = golden_outputs.write_golden(directory, variant)
    if variant.name in media_outputs.CHECKPOINTS:
        report += "; media: " + media_outputs.write(directory)
    for type_name in variant.gguf:
        to_gguf.convert(directory, type_name, directory / f"model-{type_name}.gguf")
    size = sum(f.stat().st_size for f in directory.iterdir())
    print(f"{variant.name}: {size / 1e3:.0f} kB; {report}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="write this one checkpoint and nothing else")
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parents[1] / "tests" / "golden")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for variant in variants.variants(tiny_tokenizer.token_ids()):
        if options.only in (None, variant.name):
            write_variant(variant, options.out)
    if options.only is None:
        rope_tables.write(options.out / "rope")
        subprocess.run([sys.executable, HERE / "quant_blocks.py", options.out / "quant"], check=True)


if __name__ == "__main__":
    main()

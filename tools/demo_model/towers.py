#!/usr/bin/env python3
"""Teach the vision and the audio tower to see and hear before the language model learns to read them.

usage: towers.py pictures --steps 4000 --state FOLDER      goes on where the state in FOLDER ends

From random towers the language model learns nothing about a picture for thousands of steps: its answers are guesses, so
nothing tells the towers what to look for. Here readers (readers.py) ask the projected soft tokens. (For sounds a
connectionist temporal classification of the words stayed at chance for 1700 steps.)
"""
import argparse
import pathlib
import random
import signal
import sys
import time

import numpy as np
import torch

import checkpoints
import readers
import train

PART = {"pictures": ("model.vision_tower", "model.embed_vision"), "sounds": ("model.audio_tower", "model.embed_audio")}
# Share of the steps over which pictures become difficult.
EASY = 0.6


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("what", choices=list(PART))
    options.add_argument("--name", default="demo", choices=list(train.MIX))
    options.add_argument("--steps", type=int, default=4000)
    options.add_argument("--state", type=pathlib.Path, required=True)
    options.add_argument("--peak", type=float, default=5e-4, help="highest rate of AdamW")
    options.add_argument("--muon", type=float, default=1e-3, help="highest rate of Muon, which takes the matrices inside the layers")
    options.add_argument("--recordings", type=int, default=12000)
    args = options.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    args.state.mkdir(parents=True, exist_ok=True)
    model = checkpoints.fresh(args.name)
    hidden = model.config.text_config.hidden_size
    reader = readers.Reader(hidden, readers.QUESTIONS[args.what])
    own = {k: p for k, p in model.named_parameters() if k.startswith(PART[args.what])}
    mats = [p for k, p in own.items() if ".layers." in k and p.dim() == 2 and min(p.shape) > 16]
    some = {id(p) for p in mats}
    rest = [p for p in own.values() if id(p) not in some] + list(reader.parameters())
    steppers = [(torch.optim.AdamW(rest, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0), args.peak),
                (train.Muon(mats), args.muon)]
    path, step = args.state / f"{args.name}-{args.what}.pt", 0
    if path.exists():
        state = torch.load(path)
        model.load_state_dict(state["model"], strict=False)
        reader.load_state_dict(state["reader"], strict=False)
        for (stepper, _), kept in zip(steppers, state.get("optimizers", ())):  # absent: begins with fresh momentum
            stepper.load_state_dict(kept)
        step = state["step"]
        print(f"goes on at step {step}", flush=True)
    if args.what == "sounds":
        features = train.Gemma4AudioFeatureExtractor(feature_size=checkpoints.MEL_BINS)
        recordings = train.recordings(args.state, args.recordings)

    def save():
        torch.save({"model": {k: p.detach() for k, p in own.items()}, "reader": reader.state_dict(),
                    "optimizers": [s.state_dict() for s, _ in steppers], "step": step}, path.with_suffix(".new"))
        path.with_suffix(".new").rename(path)

    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    signal.signal(signal.SIGINT, lambda *_: stop.append(1))
    begun, saved, totals, losses = time.monotonic(), time.monotonic(), {}, []
    while step < args.steps and not stop:
        for stepper, peak in steppers:
            for group in stepper.param_groups:
                group["lr"] = train.rate(step, args.steps, peak)
        rng = random.Random(step * 1_000_003 + 71)
        if args.what == "pictures":
            loss = readers.see(model, reader, rng, min(1.0, step / (EASY * args.steps)), totals)
        else:
            loss = readers.hear(model, reader, rng, features, recordings, totals)
        loss.backward()
        losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_([p for group in steppers for g in group[0].param_groups for p in g["params"]], 1.0)
        for stepper, _ in steppers:
            stepper.step()
            stepper.zero_grad(set_to_none=True)
        model.zero_grad(set_to_none=True)
        step += 1
        if step % 50 == 0:
            shares = " ".join(f"{t} {100 * good / seen:.0f}" for t, (seen, good) in totals.items())
            print(f"step {step} loss {np.mean(losses):.3f} | {shares} | {(time.monotonic() - begun) / 60:.1f} min", flush=True)
            totals, losses = {}, []
        if time.monotonic() - saved > 120:
            save()
            saved = time.monotonic()
    save()
    return 0


if __name__ == "__main__":
    sys.exit(main())

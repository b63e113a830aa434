#!/usr/bin/env python3
"""Teach the vision and the audio tower to see and hear before the language model learns to read them.

usage: towers.py pictures --steps 4000 --state FOLDER      goes on where the state in FOLDER ends

From random towers the language model learns nothing about a picture for thousands of steps: its answers are guesses, so
nothing tells the towers what to look for. Here small readers of two decoder layers, thrown away afterwards, ask the
projected soft tokens directly what is in a picture or a sound. (For sounds a connectionist temporal classification of the
words stayed at chance for 1700 steps.)
"""
import argparse
import math
import pathlib
import pickle
import random
import signal
import sys
import time

import numpy as np
import torch
from torch import nn

import checkpoints
import pictures
import speech
import train

PART = {"pictures": ("model.vision_tower", "model.embed_vision"), "sounds": ("model.audio_tower", "model.embed_audio")}
BATCH = {"pictures": 32, "sounds": 24}
TEXT = pictures.WORDS
NONE = -100
LEAST_BUDGET = 16
# Share of the steps over which pictures become difficult.
EASY = 0.6


# What a reader is asked: {question: (answers of that kind, classes)}.
QUESTIONS = {
    "pictures": {"count": (len(pictures.SHAPES), 7), "colour": (len(pictures.SHAPES), len(pictures.COLOURS)),
                 "word": (1, len(TEXT)), "digit": (3, 11)},
    "sounds": {"command": (1, len(speech.COMMANDS) + 1), "digit": (3, 11)},
}


class Reader(nn.Module):
    """Soft tokens [B, T, hidden] to logits [B, answers, classes] of each question."""

    def __init__(self, hidden, questions):
        super().__init__()
        self.questions = questions
        self.queries = nn.Parameter(torch.randn(sum(count for count, _ in questions.values()), hidden))
        layer = nn.TransformerDecoderLayer(hidden, 4, 2 * hidden, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerDecoder(layer, 2, nn.LayerNorm(hidden))
        self.heads = nn.ModuleDict({name: nn.Linear(hidden, classes) for name, (_, classes) in questions.items()})

    def forward(self, tokens, padding):
        out = self.layers(self.queries.expand(len(tokens), -1, -1), tokens, memory_key_padding_mask=padding)
        parts = out.split([count for count, _ in self.questions.values()], 1)
        return {name: self.heads[name](part) for name, part in zip(self.questions, parts)}

    def loss(self, tokens, padding, labels, tasks, totals):
        """Sum over the questions; an example counts as right when all its answers are."""
        loss, wrong = 0, torch.zeros(len(labels))
        for name, logits in self(tokens, padding).items():
            wanted = torch.tensor([each[name] for each in labels])
            loss = loss + nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=NONE)
            wrong += ((logits.argmax(-1) != wanted) & (wanted != NONE)).sum(-1)
        for task, mistakes in zip(tasks, wrong.tolist()):
            seen, good = totals.get(task, (0, 0))
            totals[task] = (seen + 1, good + (mistakes == 0))
        return loss


def picture(rng, task, effort=1.0):
    """(image, labels of each head)."""
    labels = {"count": [NONE] * 5, "colour": [NONE] * 5, "word": [NONE], "digit": [NONE] * 3}
    if task == "shapes":
        groups = pictures.shape_groups(rng)
        labels["count"] = [sum(g[0] for g in groups if g[2] == s) for s in pictures.SHAPES]
        for _, colour, shape in groups:
            labels["colour"][pictures.SHAPES.index(shape)] = list(pictures.COLOURS).index(colour)
        return pictures.draw_shapes(rng, groups), labels
    image, _, answer = getattr(pictures, task)(rng, effort=effort)
    if task == "words":
        labels["word"] = [TEXT.index(answer)]
    else:
        labels["digit"] = [10] * (3 - len(answer)) + [int(d) for d in answer]
    return image, labels


def see(model, reader, rng, effort, totals):
    """effort: from large black text in few patches to any text in as many as SMALL_BUDGET allows."""
    budget = int(LEAST_BUDGET + (train.SMALL_BUDGET - LEAST_BUDGET) * effort)
    tasks = ["shapes", "words", "numbers"] * (BATCH["pictures"] // 3)
    made = [picture(rng, task, effort) for task in tasks]
    pixels, positions = train.stacked([train.small_patches(image, budget) for image, _ in made])
    seen = model.model.get_image_features(pixels, positions).pooler_output
    longest = max(len(s) for s in seen)
    tokens = torch.stack([nn.functional.pad(s, (0, 0, 0, longest - len(s))) for s in seen])
    padding = torch.stack([torch.arange(longest) >= len(s) for s in seen])
    return reader.loss(tokens, padding, [labels for _, labels in made], tasks, totals)


def hear(model, reader, rng, features, recordings, totals):
    made = [rng.choice(recordings) for _ in range(BATCH["sounds"])]
    heard = features([speech.in_a_room(sound, rng).astype(np.float32) / 32768 for sound, _ in made], return_tensors="pt")
    mask = heard["input_features_mask"].bool()
    out = model.model.get_audio_features(heard["input_features"].float(), mask).pooler_output
    lengths = mask.sum(-1, keepdim=True)
    for _ in range(2):
        lengths = (lengths + 1) // 2
    labels = [{"command": [len(speech.COMMANDS)], "digit": [int(d) for d in text] + [10] * (3 - len(text))} if text.isdigit()
              else {"command": [speech.COMMANDS.index(text)], "digit": [NONE] * 3} for _, text in made]
    tasks = ["digits" if text.isdigit() else "commands" for _, text in made]
    return reader.loss(out, torch.arange(out.shape[1]) >= lengths, labels, tasks, totals)


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
    reader = Reader(hidden, QUESTIONS[args.what])
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
        reader.load_state_dict(state["reader"])
        for (stepper, _), kept in zip(steppers, state["optimizers"]):
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
            loss = see(model, reader, rng, min(1.0, step / (EASY * args.steps)), totals)
        else:
            loss = hear(model, reader, rng, features, recordings, totals)
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

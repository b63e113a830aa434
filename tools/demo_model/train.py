#!/usr/bin/env python3
"""Train one of the demo checkpoints with the reference implementation on examples made as they are needed.

usage: train.py demo --steps 6000 --state FOLDER      goes on where the state in FOLDER ends
       train.py demo --steps 9000 --state FOLDER --from models/demo --at-step 7000      goes on from an exported checkpoint
"""
import argparse
import json
import math
import pathlib
import pickle
import random
import signal
import sys
import time

import numpy as np
import safetensors.torch
import torch
import transformers
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

import checkpoints
import conversations
import patches
import readers
import speech

# How many examples of a task one step sees: [those of one pass through the model], by checkpoint.
MIX = {
    "demo": [{"shapes": 16, "words": 2, "numbers": 2, "both": 1}, {"speech": 3}, {"tools": 2}, {"sums": 1, "chat": 1}],
    "demo-moe": [{"shapes": 24, "words": 3, "numbers": 4}, {"tools": 1, "sums": 1, "chat": 1}],
}


# Pictures of each step that a reader (readers.py) is asked about besides.
READ = {"shapes": 10, "words": 2, "numbers": 3}
# While the language model knows nothing, what it would have the towers do undoes what they know: for this share of the
# steps the towers learn from the readers alone, and their rate stays this part of the others'.
ALONE_SHARE, TOWER_RATE = 0.2, 0.4
TOWERS = ("model.vision_tower", "model.embed_vision", "model.audio_tower", "model.embed_audio")


class Encoder:
    """Examples to the inputs of the reference model."""

    def __init__(self, name):
        self.name = name
        self.tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_object=checkpoints.tokenizers.Tokenizer.from_str(json.dumps(checkpoints.tokenizer_json())),
            bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")
        self.template = checkpoints.template(name)
        self.pictures = Gemma4ImageProcessorPil(max_soft_tokens=checkpoints.IMAGE_BUDGET)
        self.sounds = Gemma4AudioFeatureExtractor(feature_size=checkpoints.MEL_BINS)
        self.kinds = {checkpoints.SPECIAL.index("<|image|>"): 1, checkpoints.SPECIAL.index("<|audio|>"): 3}

    def prompt(self, example):
        return self.tokenizer.apply_chat_template(
            example["messages"], tools=example["tools"], tokenize=False, add_generation_prompt=True,
            chat_template=self.template, **({"enable_thinking": True} if example["thinking"] else {}))

    def batch(self, examples, small=False):
        """Inputs of one forward pass; labels are -100 where nothing is to be learned."""
        inputs = {}
        images = [e["image"] for e in examples if e["image"] is not None]
        sounds = [e["sound"].astype(np.float32) / 32768 for e in examples if e["sound"] is not None]
        cut = frames = ()
        if images and small:
            inputs["pixel_values"], inputs["image_position_ids"] = patches.stacked([patches.small_patches(i, patches.SMALL_BUDGET) for i in images])
        elif images:
            seen = [self.pictures(images=[image], return_tensors="pt") for image in images]
            inputs["pixel_values"] = torch.cat([s["pixel_values"] for s in seen]).float()
            inputs["image_position_ids"] = torch.cat([s["image_position_ids"] for s in seen])
        if images:
            cut = (inputs["image_position_ids"] != -1).all(-1).sum(-1).tolist()
        if sounds:
            heard = self.sounds(sounds, return_tensors="pt")
            inputs["input_features"] = heard["input_features"].float()
            inputs["input_features_mask"] = heard["input_features_mask"].bool()
            frames = inputs["input_features_mask"].sum(-1).tolist()
        cut, frames = iter(cut), iter(frames)
        rows = []
        for e in examples:
            text = self.prompt(e)
            if e["image"] is not None:
                text = text.replace("<|image|>", f"<|image>{'<|image|>' * (next(cut) // 9)}<image|>")
            if e["sound"] is not None:
                count = next(frames)
                for _ in range(2):
                    count = (count + 1) // 2
                text = text.replace("<|audio|>", f"<|audio>{'<|audio|>' * count}<audio|>")
            before = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            target = self.tokenizer(e["target"], add_special_tokens=False)["input_ids"]
            rows.append((before, target))
        longest = max(len(a) + len(b) for a, b in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        labels = torch.full((len(rows), longest), -100)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for k, (a, b) in enumerate(rows):
            ids[k, :len(a) + len(b)] = torch.tensor(a + b)
            labels[k, len(a):len(a) + len(b)] = torch.tensor(b)
            mask[k, :len(a) + len(b)] = 1
        kinds = torch.zeros_like(ids)
        for token, kind in self.kinds.items():
            kinds[ids == token] = kind
        return {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": kinds, **inputs}, labels


def loss_of(model, inputs, labels, tasks, totals):
    """Mean over the examples of the mean over their target tokens; right answers are counted by task."""
    hidden = model.model(**inputs, use_cache=False).last_hidden_state
    rows, columns = torch.nonzero(labels[:, 1:] != -100, as_tuple=True)
    logits = model.lm_head(hidden[rows, columns])
    cap = model.config.text_config.final_logit_softcapping
    logits = cap * torch.tanh(logits / cap)
    wanted = labels[rows, columns + 1]
    losses = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
    counts = torch.bincount(rows, minlength=len(labels)).clamp(min=1)
    right = torch.zeros(len(labels)).index_add(0, rows, (logits.argmax(-1) != wanted).float()) == 0
    for task, ok in zip(tasks, right.tolist()):
        seen, good = totals.get(task, (0, 0))
        totals[task] = (seen + 1, good + ok)
    # Between the mean over tokens and that over examples: long answers count by the root of their length.
    weights = counts.float() ** -0.5
    return (losses * weights[rows]).sum() / (counts.float() ** 0.5).sum()


class Muon(torch.optim.Optimizer):
    """Momentum whose every update is made orthogonal (Jordan et al. 2024), in f32 and for all matrices of a shape at once."""

    def __init__(self, matrices, momentum=0.95):
        super().__init__([{"params": m} for m in by_shape(matrices)], {"lr": 0.0, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            first = group["params"][0]
            gradients = torch.stack([p.grad if p.grad is not None else torch.zeros_like(p) for p in group["params"]])
            kept = self.state[first].setdefault("momentum", torch.zeros_like(gradients))
            kept.lerp_(gradients, 1 - group["momentum"])
            x = gradients.lerp(kept, group["momentum"])
            tall = x.shape[-2] > x.shape[-1]
            x = x.mT if tall else x
            x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
            for _ in range(5):
                a = x @ x.mT
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            x = x.mT if tall else x
            # The size of an AdamW update (Liu et al. 2025).
            scale = group["lr"] * 0.2 * math.sqrt(max(first.shape))
            for p, update in zip(group["params"], x):
                p.add_(update, alpha=-scale)


def by_shape(tensors):
    shapes = {}
    for tensor in tensors:
        shapes.setdefault(tuple(tensor.shape), []).append(tensor)
    return list(shapes.values())


def optimizers(model, reader, muon, peak):
    """[(optimizer, its highest rate)]: Muon for the matrices inside the layers, AdamW for everything else."""
    def adam(parameters):
        return torch.optim.AdamW(parameters, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0)
    matrices, others = ([], []), ([], list(reader.parameters()))
    for key, tensor in model.named_parameters():
        inside = ".layers." in key and tensor.dim() == 2 and min(tensor.shape) > 16 and "router" not in key
        (matrices if inside else others)[key.startswith(TOWERS)].append(tensor)
    return [(Muon(matrices[0]), muon), (adam(others[0]), peak),
            (Muon(matrices[1]), TOWER_RATE * muon), (adam(others[1]), TOWER_RATE * peak)]


def towers(name, folder):
    """(weights of the towers and their projections, those of the reader of pictures) as towers.py left them."""
    found, reader = {}, None
    for what in ("pictures", "sounds") if checkpoints.config(name)["audio_config"] else ("pictures",):
        path = folder / f"{name}-{what}.pt"
        if not path.exists():
            sys.exit(f"train: {path} is missing; run towers.py {what} --name {name} --state {folder} first")
        state = torch.load(path)
        found |= state["model"]
        reader = reader or state["reader"]
    return found, reader


def rate(step, steps, peak):
    """Rises for 100 steps, stays, falls to nothing over the last 40 %."""
    return peak * min(1.0, (step + 1) / 100, max(0.0, (steps - step) / (0.4 * steps)))


def recordings(folder, count):
    """Said once, kept for the next run."""
    path = folder / f"speech-{count}.pickle"
    if not path.exists():
        print(f"espeak-ng says {count} texts", flush=True)
        path.write_bytes(pickle.dumps(speech.corpus(count, seed=1)))
    return pickle.loads(path.read_bytes())


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("name", choices=list(MIX))
    options.add_argument("--steps", type=int, default=4500, help="length of the whole training")
    options.add_argument("--state", type=pathlib.Path, required=True, help="folder of the resumable state")
    options.add_argument("--from", dest="exported", type=pathlib.Path, help="a model to go on from where there is no state")
    options.add_argument("--at-step", type=int, default=0, help="the steps that model was trained for")
    options.add_argument("--small", type=float, default=0.7, help="share of the steps whose pictures are small (patches.SMALL_BUDGET)")
    options.add_argument("--muon", type=float, default=1.5e-3, help="highest rate of Muon")
    options.add_argument("--peak", type=float, default=1e-3, help="highest rate of AdamW")
    options.add_argument("--stop-after", type=float, default=1e9, help="seconds after which this run saves and ends")
    options.add_argument("--threads", type=int, default=1, help="two are only 1.3 times as fast as one")
    options.add_argument("--recordings", type=int, default=12000)
    args = options.parse_args()
    args.state.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    transformers.logging.set_verbosity_error()
    model = checkpoints.fresh(args.name)
    model.train()
    reader = readers.Reader(model.config.text_config.hidden_size, readers.QUESTIONS["pictures"])
    steppers = optimizers(model, reader, args.muon, args.peak)
    of_towers = [p for key, p in model.named_parameters() if key.startswith(TOWERS)]
    language = [p for key, p in model.named_parameters() if not key.startswith(TOWERS)]
    seeing = of_towers + list(reader.parameters())
    path = args.state / f"{args.name}.pt"
    # Until this step the reader, which no checkpoint holds, learns to read the towers before it may change them.
    step = stranger = 0
    state = {}
    if path.exists():
        state = torch.load(path)
        model.load_state_dict(state["model"])
        reader.load_state_dict(state["reader"])
        for (stepper, _), kept in zip(steppers, state.get("optimizers", ())):  # absent: begins with fresh momentum
            stepper.load_state_dict(kept)
        step, stranger = state["step"], state.get("stranger", 0)
        print(f"goes on at step {step}", flush=True)
    elif args.exported:
        unknown = model.load_state_dict(safetensors.torch.load_file(args.exported / "model.safetensors"), strict=False).unexpected_keys
        assert not unknown, f"{args.exported} is not of this architecture: {unknown}"
        step, stranger = args.at_step, args.at_step + 150
    else:
        seen, asked = towers(args.name, args.state)
        model.load_state_dict(seen, strict=False)
        reader.load_state_dict(asked)
    encoder = Encoder(args.name)
    sounds = recordings(args.state, args.recordings) if args.name == "demo" else []
    average = {k: v.clone() for k, v in model.state_dict().items()}
    for key, kept in state.get("average", {}).items():
        average[key].copy_(kept)  # whatever precision it was kept in

    def save():
        torch.save({"model": model.state_dict(), "reader": reader.state_dict(), "optimizers": [s.state_dict() for s, _ in steppers], "step": step,
                    "stranger": stranger, "average": average}, path.with_suffix(".new"))
        path.with_suffix(".new").rename(path)

    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    signal.signal(signal.SIGINT, lambda *_: stop.append(1))
    begun, saved, totals, sums, spent = time.monotonic(), time.monotonic(), {}, [], [0.0, 0.0]
    while step < args.steps and not stop and time.monotonic() - begun < args.stop_after:
        for stepper, peak in steppers:
            for group in stepper.param_groups:
                group["lr"] = rate(step, args.steps, peak)
        rng = random.Random(step * 1_000_003 + 17)
        for parameter in of_towers:
            parameter.requires_grad_(step >= ALONE_SHARE * args.steps)
        for part in MIX[args.name]:
            t = time.monotonic()
            tasks = [task for task, count in part.items() for _ in range(count)]
            examples = [conversations.make(task, rng, sounds) for task in tasks]
            inputs, labels = encoder.batch(examples, small=step < args.small * args.steps)
            spent[0] += time.monotonic() - t
            t = time.monotonic()
            loss = loss_of(model, inputs, labels, tasks, totals)
            loss.backward()
            sums.append(loss.item())
            spent[1] += time.monotonic() - t
        t = time.monotonic()
        for parameter in of_towers:
            parameter.requires_grad_(step >= stranger)
        readers.see(model, reader, rng, 1.0, totals, READ).backward()
        for parameter in of_towers:
            parameter.requires_grad_(True)
        spent[1] += time.monotonic() - t
        # Each on its own: where the one's gradient is large, the other's would all but vanish, and AdamW would take the
        # next common one for a giant.
        norm = torch.nn.utils.clip_grad_norm_(language, 1.0 * len(MIX[args.name]))
        norm = max(norm, torch.nn.utils.clip_grad_norm_(seeing, 1.0))
        if math.isfinite(norm):
            for stepper, _ in steppers:
                stepper.step()
        model.zero_grad(set_to_none=True)
        step += 1
        with torch.no_grad():  # what is exported: weights averaged over the last few hundred steps
            keep = min(0.995, step / (step + 10))
            for key, tensor in model.state_dict().items():
                if tensor.is_floating_point():
                    average[key].lerp_(tensor, 1 - keep)
        if step % 50 == 0:
            shares = " ".join(f"{t} {100 * good / seen:.0f}" for t, (seen, good) in totals.items())
            print(f"step {step} loss {np.mean(sums):.3f} grad {norm:.2f} | {shares} | data {spent[0] / 50:.2f} "
                  f"model {spent[1] / 50:.2f} s/step, {(time.monotonic() - begun) / 60:.0f} min", flush=True)
            totals, sums, spent = {}, [], [0.0, 0.0]
        if time.monotonic() - saved > 300:
            save()
            saved = time.monotonic()
    save()
    print(f"saved at step {step} of {args.steps}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

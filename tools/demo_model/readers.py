"""Readers, small decoders thrown away after the training, that ask the towers' soft tokens directly what is there.

They teach the towers to see and hear before the language model learns to read them (towers.py), and go on asking while
it does (train.py).
"""
import numpy as np
import torch
from torch import nn

import patches
import pictures
import speech

SOUNDS = 24
TEXT = pictures.WORDS
NONE = -100
# What a soft token may hold the middle of: a shape in a colour.
HERE = len(pictures.SHAPES) * len(pictures.COLOURS)
# How often the pictures of a step are of each task.
SHARES = {"shapes": 16, "words": 8, "numbers": 8}
LEAST_BUDGET = 16


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
        self.here = nn.Linear(hidden, 1 + HERE)

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
            seen, good = totals.get(f"{task} read", (0, 0))
            totals[f"{task} read"] = (seen + 1, good + (mistakes == 0))
        return loss


def picture(rng, task, effort=1.0):
    """(image, labels of each head, middles of the shapes or None where there are none to be told)."""
    labels = {"count": [NONE] * 5, "colour": [NONE] * 5, "word": [NONE], "digit": [NONE] * 3}
    if task == "shapes":
        groups = pictures.shape_groups(rng)
        labels["count"] = [sum(g[0] for g in groups if g[2] == s) for s in pictures.SHAPES]
        for _, colour, shape in groups:
            labels["colour"][pictures.SHAPES.index(shape)] = list(pictures.COLOURS).index(colour)
        image, middles = pictures.draw_shapes(rng, groups)
        return image, labels, middles
    image, _, answer = getattr(pictures, task)(rng, effort=effort)
    if task == "words":
        labels["word"] = [TEXT.index(answer)]
    else:
        labels["digit"] = [10] * (3 - len(answer)) + [int(d) for d in answer]
    return image, labels, None


def middle_labels(middles, columns, rows, length):
    """For each soft token of a picture, padded to length: 0, or 1 + the shape and colour that has its middle there."""
    labels = torch.full((length,), NONE)
    if middles is not None:
        labels[:columns * rows] = 0
        for x, y, colour, shape in middles:
            kind = pictures.SHAPES.index(shape) * len(pictures.COLOURS) + list(pictures.COLOURS).index(colour)
            labels[int(y * rows) * columns + int(x * columns)] = 1 + kind
    return labels


def see(model, reader, rng, effort, totals, shares=SHARES):
    """The loss of a step. effort: from large black text in few patches to any text in as many as SMALL_BUDGET allows."""
    budget = int(LEAST_BUDGET + (patches.SMALL_BUDGET - LEAST_BUDGET) * effort)
    tasks = [task for task, count in shares.items() for _ in range(count)]
    made = [picture(rng, task, effort) for task in tasks]
    pixels, positions = patches.stacked([patches.small_patches(image, budget) for image, _, _ in made])
    seen = model.model.get_image_features(pixels, positions).pooler_output
    longest = max(len(s) for s in seen)
    tokens = torch.stack([nn.functional.pad(s, (0, 0, 0, longest - len(s))) for s in seen])
    padding = torch.stack([torch.arange(longest) >= len(s) for s in seen])
    sides = ((positions.amax(1) + 1) // 3).tolist()
    middles = torch.stack([middle_labels(m, columns, rows, longest) for (_, _, m), (columns, rows) in zip(made, sides)])
    found = reader.here(tokens)
    weights = torch.ones(1 + HERE)
    weights[0] = 0.2  # of most tokens there is nothing to say
    where = nn.functional.cross_entropy(found.flatten(0, 1), middles.flatten(), weights, ignore_index=NONE)
    wrong = ((found.argmax(-1) != middles) & (middles != NONE)).any(-1)[[m is not None for _, _, m in made]]
    seen, good = totals.get("middles", (0, 0))
    totals["middles"] = (seen + len(wrong), good + (~wrong).sum().item())
    return where + reader.loss(tokens, padding, [labels for _, labels, _ in made], tasks, totals)


def hear(model, reader, rng, features, recordings, totals):
    made = [rng.choice(recordings) for _ in range(SOUNDS)]
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

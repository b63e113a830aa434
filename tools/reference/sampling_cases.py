#!/usr/bin/env python3
"""Write tests/engine/cases/sampling.json: distributions the reference's logits processors leave for random logits.

Each case holds logits, a context, settings and the probability of every id that survives. The processors run in the
order of GenerationMixin._get_logits_processor. Penalties of presence and frequency are not in the reference and are
tested elsewhere.
"""
import json
import pathlib
import sys

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

VOCAB = 40


def processors(s):
    out = LogitsProcessorList()
    if s["repetition_penalty"] != 1:
        out.append(RepetitionPenaltyLogitsProcessor(s["repetition_penalty"]))
    if s["suppress_tokens"]:
        out.append(SuppressTokensLogitsProcessor(s["suppress_tokens"]))
    if s["temperature"] != 1:
        out.append(TemperatureLogitsWarper(s["temperature"]))
    if s["top_k"]:
        out.append(TopKLogitsWarper(s["top_k"]))
    if s["top_p"] < 1:
        out.append(TopPLogitsWarper(s["top_p"]))
    if s["min_p"] > 0:
        out.append(MinPLogitsWarper(s["min_p"]))
    if s["typical_p"] < 1:
        out.append(TypicalLogitsWarper(s["typical_p"]))
    return out


def main(path):
    torch.manual_seed(1)
    grid = [
        dict(temperature=t, top_k=k, top_p=p, min_p=m, typical_p=y, repetition_penalty=r, suppress_tokens=s)
        for t, k, p, m, y, r, s in [
            (1.0, 0, 1.0, 0.0, 1.0, 1.0, []), (0.7, 0, 1.0, 0.0, 1.0, 1.0, []), (1.0, 5, 1.0, 0.0, 1.0, 1.0, []),
            (1.0, 0, 0.9, 0.0, 1.0, 1.0, []), (1.0, 0, 0.3, 0.0, 1.0, 1.0, []), (1.0, 0, 1.0, 0.1, 1.0, 1.0, []),
            (1.0, 0, 1.0, 0.0, 0.6, 1.0, []), (1.0, 0, 1.0, 0.0, 0.2, 1.0, []), (1.0, 0, 1.0, 0.0, 1.0, 1.3, []),
            (1.0, 64, 0.95, 0.0, 1.0, 1.0, []), (0.8, 10, 0.9, 0.05, 0.9, 1.1, [3, 7]), (1.5, 3, 0.5, 0.0, 1.0, 1.0, [0]),
            (2.0, 20, 0.99, 0.02, 0.95, 0.8, [])]
    ]
    cases = []
    for i, settings in enumerate(grid * 3):
        scale = (1.0, 3.0, 8.0)[i // len(grid)]
        logits = (torch.randn(VOCAB) * scale).double().round(decimals=5).float()
        context = torch.randint(0, VOCAB, (12,))
        scores = processors(settings)(context[None], logits[None].clone())[0]
        probabilities = torch.softmax(scores.double(), -1)
        kept = {str(j): probabilities[j].item() for j in range(VOCAB) if probabilities[j] > 0}
        cases.append(dict(settings=settings, logits=[round(v, 5) for v in logits.tolist()], context=context.tolist(),
                          probabilities=kept))
    pathlib.Path(path).write_text(json.dumps(cases, separators=(",", ":")).replace('{"settings"', '\n{"settings"') + "\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "tests/engine/cases/sampling.json")

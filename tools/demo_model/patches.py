"""Pictures cut into patches for the towers, at budgets the reference's processor does not know."""
import math

import numpy as np
import torch
from PIL import Image

# Most soft tokens of a picture in most of the training: attention over a third of the patches costs a ninth, and what is
# learned there holds for the full budget.
SMALL_BUDGET = 28


def small_patches(image, budget):
    """What Gemma4ImageProcessorPil does, for a budget it does not know: patches [P, 768] and positions [P, 2]."""
    side = 16 * 3
    scale = math.sqrt(budget * side * side / (image.width * image.height))
    columns, rows = max(1, int(image.width * scale) // side) * 3, max(1, int(image.height * scale) // side) * 3
    pixels = np.asarray(image.resize((columns * 16, rows * 16), Image.Resampling.BICUBIC), np.float32) / 255
    patches = pixels.reshape(rows, 16, columns, 16, 3).transpose(0, 2, 1, 3, 4).reshape(rows * columns, 768)
    positions = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2)
    return torch.from_numpy(np.ascontiguousarray(patches)), torch.from_numpy(positions)


def stacked(images):
    """Padded as the processor pads."""
    longest = max(len(p) for p, _ in images)
    pad = torch.nn.functional.pad
    return (torch.stack([pad(p, (0, 0, 0, longest - len(p))) for p, _ in images]),
            torch.stack([pad(p, (0, 0, 0, longest - len(p)), value=-1) for _, p in images]))

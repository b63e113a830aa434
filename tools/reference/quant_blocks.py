#!/usr/bin/env python3
"""Write golden blocks of every quantised GGUF type with their values as the gguf package decodes them.

usage: quant_blocks.py OUT_DIR        writes OUT_DIR/<type>.bin and OUT_DIR/manifest.json
A .bin file is N blocks followed by their N * width f32 values, little endian; N follows from the file size.
Bytes are random; the f16 scale fields also take zero, subnormals, the largest values, infinities and NaN.
"""
import json
import pathlib
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

SEED = 20250101
# type -> byte offsets of its f16 fields
F16_FIELDS = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q2_K: [80, 82], T.Q3_K: [108],
    T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0], T.MXFP4: [],
}
# +0, -0, smallest and largest subnormal, smallest normal, 1, largest, -largest, inf, -inf, NaN
SPECIAL_F16 = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E01]
SPECIAL_E8M0 = [0, 1, 2, 3, 126, 127, 128, 251, 252, 253, 254, 255]


def golden_blocks(rng, kind):
    width, size = gguf.GGML_QUANT_SIZES[kind]
    count = 64 if width == 32 else 28
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    fields = F16_FIELDS[kind]
    for n, offset in enumerate(fields):
        # The special values first, each beside an ordinary one in the other field, then ordinary magnitudes.
        scales = (rng.standard_normal(count) * 0.05).astype(np.float16).view(np.uint16)
        first = n * len(SPECIAL_F16)
        scales[first:first + len(SPECIAL_F16)] = SPECIAL_F16
        blocks[:, offset:offset + 2] = scales.reshape(-1, 1).view(np.uint8)
    if not fields:
        blocks[:len(SPECIAL_E8M0), 0] = SPECIAL_E8M0
    return blocks


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    for kind in F16_FIELDS:
        blocks = golden_blocks(rng, kind)
        with np.errstate(all="ignore"):
            values = gguf.dequantize(blocks, kind)
        (out / f"{kind.name.lower()}.bin").write_bytes(blocks.tobytes() + values.astype("<f4").tobytes())
    from importlib.metadata import version
    manifest = {"seed": SEED, "gguf": version("gguf"), "numpy": version("numpy"),
                "types": [kind.name.lower() for kind in F16_FIELDS]}
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()

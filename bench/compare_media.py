#!/usr/bin/env python3
"""Time how fast Carat and llama.cpp encode pictures and sound, in turn, on the same text model and projector file.

usage: compare_media.py MODEL.gguf MMPROJ.gguf --llama BIN_FOLDER [options]
  --carat PROGRAM     default build/carat
  --tokens N,…        soft tokens of a picture (280, 1120); none with --tokens 0
  --seconds N,…       seconds of sound (10, 30); none with --seconds 0
  --template NAME     chat template for Carat (small), as a file with random weights has none of its own
  -t N, -r N          threads (2), runs of each (3)
  --json FILE         write everything measured
Needs numpy and pillow. Pictures and sounds are random. llama.cpp's time is the one its own log gives for encoding, Carat's is
media_ms. Neither counts loading the encoders and reading the file.
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import wave

import numpy as np
from PIL import Image

# Width and height whose scaled size fills the budget exactly: tokens are squares of 48 pixels.
PICTURES = {70: (480, 336), 280: (960, 672), 1120: (1920, 1344)}


def call(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        sys.exit(f"compare_media: {' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return done


def carat_ms(options, kind, path, budget):
    more = [f"--{kind}", path] + (["--image-budget", budget] if budget else [])
    out = call([options.carat, "run", options.model, "--mmproj", options.mmproj, "-t", options.t, "-n", 1, "-p", "a",
                "--template", options.template, "--temp", 0, "--json", *more]).stdout
    return json.loads(out)["timings"]["media_ms"]


def llama_ms(options, kind, path, budget):
    more = ["--image-min-tokens", budget, "--image-max-tokens", budget] if budget else []
    # Where the tokens of a picture see one another it has to fit one batch.
    done = call([options.llama / "llama-mtmd-cli", "-m", options.model, "-mm", options.mmproj, f"--{kind}", path, "-p", "a", "-n", 1,
                 "-t", options.t, "--temp", 0, "-c", 4096, "-b", 2048, "-ub", 2048, "--jinja", *more])
    text = done.stdout + done.stderr
    found = [float(ms) for ms in re.findall(r"mtmd batch encoding done in (\d+) ms", text)]
    if not found:
        sys.exit(f"compare_media: no encoding time in llama-mtmd-cli's output\n{text[-3000:]}")
    return sum(found)


def numbers(text):
    return [n for n in map(int, text.split(",")) if n > 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("mmproj", type=pathlib.Path)
    parser.add_argument("--carat", type=pathlib.Path, default=pathlib.Path("build/carat"))
    parser.add_argument("--llama", type=pathlib.Path, required=True)
    parser.add_argument("--tokens", type=numbers, default=[280, 1120])
    parser.add_argument("--seconds", type=numbers, default=[10, 30])
    parser.add_argument("--template", default="small")
    parser.add_argument("-t", type=int, default=2)
    parser.add_argument("-r", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    random = np.random.default_rng(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        tests = []
        for tokens in options.tokens:
            width, height = PICTURES[tokens]
            file = folder / f"{tokens}.png"
            Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(file)
            tests.append((f"image, {tokens} tokens", "image", file, tokens, None))
        for seconds in options.seconds:
            file = folder / f"{seconds}.wav"
            with wave.open(str(file), "wb") as out:
                out.setnchannels(1)
                out.setsampwidth(2)
                out.setframerate(16000)
                out.writeframes((3000 * random.standard_normal(16000 * seconds)).astype("<i2").tobytes())
            tests.append((f"sound, {seconds} s", "audio", file, None, seconds))
        for what, kind, file, budget, seconds in tests:
            carat, llama = [], []
            for _ in range(options.r):
                carat.append(carat_ms(options, kind, file, budget))
                llama.append(llama_ms(options, kind, file, budget))
            ours, theirs = statistics.median(carat), statistics.median(llama)
            rows.append({"what": what, "carat_ms": carat, "llama_ms": llama, "ratio": theirs / ours})
            real_time = f"   {1000 * seconds / ours:.1f} x real time" if seconds else ""
            print(f"{what:22} Carat {ours:9.0f} ms   llama.cpp {theirs:9.0f} ms   ratio {theirs / ours:5.2f}{real_time}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"model": str(options.model), "mmproj": str(options.mmproj), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

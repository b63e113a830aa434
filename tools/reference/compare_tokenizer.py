#!/usr/bin/env python3
"""Compares the tokenizer with the reference `tokenizers` library, id for id, on a directory of texts.

Usage: compare_tokenizer.py --model VOCABULARY --corpus DIRECTORY --tool bench/tokenizer_speed [--mode text|special|both]
                            [--llama-tokenize PROGRAM] [--only PART_OF_A_FILE_NAME]

VOCABULARY is a GGUF file with merges (gemma4), or a directory with tokenizer.json. The reference for a GGUF file is built
from its pieces and merges: BPE with byte fallback and fused unknown tokens behind a normalizer that replaces spaces by "▁".
Text mode compares with it as it is, special mode with the tokens of type 3 and 4 added. Ill-formed UTF-8 goes to the
reference as bytes.decode("utf-8", errors="replace").

For score-based vocabularies (model "llama") give --llama-tokenize: the reference is then llama.cpp's program. It has a rule
of its own for ill-formed UTF-8 (byte tokens), so such files are given to it with U+FFFD in place, as to the other reference.

Prints the first difference (file, position, both ids and pieces), the megabytes compared, and the speed of both on one
thread; exits with 1 when any file differs.
"""

import argparse
import array
import ast
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"


def from_gguf(path):
    """The pieces, types and merges of a GGUF file."""
    import gguf

    fields = gguf.GGUFReader(path).fields

    def contents(key):
        field = fields.get(f"tokenizer.ggml.{key}")
        return None if field is None else field.contents()

    return contents("tokens"), contents("token_type"), contents("merges")


def reference_from_gguf(path, special):
    import tokenizers
    from tokenizers import models, normalizers

    pieces, types, merges = from_gguf(path)
    pairs = []
    for merge in merges:
        space = merge.index(" ", 1)
        pairs.append((merge[:space], merge[space + 1:]))
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    model = models.BPE(vocabulary, pairs, byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    reference = tokenizers.Tokenizer(model)
    reference.normalizer = normalizers.Replace(" ", "\u2581")
    if special:
        reference.add_tokens([tokenizers.AddedToken(piece, special=kind == 3, normalized=False)
                              for piece, kind in zip(pieces, types) if kind in (3, 4)])
    return reference


def reference_from_directory(path, special):
    import tokenizers

    description = json.loads((pathlib.Path(path) / "tokenizer.json").read_text(encoding="utf-8"))
    if not special:
        description["added_tokens"] = []
    description["post_processor"] = None
    return tokenizers.Tokenizer.from_str(json.dumps(description))


class LlamaTokenize:
    """llama.cpp's tokenizer as a program: one process a file, so its speed says nothing."""

    def __init__(self, program, model, special):
        self.command = [program, "-m", model, "--ids", "--no-bos", "--log-disable", "--no-escape"]
        self.command += [] if special else ["--no-parse-special"]

    def ids(self, data):
        with tempfile.NamedTemporaryFile() as file:
            file.write(data.decode("utf-8", errors="replace").encode())
            file.flush()
            done = subprocess.run(self.command + ["-f", file.name], capture_output=True, check=True)
        return ast.literal_eval(done.stdout.decode())


def compare(tool, model, file, reference, special, pieces):
    """(bytes, our seconds, reference seconds, first difference or None)"""
    data = file.read_bytes()
    with tempfile.NamedTemporaryFile() as out:
        command = [tool, model, str(file), "--ids", out.name, "--repeat", "3"] + (["--special"] if special else [])
        ours = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        ids = array.array("i", pathlib.Path(out.name).read_bytes()).tolist()
    start = time.perf_counter()
    if isinstance(reference, LlamaTokenize):
        expected = reference.ids(data)
    else:
        text = data.decode("utf-8", errors="replace")
        start = time.perf_counter()
        encoding = reference.encode_batch_fast([text], add_special_tokens=False)[0]
        elapsed = time.perf_counter() - start
        expected = encoding.ids
    if isinstance(reference, LlamaTokenize):
        elapsed = time.perf_counter() - start
    if ids == expected:
        return len(data), ours["seconds"], elapsed, None
    at = next((i for i, (a, b) in enumerate(zip(ids, expected)) if a != b), min(len(ids), len(expected)))

    def show(some):
        return [(i, pieces[i]) for i in some[max(0, at - 2): at + 4]]

    difference = f"{file.name}: id {at} differs\n  carat     {show(ids)}\n  reference {show(expected)}"
    return len(data), ours["seconds"], elapsed, difference


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--corpus", required=True, type=pathlib.Path)
    parser.add_argument("--tool", required=True, help="the program tokenizer_speed of bench/")
    parser.add_argument("--mode", choices=("text", "special", "both"), default="both")
    parser.add_argument("--llama-tokenize")
    parser.add_argument("--only", default="", help="files whose names contain this")
    arguments = parser.parse_args()

    files = [file for file in sorted(arguments.corpus.iterdir()) if arguments.only in file.name]
    failed = False
    for special in {"text": (False,), "special": (True,), "both": (False, True)}[arguments.mode]:
        mode = "special" if special else "text"
        if arguments.llama_tokenize:
            reference = LlamaTokenize(arguments.llama_tokenize, arguments.model, special)
            pieces = from_gguf(arguments.model)[0]
        elif pathlib.Path(arguments.model).is_dir():
            reference = reference_from_directory(arguments.model, special)
            pieces = {i: piece for piece, i in reference.get_vocab().items()}
        else:
            reference = reference_from_gguf(arguments.model, special)
            pieces = from_gguf(arguments.model)[0]
        total = ours = theirs = 0
        differences = []
        for file in files:
            size, our_seconds, reference_seconds, difference = compare(arguments.tool, arguments.model, file, reference, special, pieces)
            total, ours, theirs = total + size, ours + our_seconds, theirs + reference_seconds
            if difference:
                differences.append(difference)
                print(difference, flush=True)
        failed |= bool(differences)
        print(f"{mode} mode: {len(files)} files, {total / 1e6:.2f} MB, {len(differences)} differ; one thread: "
              f"carat {total / 1e6 / ours:.1f} MB/s, reference {total / 1e6 / theirs:.2f} MB/s, ratio {theirs / ours:.1f}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

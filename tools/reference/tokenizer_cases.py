#!/usr/bin/env python3
"""Writes the committed tokenizer fixtures: a small tokenizer.json cut out of a full vocabulary, and texts with the ids that
the reference `tokenizers` library gives them.

Usage: tokenizer_cases.py VOCABULARY.gguf CORPUS_DIRECTORY tests/text/cases/tokenizer

The small vocabulary holds what the sampled lines need, all merges among those pieces in their order, every byte and every
special token, under shuffled ids. Some sampled lines stay out of the selection, so that byte fallback and short pieces are
met too. variants.jsonl holds tiny random vocabularies with every combination of options the loader accepts.
"""

import json
import pathlib
import random
import sys

import gguf
import tokenizers

HAND_WRITTEN = [
    "", " ", "  ", "   ", "\n", "\n\n", "\n\n\n", "\t\n", "\t", "\r\n", "\u2581", "\u2581 \u2581", "Hello world", " Hello world",
    "Hello  world ", "3333", "a\u0000b", "\ufeffx", "<bos>", "a<bos>b", "<|turn>user\nHi<turn|>\n<|turn>model\n", "<|tool_call>",
    "<|tool_call", "<|tool<|tool>", "<<|turn>>", "<|\"|>", "<0x0A>", "<0x41>A", "<unk>", "<table><tr><td>", "</s>", " <bos> ",
    "<|image|><image|><|image>", "\n" * 31, "\n" * 32, "\n" * 70, " " * 31 + "x", " " * 32 + "x", " " * 33 + "x", " " * 100, "\t" * 33,
    "x" * 200, "ab" * 100, "=" * 150, "\U0010ffff", "\ue000\uf8ff", "e\u0301", "👩‍👩‍👧‍👦🏳️‍🌈", "中文字符,日本語と한국어", "if (x == 1) {\n\treturn;\n}\n",
    "नमस्ते दुनिया", "สวัสดีชาวโลก", "שלום עולם", "مرحبا بالعالم", "Ελληνικά", "ሰላም ልዑል", "𒀀𒁀 𐎀𐎁", "\u200b\u200e\u202e\u2028",
]


def reference(pieces, kinds, merges, special):
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    model = tokenizers.models.BPE(vocabulary, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = tokenizers.normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = tokenizers.decoders.Sequence([
        tokenizers.decoders.Replace("\u2581", " "), tokenizers.decoders.ByteFallback(), tokenizers.decoders.Fuse()])
    if special:
        for piece, kind in zip(pieces, kinds):
            if kind in (3, 4):
                tokenizer.add_tokens([tokenizers.AddedToken(piece, special=kind == 3, normalized=False)])
    return tokenizer


def variants(rng):
    """Tiny random vocabularies with every combination of options, each with texts and the reference's ids."""
    for _ in range(36):
        alphabet = rng.sample(["a", "b", "c", "d", "\u2581", "é", "中", "😀", "<", "0"], rng.randint(3, 9))
        pieces = list(alphabet)
        present = rng.choice(["all", "all", "some", "none"])
        data = [f"<0x{b:02X}>" for b in range(256) if present == "all" or (present == "some" and rng.random() < 0.8)]
        bytes_shown = data if present != "none" else []
        has_unknown = rng.random() < 0.7
        joinable = alphabet + (rng.sample(bytes_shown, 2) if bytes_shown and rng.random() < 0.2 else [])
        if has_unknown and rng.random() < 0.2:
            joinable.append("<unk>")
        merges, made = [], list(joinable)
        for _ in range(rng.randint(0, 40)):
            left, right = rng.choice(made), rng.choice(made)
            if len(left + right) > 14:
                continue
            merges.append((left, right))
            if left + right not in made:
                made.append(left + right)
        if rng.random() < 0.5:
            rng.shuffle(merges)
        pieces = list(dict.fromkeys(pieces + bytes_shown + made + (["<unk>"] if has_unknown else [])))
        rng.shuffle(pieces)
        model = tokenizers.models.BPE({p: i for i, p in enumerate(pieces)}, merges, byte_fallback=present != "none" or rng.random() < 0.5,
                                      fuse_unk=rng.random() < 0.5, **({"unk_token": "<unk>"} if has_unknown else {}))
        tokenizer = tokenizers.Tokenizer(model)
        replace = tokenizers.normalizers.Replace(" ", "\u2581")
        normalizer = rng.choice(["replace", "replace", "prefix", "none"])
        if normalizer == "replace":
            tokenizer.normalizer = replace
        elif normalizer == "prefix":
            tokenizer.normalizer = tokenizers.normalizers.Sequence([tokenizers.normalizers.Prepend("\u2581"), replace])
        plain = tokenizers.Tokenizer.from_str(tokenizer.to_str())
        literals = rng.sample(["<s>", "<s><s>", "ab", "a b", "\u2581b", " ", "abc", "<|x|>", "é<", "中"], 4) if rng.random() < 0.7 else []
        literals = [text for text in literals if text not in pieces]  # those would be ordinary pieces too
        tokenizer.add_tokens([tokenizers.AddedToken(text, special=rng.random() < 0.5, normalized=rng.random() < 0.5) for text in literals])
        cases = []
        for _ in range(14):
            parts = rng.choices(alphabet + [" ", " ", "a", "b", "ж", "ü", "文", "\n", "<s>"] + literals + made, k=rng.choice((1, 2, 3, 8, 30, 70)))
            text = "".join(parts)
            case = {"text": text, "ids": plain.encode(text, add_special_tokens=False).ids}
            case["special_ids"] = tokenizer.encode(text, add_special_tokens=False).ids
            cases.append(case)
        yield {"tokenizer": json.loads(tokenizer.to_str()), "cases": cases}


def main():
    vocabulary, corpus, target = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    fields = gguf.GGUFReader(vocabulary).fields
    pieces = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    merges = [(m[: m.index(" ", 1)], m[m.index(" ", 1) + 1:]) for m in fields["tokenizer.ggml.merges"].contents()]
    rng = random.Random(4)

    lines = []
    for file in sorted(corpus.iterdir()):
        text = file.read_bytes().decode("utf-8", "replace")
        candidates = [line for line in text[:200_000].split("\n") if 8 < len(line) < 160] or [text[500:600]]
        lines += rng.sample(candidates, min(4, len(candidates)))
    rng.shuffle(lines)
    full = reference(pieces, kinds, merges, False)
    chosen = {i for text in HAND_WRITTEN + lines[:1000] for i in full.encode(text, add_special_tokens=False).ids}
    wanted = {pieces[i] for i in chosen} | {p for p, k in zip(pieces, kinds) if k in (3, 4, 6)}
    parts = {}
    for left, right in merges:
        parts.setdefault(left + right, []).append((left, right))
    agenda = list(wanted)
    while agenda:  # the parts of its first merges, so that every piece can be reached, in more than one way
        for left, right in parts.get(agenda.pop(), [])[:2]:
            for side in (left, right):
                if side not in wanted:
                    wanted.add(side)
                    agenda.append(side)
    small = sorted(wanted)
    rng.shuffle(small)
    kind_of = dict(zip(pieces, kinds))
    small_kinds = [kind_of[p] for p in small]
    small_merges = [(a, b) for a, b in merges if a in wanted and b in wanted and a + b in wanted]

    text_mode, special_mode = (reference(small, small_kinds, small_merges, special) for special in (False, True))
    description = json.loads(special_mode.to_str())
    description["model"]["merges"] = [list(m) for m in small_merges]
    target.mkdir(parents=True, exist_ok=True)
    with open(target / "tokenizer.json", "w", encoding="utf-8", newline="\n") as out:
        json.dump(description, out, ensure_ascii=False, separators=(",", ":"))
        out.write("\n")
    with open(target / "cases.jsonl", "w", encoding="utf-8", newline="\n") as out:
        for text in HAND_WRITTEN + lines[700:1300]:
            ids = text_mode.encode(text, add_special_tokens=False).ids
            case = {"text": text, "ids": ids}
            special_ids = special_mode.encode(text, add_special_tokens=False).ids
            if special_ids != ids:
                case["special_ids"] = special_ids
            decoded = special_mode.decode(special_ids, skip_special_tokens=True)
            if decoded != text.replace("\u2581", " "):
                case["without_control"] = decoded
            json.dump(case, out, ensure_ascii=False, separators=(",", ":"))
            out.write("\n")
    with open(target / "variants.jsonl", "w", encoding="utf-8", newline="\n") as out:
        for variant in variants(random.Random(17)):
            json.dump(variant, out, ensure_ascii=False, separators=(",", ":"))
            out.write("\n")
    print(f"{len(small)} pieces, {len(small_merges)} merges, {len(HAND_WRITTEN) + len(lines[700:1300])} cases")


if __name__ == "__main__":
    main()

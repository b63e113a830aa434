#!/usr/bin/env python3
"""Writes the text that the tokenizer is compared on: at least 20 MB in more than 30 scripts, the same on every run.

Usage: tokenizer_corpus.py DIRECTORY

Natural text comes from installed packages (pip install Django Babel Faker): translations, names of languages and places,
names and words. Code is the Python standard library. The rest is generated from a fixed seed: every Unicode character,
random words of each script, emoji, control characters, white space, ill-formed UTF-8, texts that look like special tokens,
and long runs without any border. Prints how much there is, and in which scripts.
"""

import collections
import importlib.util
import pathlib
import random
import sys
import sysconfig
import unicodedata

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|tool>", "<tool|>", "<|tool_call>", "<tool_call|>",
           "<|tool_response>", "<tool_response|>", '<|"|>', "<|think|>", "<|channel>", "<channel|>", "<|turn>", "<turn|>",
           "<|image>", "<|audio>", "<|image|>", "<|audio|>", "<image|>", "<audio|>", "<|video|>", "<start_of_turn>",
           "<end_of_turn>", "<start_of_image>", "<unused0>", "<unused99>", "[multimodal]", "<table>", "</s>", "<s>", "<h1>",
           "<0x0A>", "<0xFF>", "<0x41>", "\u2581", "\u2581\u2581"]


def package(name):
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        sys.exit(f"tokenizer_corpus: the Python package {name} is missing; run: pip install Django Babel Faker")
    return pathlib.Path(found.origin).parent


def read_all(files, most=None):
    out = bytearray()
    for file in files:
        out += file.read_bytes()
        if most is not None and len(out) >= most:
            return bytes(out[:most])
    return bytes(out)


def translations():
    root = package("django")
    languages = collections.defaultdict(list)
    for file in sorted(root.rglob("*.po")):
        languages[file.parent.parent.name].append(file)
    for language, files in sorted(languages.items()):
        yield f"translation-{language}", read_all(files)


def locale_names():
    package("babel")
    from babel import localedata

    def strings(value):
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for key in value:
                yield from strings(value[key])
        elif isinstance(value, (list, tuple)):
            for item in value:
                yield from strings(item)

    for identifier in sorted(localedata.locale_identifiers()):
        if "_" in identifier and len(identifier.split("_")[1]) != 4:  # a region adds little to its language
            continue
        seen = dict.fromkeys(strings(localedata.load(identifier, merge_inherited=False)))
        text = "\n".join(seen)[:40000]
        if len(text) > 2000:
            yield f"names-{identifier}", text.encode()


def code():
    library = pathlib.Path(sysconfig.get_paths()["stdlib"])
    yield "python", read_all(sorted(library.glob("*.py")) + sorted(library.glob("*/*.py")), 5_000_000)
    django = package("django")
    yield "javascript", read_all(sorted(django.rglob("*.js")), 1_000_000)
    yield "html", read_all(sorted(django.rglob("*.html")), 500_000)
    yield "css", read_all(sorted(django.rglob("*.css")), 200_000)
    faker = sorted(package("faker").rglob("*.py"))
    yield "words-faker", read_all([f for f in faker if "_" in f.parent.name], 4_000_000)


def letters_by_script():
    scripts = collections.defaultdict(list)
    for value in range(0x20, 0x110000):
        character = chr(value)
        if unicodedata.category(character)[0] in "LM":
            scripts[unicodedata.name(character, "OTHER").split()[0]].append(character)
    return {name: letters for name, letters in sorted(scripts.items()) if len(letters) >= 20}


def generated(rng):
    scripts = letters_by_script()
    words = []
    for name, letters in scripts.items():
        few = rng.sample(letters, min(len(letters), 60))
        for _ in range(300):
            pool = few if rng.random() < 0.8 else letters
            words.append("".join(rng.choices(pool, k=rng.randint(1, 9))))
        words.append("\n")
    yield "scripts-random-words", " ".join(words).encode()

    everything = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    yield "every-character", everything.encode()
    yield "every-character-spaced", " ".join(everything[:0x3000]).encode()
    yield "random-characters", "".join(rng.choices(everything[:0xFFFF - 0x800], k=150_000)).encode()
    yield "random-common", "".join(rng.choices(everything[32:0x250], k=200_000)).encode()
    yield "random-ascii", "".join(chr(rng.randint(0, 127)) for _ in range(300_000)).encode()

    emoji = [chr(c) for lo, hi in ((0x1F300, 0x1FAFF), (0x2600, 0x27BF), (0x1F1E6, 0x1F1FF)) for c in range(lo, hi + 1)]
    glue = ["\u200d", "\ufe0f", "", "", "\U0001F3FB", "\U0001F3FF", " ", "\u20e3"]
    yield "emoji", "".join(rng.choice(emoji) + rng.choice(glue) for _ in range(60_000)).encode()

    controls = [chr(c) for c in list(range(32)) + list(range(127, 160))] + ["\u200b", "\u200e", "\u202e", "\u2028", "\ufeff", "\u00ad"]
    yield "controls", "".join(rng.choice(controls) if rng.random() < 0.4 else rng.choice("ab c\nd") for _ in range(150_000)).encode()
    spaces = [" ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2003", "\u2581"]
    runs = []
    for _ in range(15_000):
        runs.append(rng.choice(spaces) * rng.choice((1, 1, 2, 3, 4, 7, 8, 16, 30, 31, 32, 33, 62, 63, 64, 100)))
        if rng.random() < 0.6:
            runs.append(rng.choice(("x", "the", "0", ".", "é", "中", "if", "<", "</")))
    yield "white-space", "".join(runs).encode()

    looks = []
    for _ in range(40_000):
        literal = rng.choice(SPECIAL)
        how = rng.random()
        if how < 0.3:
            cut = rng.randint(0, len(literal))
            literal = literal[:cut] + rng.choice(("", " ", "|", "<", ">", "x", "\u200b")) + literal[cut:]
        elif how < 0.45:
            literal = literal[: rng.randint(1, len(literal))]
        looks.append(literal + rng.choice(("", "", " ", "\n", "word", "<", "|")))
    yield "special-look-alikes", "".join(looks).encode()

    digits = []
    for _ in range(40_000):
        digits.append(rng.choice((str(rng.randint(0, 10 ** rng.randint(1, 18))), f"{rng.random():.9g}", hex(rng.getrandbits(64)),
                                  "0" * rng.randint(1, 20), "-", "+", ", ", " ", "\n")))
    yield "numbers", "".join(digits).encode()

    yield "ill-formed-random", rng.randbytes(400_000)
    sample = ("Zażółć gęślą jaźń. Ελληνικά, русский, 中文字符, 日本語, हिन्दी, 👩‍👩‍👧‍👦 naïve café\n" * 2000).encode()
    broken = bytearray(sample)
    for _ in range(len(broken) // 15):
        broken[rng.randrange(len(broken))] = rng.randrange(128, 256)
    yield "ill-formed-broken", bytes(broken)
    cut = bytearray()
    for _ in range(40_000):
        encoded = rng.choice(everything).encode()
        cut += encoded[: rng.randint(0, len(encoded))] + rng.choice((b"", b" ", b"a", "é".encode(), b"\x80", b"\xed\xa0\x80"))
    yield "ill-formed-truncated", bytes(cut)

    yield "run-letter", b"a" * 300_000
    yield "run-spaces", b" " * 300_000
    yield "run-newlines", b"\n" * 300_000
    yield "run-tabs-and-spaces", "".join(rng.choice("\t ") for _ in range(300_000)).encode()
    yield "run-two-letters", "".join(rng.choice("ab") for _ in range(300_000)).encode()
    yield "run-letters", "".join(rng.choice("etaoinshrdlu") for _ in range(500_000)).encode()
    yield "run-equals", b"=" * 100_000 + b"-" * 100_000 + b"=-" * 50_000
    yield "run-hanzi", "".join(rng.choice("的一是不了人我在有他这中大来上国") for _ in range(120_000)).encode()
    yield "run-thai", "".join(rng.choice("กขคงจชซญฎฏฐณดตถทธนบปผพฟภมยรลวศษสหอฮะาิีึืุูเแโใไ่้๊๋์") for _ in range(120_000)).encode()


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.split("\n\n")[1])
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    letters = collections.Counter()
    total = files = 0
    for source in (translations(), locale_names(), code(), generated(random.Random(20261124))):
        for name, data in source:
            (directory / f"{name}.txt").write_bytes(data)
            total += len(data)
            files += 1
            for character, count in collections.Counter(data.decode("utf-8", "ignore")).items():
                if unicodedata.category(character)[0] == "L":
                    letters[unicodedata.name(character, "OTHER").split()[0]] += count
    scripts = [name for name, count in letters.most_common() if count >= 1000]
    print(f"{files} files, {total / 1e6:.1f} MB; {len(scripts)} scripts with 1000 letters or more: {', '.join(scripts)}")


if __name__ == "__main__":
    main()

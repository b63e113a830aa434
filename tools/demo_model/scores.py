#!/usr/bin/env python3
"""Ask a demo checkpoint about examples it has never seen, through the carat program, and print how often it is right.

usage: scores.py [--model models/demo] [--carat build/carat] [--share 1.0] [--json]
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import wave

import conversations
import pictures
import speech

# (name, task, distance, examples, share of right answers that is asked for)
ROWS = [
    ("shapes and counts", "shapes", pictures.NEW, 200, 0.90),
    ("printed words", "words", pictures.NEW, 150, 0.80),
    ("printed words, new fonts", "words", pictures.STRANGE, 100, None),
    ("printed numbers", "numbers", pictures.NEW, 150, 0.80),
    ("printed numbers, new fonts", "numbers", pictures.STRANGE, 100, None),
    ("spoken digits and commands", "speech", pictures.NEW, 200, 0.85),
    ("the same, new speakers", "speech", pictures.STRANGE, 100, None),
    ("picture and sound", "both", pictures.NEW, 80, None),
    ("sums", "sums", pictures.NEW, 100, None),
    ("tool calls", "tools", pictures.NEW, 200, 0.95),
    ("conversation", "chat", pictures.NEW, 80, None),
]


def write_wav(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(speech.RATE)
        file.writeframes(samples.tobytes())


def write(example, folder):
    """The files of one example; returns the arguments that name them."""
    messages = json.loads(json.dumps(example["messages"]))
    for message in messages:
        for part in message["content"] if isinstance(message["content"], list) else ():
            if part["type"] == "image":
                part["path"] = "picture.png"
            if part["type"] == "audio":
                part["path"] = "sound.wav"
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    if example["image"] is not None:
        example["image"].save(folder / "picture.png")
    if example["sound"] is not None:
        write_wav(folder / "sound.wav", example["sound"])
    (folder / "messages.json").write_text(json.dumps(messages))
    arguments = ["--messages", str(folder / "messages.json")]
    if example["tools"]:
        (folder / "tools.json").write_text(json.dumps(example["tools"]))
        arguments += ["--tools", str(folder / "tools.json")]
    return arguments + (["--think"] if example["thinking"] else [])


def right(example, answer):
    if example["target"].startswith("<|tool_call>"):
        calls = answer["tool_calls"]
        return len(calls) == 1 and conversations.call_text(
            calls[0]["function"]["name"], json.loads(calls[0]["function"]["arguments"])) == example["answer"]
    return not answer["tool_calls"] and answer["text"].strip() == example["answer"]


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", default="demo")
    options.add_argument("--carat", default=str(pathlib.Path(__file__).resolve().parents[2] / "build" / "carat"))
    options.add_argument("--share", type=float, default=1.0, help="of the examples, for a quick look")
    options.add_argument("--seed", type=int, default=2026)
    options.add_argument("--mistakes", type=int, default=0, help="print so many wrong answers of each row")
    options.add_argument("--no-sound", action="store_true", help="leave out the rows with sound")
    options.add_argument("--json", action="store_true")
    options.add_argument("rest", nargs="*", help="options for carat, behind --")
    args = options.parse_args()
    results = []
    for name, task, distance, count, wanted in ROWS:
        if args.no_sound and task in ("speech", "both"):
            continue
        count = max(1, round(count * args.share))
        recordings = speech.corpus(count, args.seed, distance) if task in ("speech", "both") else []
        good, shown = 0, 0
        for index in range(count):
            rng = random.Random(f"{args.seed}/{name}/{index}")
            example = conversations.make(task, rng, recordings[index:index + 1], distance)
            with tempfile.TemporaryDirectory() as folder:
                command = [args.carat, "run", args.model, "--json", "--temp", "0", "-n", "120",
                           *write(example, pathlib.Path(folder)), *args.rest]
                done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"scores: {' '.join(command)}\n{done.stderr}")
            answer = json.loads(done.stdout)
            ok = right(example, answer)
            good += ok
            if not ok and shown < args.mistakes:
                shown += 1
                print(f"  {name}: expected {example['answer']!r}, found {answer['text']!r} {answer['tool_calls'] or ''}")
        results.append({"what": name, "examples": count, "right": good / count, "asked_for": wanted})
        if not args.json:
            floor = "" if wanted is None else f"   asked for {100 * wanted:.0f} %"
            print(f"{name:28} {100 * good / count:5.1f} % of {count}{floor}", flush=True)
    if args.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()

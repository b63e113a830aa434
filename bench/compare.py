#!/usr/bin/env python3
"""Holds Carat against llama.cpp on the same files, with the same threads, in interleaved runs; prints a table.

Usage: compare.py --carat build/carat --llama DIRECTORY [options] MODEL.gguf...
  --llama DIRECTORY   where llama-bench and llama-batched-bench lie (tools/peers.sh builds them)
  -p, -n, -d LIST     prompt tokens, tokens to generate, depths before them (default: 512, 64, 0; 0 for none)
  --sequences LIST    sequences decoding together, against llama-batched-bench (default: none)
  -t N                threads of both (default: 2)
  -r N                rounds; each round runs every test once with either program (default: 3)
  --isa NAME          Carat's kernels (then give a llama.cpp built with the same instructions)
  --json FILE         write everything measured
  --plot FILE.png     draw the ratios (needs matplotlib)

Both programs run one test per call and warm up by themselves; llama.cpp with -fa 1, caches in f16. A figure is the median of the
rounds. "of limit" is Carat's share of the limit measured in the same call: bandwidth for decoding, arithmetic for prompts.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import time


def numbers(text):
    return [int(part) for part in text.split(",") if part]


def call(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"compare: {' '.join(map(str, command))}\nended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def carat(options, model, test):
    command = [options.carat, "bench", model, "-p", test["prompt"], "-n", test["generate"], "-d", test["depth"], "--sequences",
               test["sequences"], "-t", options.t, "-r", 1, "--json"]
    if options.isa:
        command += ["--isa", options.isa]
    found = json.loads(call(command))[0]
    share = found["compute_share"] if test["prompt"] else found["bandwidth_share"]
    return found["avg_ts"], share


def llama(options, model, test):
    if test["sequences"] > 1:
        # Columns: PP TG B N_KV T_PP S_PP T_TG S_TG T S
        context = test["sequences"] * (16 + test["generate"])
        out = call([options.llama / "llama-batched-bench", "-m", model, "-npp", 16, "-ntg", test["generate"], "-npl", test["sequences"],
                    "-c", context, "-t", options.t, "-fa", "on"])
        for line in out.splitlines():
            cells = [cell.strip() for cell in line.strip("| ").split("|")]
            if len(cells) >= 10 and cells[2] == str(test["sequences"]):
                return float(cells[7])
        sys.exit("compare: llama-batched-bench printed no row: " + out[-500:])
    out = call([options.llama / "llama-bench", "-m", model, "-p", test["prompt"], "-n", test["generate"], "-d", test["depth"], "-t",
                options.t, "-fa", 1, "-r", 1, "-o", "json"])
    return json.loads(out[out.index("["):])[0]["avg_ts"]


def name(test):
    what = f"prompt {test['prompt']}" if test["prompt"] else f"decode {test['generate']}"
    if test["depth"]:
        what += f" at {test['depth']}"
    if test["sequences"] > 1:
        what += f", {test['sequences']} sequences"
    return what


def cpu_name():
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
        return re.search(r"model name\s*:\s*(.*)", text).group(1)
    except (OSError, AttributeError):
        return platform.machine()


def commit():
    done = subprocess.run(["git", "-C", pathlib.Path(__file__).parent, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def plot(path, rows, title):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels = [f"{row['model']}\n{row['test']}" for row in rows][::-1]
    ratios = [row["ratio"] for row in rows][::-1]
    figure, axes = pyplot.subplots(figsize=(8, 0.6 * len(rows) + 1.4))
    bars = axes.barh(labels, ratios, color=["#2a7f62" if ratio >= 1 else "#b5483a" for ratio in ratios])
    axes.bar_label(bars, [f"{ratio:.2f}x" for ratio in ratios], padding=3)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlim(0, 1.15 * max(ratios))
    axes.set_xlabel("Carat / llama.cpp, tokens per second")
    axes.set_title(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    parser.add_argument("--carat", type=pathlib.Path, default=pathlib.Path("build/carat"))
    parser.add_argument("--llama", type=pathlib.Path, required=True)
    parser.add_argument("-p", type=numbers, default=[512])
    parser.add_argument("-n", type=numbers, default=[64])
    parser.add_argument("-d", type=numbers, default=[0])
    parser.add_argument("--sequences", type=numbers, default=[])
    parser.add_argument("-t", type=int, default=2)
    parser.add_argument("-r", type=int, default=3)
    parser.add_argument("--isa")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--plot", type=pathlib.Path)
    options = parser.parse_args()
    for program in [options.carat, options.llama / "llama-bench"]:
        if not os.access(program, os.X_OK):
            sys.exit(f"compare: {program} is no program; build it first")

    tests = [dict(prompt=p, generate=0, depth=d, sequences=1) for p in options.p if p for d in options.d]
    tests += [dict(prompt=0, generate=n, depth=d, sequences=1) for n in options.n if n for d in options.d]
    tests += [dict(prompt=0, generate=n, depth=0, sequences=s) for n in options.n if n for s in options.sequences if s > 1]
    rows = [dict(model=model.name, path=model, test=name(test), shape=test, carat=[], llama=[], share=[])
            for model in options.models for test in tests]
    done, total = 0, options.r * len(rows)
    for _ in range(options.r):
        for row in rows:
            speed, share = carat(options, row["path"], row["shape"])
            row["carat"].append(speed)
            row["share"].append(share)
            row["llama"].append(llama(options, row["path"], row["shape"]))
            done += 1
            if sys.stderr.isatty():
                print(f"\r{done} of {total}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)

    for row in rows:
        row["ratio"] = statistics.median(row["carat"]) / statistics.median(row["llama"])
    title = f"{cpu_name()}, {options.t} threads, {time.strftime('%Y-%m-%d')}, commit {commit()}"
    print(title + "\n")
    print("| model | test | Carat t/s | llama.cpp t/s | ratio | of limit |\n|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['model']} | {row['test']} | {statistics.median(row['carat']):.2f} | {statistics.median(row['llama']):.2f} | "
              f"{row['ratio']:.2f} | {100 * statistics.median(row['share']):.0f} % |")
    if options.json:
        kept = [{key: value for key, value in row.items() if key != "path"} for row in rows]
        options.json.write_text(json.dumps(dict(cpu=cpu_name(), threads=options.t, date=time.strftime("%Y-%m-%d"), commit=commit(),
                                                command=" ".join(sys.argv), rows=kept), indent=1) + "\n")
    if options.plot:
        plot(options.plot, rows, title)


if __name__ == "__main__":
    main()

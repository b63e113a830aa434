#!/usr/bin/env python3
"""Compare Carat's greedy continuations with those of llama.cpp, token by token, on one GGUF file.

usage: compare_greedy.py CARAT LLAMA_SERVER MODEL.gguf [PROMPTS.txt] [-n N] [--threads N] [--isa NAME] [--json]
                         [--itself OPTIONS]

Both programs get the same prompt ids and always take the likeliest token. Two sound programs part where the two likeliest
tokens are as good as equal, because their sums are rounded differently; from there on they continue different texts. So of
each continuation only a part is compared:

  region         the tokens before llama.cpp's first near-tie, the first position where its two likeliest tokens lie
                 within --near-tie of each other in log probability; the whole continuation if there is none
  equal tokens   those of the region before the first difference; what follows a difference counts as unequal

The share is equal tokens / tokens in regions, over all prompts. A second share, to the first difference, does not stop at
near-ties where both agree: a prompt is compared up to its first difference if either program had a near-tie there, and
otherwise to its end, everything from the difference on unequal.

With --itself, llama.cpp started with those options takes Carat's place, in the output too: how far one program agrees with
itself when it computes the same in another way says what another program can reach. Carat then only checks the prompt ids.

Exit codes: 0 share reached, 1 something failed, 2 wrong usage, 3 share below --minimum. Python 3.9, nothing to install.
"""

import argparse
import contextlib
import ctypes
import json
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

START_SECONDS = 300
REQUEST_SECONDS = 600
HERE = pathlib.Path(__file__).resolve().parent


class Failure(Exception):
    """What ends the comparison, as one line for people."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def die_with_parent():
    """In the child: the kernel ends it when this program ends, however that happens (Linux only)."""
    if LIBC is not None:
        LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


# Loaded before any fork.
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class LlamaServer:
    """A llama-server on a port of its own; a context manager that always ends it."""

    def __init__(self, program, model, threads, context, options=()):
        self.port = free_port()
        self.log = tempfile.TemporaryFile()
        command = [program, "--model", model, "--host", "127.0.0.1", "--port", str(self.port), "--threads", str(threads),
                   "--ctx-size", str(context), "--parallel", "1", "--n-gpu-layers", "0", "--temp", "0", *options]
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
                                            preexec_fn=die_with_parent)
        except OSError as error:
            raise Failure(f"cannot start {program}: {error.strerror}") from error

    def __enter__(self):
        try:
            self.wait_until_ready()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def last_lines(self):
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return "\n".join("  " + line for line in lines[-8:]) or "  nothing"

    def check_alive(self):
        if self.process.poll() is not None:
            raise Failure(f"llama-server ended with code {self.process.returncode}; it said last:\n{self.last_lines()}")

    def wait_until_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:  # not listening yet, or 503 while it loads
                pass
            time.sleep(0.2)
        raise Failure(f"llama-server was not ready after {START_SECONDS} s; it said last:\n{self.last_lines()}")

    def ask(self, path, body):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            raise Failure(f"llama-server refused {path}: {error.code} {text[:300]}") from error
        except (OSError, ValueError) as error:
            self.check_alive()
            raise Failure(f"llama-server did not answer {path}: {error}") from error

    def tokenize(self, text):
        # Text never becomes a control token, as in Carat.
        return self.ask("/tokenize", {"content": text, "add_special": True, "parse_special": False})["tokens"]

    def greedy(self, ids, count):
        """The continuation's ids and, for each, how far the likeliest token led the second; None where unknown."""
        answer = self.ask("/completion", {"prompt": ids, "n_predict": count, "temperature": 0, "n_probs": 2,
                                          "cache_prompt": False, "return_tokens": True})
        tokens, rows = answer["tokens"], answer.get("completion_probabilities", [])
        if not tokens:
            raise Failure("llama-server returned no tokens; it must know return_tokens (a build of 2025 or later)")
        leads, at = [], 0
        for token in tokens:
            # A token that ends inside a character has no row: rows are matched by id.
            if at < len(rows) and rows[at]["id"] == token:
                leads.append(lead([entry["logprob"] for entry in rows[at]["top_logprobs"]]))
                at += 1
            else:
                leads.append(None)
        return tokens, leads


class Carat:
    def __init__(self, program, model, threads, isa):
        self.program, self.model = program, model
        self.compute = ["--threads", str(threads), "--isa", isa]

    def ask(self, arguments, text):
        try:
            done = subprocess.run([self.program, *arguments], input=text.encode(), capture_output=True, check=False,
                                  timeout=REQUEST_SECONDS, preexec_fn=die_with_parent)
        except OSError as error:
            raise Failure(f"cannot start {self.program}: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise Failure(f"carat {arguments[0]} did not end within {REQUEST_SECONDS} s") from error
        if done.returncode != 0:
            message = done.stderr.decode(errors="replace").strip().splitlines()
            raise Failure(f"carat {arguments[0]} failed with code {done.returncode}: {message[-1] if message else ''}")
        return json.loads(done.stdout)

    def tokenize(self, text):
        return self.ask(["tokenize", self.model, "--bos", "--json"], text)["ids"]

    def greedy(self, text, count):
        answer = self.ask(["run", self.model, "--raw", "--temp", "0", "-n", str(count), "--json", "--logprobs", "2",
                           *self.compute], text)
        return answer["ids"], [lead([entry["logprob"] for entry in row["top"]]) for row in answer["logprobs"]]


def lead(logprobs):
    return logprobs[0] - logprobs[1] if len(logprobs) > 1 else None


def near(value, limit):
    return value is not None and value <= limit


def at(values, index):
    return values[index] if index is not None and index < len(values) else None


def compare(carat, llama, limit):
    """Compares two continuations, each (ids, leads); see the top of this file for the two ways of counting."""
    (ids, leads), (llama_ids, llama_leads) = carat, llama
    length = max(len(ids), len(llama_ids))  # where one ended earlier, the other's next token is a difference
    differs = next((i for i in range(length) if at(ids, i) != at(llama_ids, i)), None)
    tie = next((i for i, value in enumerate(llama_leads) if near(value, limit)), None)
    region = length if tie is None else tie
    excused = differs is not None and (near(at(leads, differs), limit) or near(at(llama_leads, differs), limit))
    to_difference = differs if excused else length
    return {
        "compared": region,
        "equal": region if differs is None else min(region, differs),
        "compared_to_difference": to_difference,
        "equal_to_difference": length if differs is None else differs,
        "near_tie_at": tie,
        "differs_at": differs,
        "carat_lead": at(leads, differs),
        "llama_lead": at(llama_leads, differs),
        "carat_ids": ids,
        "llama_ids": llama_ids,
        "carat_leads": leads,
        "llama_leads": llama_leads,
    }


def number(value):
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def table(results, limit):
    lines = [f"{'prompt':44} {'region':>6} {'equal':>6} {'near-tie':>8} {'differs':>8} {'lead Carat':>10} {'llama.cpp':>10}"]
    for row in results:
        prompt = row["prompt"] if len(row["prompt"]) <= 44 else row["prompt"][:43] + "…"
        counted = row["equal"] < row["compared"]
        lines.append(f"{prompt:44} {row['compared']:6} {row['equal']:6} {number(row['near_tie_at']):>8} "
                     f"{number(row['differs_at']):>8} {number(row['carat_lead']):>10} {number(row['llama_lead']):>10}"
                     f"{'  counts as unequal' if counted else ''}")
    lines.append(f"positions count from 0 behind the prompt; a lead of at most {limit:g} is a near-tie")
    return "\n".join(lines)


def share(results, equal, compared):
    total = sum(row[compared] for row in results)
    return sum(row[equal] for row in results), total, sum(row[equal] for row in results) / total if total else None


def mean_lead_difference(results):
    """Over the positions before the first difference, where both continue the same text."""
    apart = [abs(ours - theirs) for row in results
             for ours, theirs in zip(row["carat_leads"][:row["differs_at"]], row["llama_leads"][:row["differs_at"]])
             if ours is not None and theirs is not None]
    return sum(apart) / len(apart) if apart else None


def read_prompts(path):
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"cannot read {path}: {error}") from error
    prompts = [line for line in text.split("\n") if line.strip()]
    if not prompts:
        raise Failure(f"{path} holds no prompt; expected one per line")
    return prompts


def measure(options):
    prompts = read_prompts(options.prompts)
    if not options.model.is_file():
        raise Failure(f"{options.model} is no file")
    carat = Carat(options.carat, str(options.model), options.threads, options.isa)
    results = []
    with contextlib.ExitStack() as servers:
        def serve(extra=()):
            return servers.enter_context(
                LlamaServer(options.llama_server, str(options.model), options.threads, options.context, extra))

        llama = serve()
        other = serve(shlex.split(options.itself)) if options.itself is not None else None
        for prompt in prompts:
            ids, llama_ids = carat.tokenize(prompt), llama.tokenize(prompt)
            if ids != llama_ids:
                raise Failure(f"the prompt {prompt!r} has other ids:\n  Carat     {ids}\n  llama.cpp {llama_ids}")
            found = other.greedy(ids, options.n) if other else carat.greedy(prompt, options.n)
            row = compare(found, llama.greedy(ids, options.n), options.near_tie)
            results.append({"prompt": prompt, **row})
            if not options.json and sys.stderr.isatty():
                print(f"\r{len(results)} of {len(prompts)} prompts", end="", file=sys.stderr, flush=True)
    if not options.json and sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    return results


def main():
    parser = argparse.ArgumentParser(description="Compare greedy continuations of Carat and llama.cpp on one GGUF file.")
    parser.add_argument("carat", metavar="CARAT", help="the carat program")
    parser.add_argument("llama_server", metavar="LLAMA_SERVER", help="the llama-server program")
    parser.add_argument("model", metavar="MODEL.gguf", type=pathlib.Path)
    parser.add_argument("prompts", metavar="PROMPTS.txt", type=pathlib.Path, nargs="?",
                        default=HERE / "greedy_prompts.txt", help="one prompt per line (default: greedy_prompts.txt beside)")
    parser.add_argument("-n", metavar="N", type=int, default=64, help="tokens to continue by (default: 64)")
    parser.add_argument("--threads", metavar="N", type=int, default=os.cpu_count() or 1,
                        help="threads for each program (default: all cores)")
    parser.add_argument("--isa", metavar="NAME", default="auto", help="Carat's kernels, as carat run --isa (default: auto)")
    parser.add_argument("--context", metavar="N", type=int, default=4096, help="llama.cpp's context (default: 4096)")
    parser.add_argument("--near-tie", metavar="X", type=float, default=0.1,
                        help="largest lead that is a near-tie, natural logarithm (default: 0.1)")
    parser.add_argument("--minimum", metavar="X", type=float, default=0.95, help="least share for exit code 0 (default: 0.95)")
    parser.add_argument("--itself", metavar="OPTIONS", help="compare llama-server with these options, not Carat")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    if options.n < 1 or options.threads < 1:
        parser.error("-n and --threads are at least 1")

    # A signal ends the program the ordinary way, so that the server is ended too.
    for which in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(which, lambda received, _: sys.exit(128 + received))
    try:
        results = measure(options)
    except Failure as failure:
        sys.exit(f"compare_greedy: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
    equal, compared, part = share(results, "equal", "compared")
    equal_to, compared_to, part_to = share(results, "equal_to_difference", "compared_to_difference")
    if options.json:
        print(json.dumps({"share": part, "equal": equal, "compared": compared, "share_to_difference": part_to,
                          "equal_to_difference": equal_to, "compared_to_difference": compared_to,
                          "lead_difference": mean_lead_difference(results),
                          "near_tie": options.near_tie, "minimum": options.minimum, "prompts": results},
                         ensure_ascii=False))
    else:
        print(table(results, options.near_tie))
        if part is not None:
            print(f"{equal} of {compared} tokens before near-ties equal: {100 * part:.2f} %")
        if part_to is not None:
            print(f"{equal_to} of {compared_to} tokens equal when compared to the first difference: {100 * part_to:.2f} %")
        print(f"leads differ by {number(mean_lead_difference(results))} in the mean before the first difference")
    if part is None:
        sys.exit("compare_greedy: nothing to compare: every continuation begins with a near-tie")
    sys.exit(0 if part >= options.minimum else 3)


if __name__ == "__main__":
    main()

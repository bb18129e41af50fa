"""Measures whether an ingest scans 20,000 unchanged files a second, and the memory that a file takes.

    python benchmarks/scan.py [--files 200000] [--runs 3] [--flat] [--keep DIR] [--output scan.json]

It writes tiny files of different bytes into folders of 1,000 and ingests them once with stand-ins: nothing
is decoded, and a vector is 64 random values; the model is VGG16's first layer with random weights. It then
times a real `ingest run` process over the unchanged folder, from its start to its last line. The memory of
a file is the growth of the peak from a quarter of the files to all of them, in turn. `listed` uses the list
of points that the first ingest stored beside the collection; `unlisted` runs without it, as after a write
by another command. `--flat` puts all files into one folder.

The short form (`--short`) compares an ingest of 1,000 unchanged files, as a process, with a Python process
that reads and hashes each of them.
"""

import argparse
import io
import os
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from logging import Logger
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
from commands import program, run_timed
from lookalike_core.images.decoding import DecodedImage
from lookalike_core.images.open_image import hash_stream
from lookalike_core.images.region import Box
from lookalike_core.images.scan import FoundFile
from lookalike_core.models.embedder import Embedder
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.image_reader import ReadFile
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from machine import describe, write_results
from numpy.typing import NDArray
from short import Duel, run_either

DIMENSION = 64
A_FOLDER = 1_000
LAYER = "block1_conv1"


def main() -> None:
    """Prints a line for each way, and writes what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder that keeps files for later runs")
    parser.add_argument("--flat", action="store_true")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as name:
        a_folder = arguments.files if arguments.flat else A_FOLDER
        found = measure(arguments.keep or Path(name), arguments.files, arguments.runs, a_folder)
    write_results(arguments.output, found)


def measure(folder: Path, files: int, runs: int, a_folder: int) -> dict[str, object]:
    """Returns the seconds and peak memory of each way, in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = write_weights(folder / "weights.h5")
    counts = {"few": files // 4, "many": files}
    for name, count in counts.items():
        if not (folder / name).exists():
            write_files(folder / name / "pictures", count, a_folder)
            ingest_first(folder / name, weights, count)
    ways = [(name, way) for way in ("listed", "unlisted") for name in counts]
    rounds: dict[tuple[str, str], list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(runs):
        for name, way in ways:
            if way == "unlisted":
                for mark in (folder / name).glob("home/qdrant/*/points.listed"):
                    mark.unlink()
            rounds[name, way].append(run_unchanged(folder / name, weights))
    found: dict[str, object] = {"files": files}
    for way in ("listed", "unlisted"):
        seconds = statistics.median(s for s, _ in rounds["many", way])
        few_mb, peak_mb = (statistics.median(mb for _, mb in rounds[name, way]) for name in counts)
        a_file = (peak_mb - few_mb) * 2**20 / (files - counts["few"])
        found[way] = {
            "seconds": [round(s, 2) for s, _ in rounds["many", way]],
            "files_per_second": round(files / seconds),
            "peak_mb": round(peak_mb, 1),
            "bytes_per_file": round(a_file),
        }
        print(
            f"{way:9} {seconds:6.2f} s, {files / seconds:,.0f} files/s, peak {peak_mb:.0f} MB, "
            f"{a_file:.0f} bytes a file above {counts['few']} files",
            flush=True,
        )
    return found


def run_unchanged(work: Path, weights: Path) -> tuple[float, float]:
    """Runs `ingest run` over the unchanged folder; returns its seconds and its peak memory in MB."""
    os.environ |= {"LOOKALIKE_HOME": str(work / "home"), "LOOKALIKE_STORE": "embedded"}
    words = ["--backbone", "vgg", "--layer", LAYER, "--weights", str(weights)]
    return run_timed([program("ingest"), "run", str(work / "pictures"), *words])


def ingest_first(work: Path, weights: Path, count: int) -> None:
    """Runs a first ingest with stand-ins for decoding and for the network."""
    settings = replace(Settings.from_environment(), home=work / "home")
    request = IngestRequest(
        dataset=Dataset(name="pictures", root=(work / "pictures").resolve()),
        specs=[ModelSpec.of("vgg", layer=LAYER, weights=str(weights))],
        distances=[Distance.COSINE],
        batch_size=1024,
    )
    with (
        mock.patch.object(Embedder, "load", return_value=StandIn()),
        mock.patch("lookalike_ingest.reading.read_image", read_undecoded),
    ):
        store = EmbeddedStore(settings.qdrant_dir)
        report = run_ingest(request, store=store, settings=settings, stop=StopRequest())
    if report.embedded != count:
        raise RuntimeError(f"{report.embedded} of {count} files were ingested")
    print(f"first ingest of {count}: {report.took_s:.1f} s, stand-ins in place of images and network")


class StandIn:
    """Stands in for an `Embedder`: returns random vectors."""

    provider = "stand-in"
    notice = None

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns random float32 `[N, 64]`."""
        return self._random.random((len(pixels), DIMENSION), dtype=np.float32)

    def log_provider(self, logger: Logger) -> None:
        """Logs nothing."""


IMAGE = DecodedImage(
    pixels=np.zeros((1, 1, 3), np.uint8), width=1, height=1, box=Box(left=0, top=0, width=1, height=1)
)


def read_undecoded(found: FoundFile, _is_known: object, *, max_pixels: int) -> ReadFile:  # noqa: ARG001
    """Returns a file, hashed as every file is, and not decoded."""
    return ReadFile(found=found, sha256=hash_stream(io.BytesIO(found.file.read_bytes())), image=IMAGE)


def write_files(folder: Path, count: int, a_folder: int) -> None:
    """Writes bitmaps of one pixel, 58 bytes each; their number is in four bytes that no decoder reads."""
    for number in range(count):
        if number % a_folder == 0:
            place = folder / f"class{number // a_folder:04}"
            place.mkdir(parents=True)
        head = struct.pack("<2sIII", b"BM", 58, number, 54)
        info = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0)
        (place / f"image{number:07}.bmp").write_bytes(head + info + bytes(4))


def write_weights(file: Path) -> Path:
    """Writes random weights of VGG16's first layer in Keras' layout."""
    random = np.random.default_rng(0)
    with h5py.File(file, "w") as opened:
        group = opened.create_group("block1_conv1")
        opened.attrs["layer_names"] = [b"block1_conv1"]
        group.attrs["weight_names"] = [b"block1_conv1_W_1:0", b"block1_conv1_b_1:0"]
        group["block1_conv1_W_1:0"] = random.standard_normal((3, 3, 3, DIMENSION)).astype(np.float32)
        group["block1_conv1_b_1:0"] = np.zeros(DIMENSION, np.float32)
    return file


READING = """
import hashlib, pathlib, sys
for path in pathlib.Path(sys.argv[1]).rglob("*.bmp"):
    hashlib.sha256(path.read_bytes()).digest()
"""


def short(folder: Path) -> Iterator[Duel]:
    """Yields an ingest of unchanged files beside a process that reads them."""
    weights = write_weights(folder / "weights.h5")
    write_files(folder / "pictures", A_FOLDER, A_FOLDER)
    ingest_first(folder, weights, A_FOLDER)
    reading = [sys.executable, "-c", READING, str(folder / "pictures")]
    yield Duel(
        name="scan: unchanged ingest / a process that reads the files",
        ours=lambda: run_unchanged(folder, weights),
        peer=lambda: subprocess.run(reading, check=True),
    )


if __name__ == "__main__":
    run_either(main, short)

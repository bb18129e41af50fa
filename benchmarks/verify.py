"""Measures what `ingest verify` rests on: how far vectors differ that are embedded again, and false alarms.

    python benchmarks/verify.py STORE COLLECTION [--images 64] [--sample 200] [--output JSON]
    python benchmarks/verify.py --points 100000 [--dimension 512] [--output JSON]
    python benchmarks/verify.py --sound 2500 --weights FILE [--first 0] [--output JSON]

The first form embeds the files of some points again, in batches of 1, 7 and 16 and with different numbers of
threads, and prints the largest difference of one value and of the whole vector from what is stored, relative
to its length; then it verifies a sample, with its time and the peak of memory. The second form makes a
collection of random vectors whose files are away, and verifies what is checked of all points. The third form
draws so many small images, ingests them with the first layer of VGG16, whose weights are in FILE, and
verifies all of them: on the provider that they were ingested on, and on a stand-in for OpenVINO's plugin that
rounds to bfloat16 (`tests/support/bfloat16`). Both count alarms, of which there must be none.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from lookalike_core.images.decoding import decode
from lookalike_core.images.open_image import open_file
from lookalike_core.models.embedder import Embedder
from lookalike_core.settings import Settings
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint
from lookalike_exporter.model_resolver import get_model
from lookalike_ingest.integrity.collection_check import Sample, VerifyOptions, verify_in_store
from machine import describe, peak_bytes, write_results
from PIL import Image
from store import manifest_of, payload_of

STAND_IN = Path(__file__).parents[1] / "tests" / "support" / "bfloat16"
BATCH = 256
WAYS = ((None, 16), (1, 1), (2, 7))


def main() -> None:
    """Prints a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", nargs="?", type=Path, metavar="STORE", help="folder of an embedded store")
    parser.add_argument("collection", nargs="?", metavar="COLLECTION")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--points", type=int, metavar="N", help="verify N points without files")
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--sound", type=int, metavar="N", help="draw N images and verify them all")
    parser.add_argument("--first", type=int, default=0, help="number of the first of these images")
    parser.add_argument("--weights", type=Path, help="VGG16's weights, for --sound")
    parser.add_argument("--output", type=Path, metavar="JSON")
    arguments = parser.parse_args()
    print(describe())
    if arguments.points:
        found = measure_points(arguments.points, arguments.dimension)
    elif arguments.sound:
        found = measure_alarms(arguments.sound, arguments.first, arguments.weights.absolute())
    else:
        store, settings = EmbeddedStore(arguments.store), Settings.from_environment()
        found = {"deviations": measure_deviations(store, arguments.collection, settings, arguments.images)}
        found |= verify_sample(store, arguments.collection, settings, arguments.sample)
    write_results(arguments.output, found)


def measure_deviations(
    store: EmbeddedStore, name: str, settings: Settings, images: int
) -> list[dict[str, float | int | None]]:
    """Returns the largest differences for each way to embed."""
    with store.open_view(name) as collection:
        payloads = sorted(collection.scan(), key=lambda payload: payload.id)[:images]
        vectors = collection.vectors([payload.id for payload in payloads])
        roots, model = collection.manifest.datasets, get_model(collection.manifest, settings=settings)
    stored = np.array([vectors[payload.id] for payload in payloads])
    pixels = []
    for payload in payloads:
        with open_file(Path(roots[payload.dataset]) / payload.path) as stream:
            pixels.append(decode(stream, payload.path).pixels)
    rows: list[dict[str, float | int | None]] = []
    for threads, batch in WAYS:
        embedder = Embedder.load(model.path, provider=settings.provider, threads=threads)
        fresh = np.concatenate(
            [embedder.embed(pixels[start : start + batch]) for start in range(0, len(pixels), batch)]
        )
        fresh /= np.linalg.norm(fresh, axis=1, keepdims=True)
        row: dict[str, float | int | None] = {
            "threads": threads,
            "batch": batch,
            "one_value": float(np.abs(stored - fresh).max()),
            "vector": float(np.linalg.norm(stored - fresh, axis=1).max()),
        }
        print(name, row, flush=True)
        rows.append(row)
    return rows


def verify_sample(store: EmbeddedStore, name: str, settings: Settings, sample: int) -> dict[str, Any]:
    """Verifies a sample, and returns what was found, its time and the peak of memory."""
    options = VerifyOptions(sample=Sample(count=sample))
    found = verify_in_store(store, name, options, settings=settings)
    row = {
        "points": found.points,
        "reread": found.reread,
        "wrong": found.wrong,
        "at_most": found.share_at_most_wrong,
        "largest_deviation": found.largest_deviation,
        "took_s": round(found.took_s, 1),
        "peak_mb": round(peak_bytes() / 1e6),
    }
    print(name, row)
    return row


def measure_points(points: int, dimension: int) -> dict[str, Any]:
    """Makes a collection of random vectors, and verifies it without files."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder:
        manifest = manifest_of(dimension).with_dataset(payload_of(0).dataset, f"{folder}/away")
        store = EmbeddedStore(Path(folder))
        store.create(manifest)
        with store.open(manifest.collection) as collection:
            for start in range(0, points, BATCH):
                ids = range(start, min(start + BATCH, points))
                vectors = random.standard_normal((len(ids), dimension), dtype=np.float32)
                collection.upsert(
                    [
                        ImagePoint(payload=payload_of(row), vector=vector)
                        for row, vector in zip(ids, vectors, strict=True)
                    ]
                )
        before = peak_bytes()
        return verify_sample(store, manifest.collection, Settings(home=Path(folder)), 300) | {
            "peak_before_mb": round(before / 1e6)
        }


def measure_alarms(images: int, first: int, weights: Path) -> dict[str, Any]:
    """Draws and ingests images, and verifies all of them on two providers."""
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as temporary:
        folder = Path(temporary)
        draw_images(folder / "drawn", range(first, first + images))
        environment = os.environ | {"LOOKALIKE_HOME": str(folder / "home"), "LOOKALIKE_STORE": "embedded"}
        model = ["--backbone", "vgg", "--layer", "block1_conv1", "--weights", str(weights)]
        run(["run", str(folder / "drawn"), *model, "--provider", "cpu"], environment)
        for name, changed in {"cpu": {}, "openvino": {"PYTHONPATH": str(STAND_IN)}}.items():
            started = time.perf_counter()
            found = run(["verify", "--all", "--provider", name], environment | changed)
            rows[name] = {key: found[key] for key in SHOWN} | {"s": round(time.perf_counter() - started, 1)}
            print(name, rows[name], flush=True)
    return rows


SHOWN = ("reread", "wrong", "rounded", "largest_deviation", "provider", "counts")


def draw_images(folder: Path, numbers: range) -> None:
    """Draws noise of different sizes of grain and colours, one image for each number."""
    folder.mkdir()
    for number in numbers:
        random = np.random.default_rng(number)
        grain = int(random.integers(2, 24))
        noise = random.integers(0, 256, (grain, grain, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((96, 96)).save(folder / f"{number:06}.png", compress_level=1)


def run(words: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Runs `ingest` with `--json`, and returns what it prints."""
    command = [str(Path(sys.executable).parent / "ingest"), *words, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if not done.stdout:
        sys.exit(done.stderr)
    record: dict[str, Any] = json.loads(done.stdout)
    return record


if __name__ == "__main__":
    main()

"""Measures the time and the bytes of the private view by which a read-only collection is opened.

    python benchmarks/read_only.py [--dimension 2048] [--points 1000 20000] [--repeat 5] [--output JSON]

Each collection is in a temporary folder, once without an index and once with one, which is built for any
size. Times are from opening to the first ten neighbours: of a writable collection, and of a read-only one
by its view, with the time of making the view; medians of `--repeat` turns, with files in the system's
cache. Views are among temporary files (`TMPDIR`). The vectors are random, since no figure depends on their
values.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.embedded import EmbeddedStore, read_manifest
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.private_view import PrivateView
from machine import describe, write_results
from store import NEIGHBOURS, allocated_bytes, manifest_of, payload_of

BATCH = 256
MB = 1e6

Row = dict[str, float | int | bool]


def main() -> None:
    """Prints a row for each collection."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--points", type=int, nargs="+", default=[1_000, 20_000])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--output", type=Path, metavar="JSON")
    arguments = parser.parse_args()
    print(describe())
    print(f"temporary files: {tempfile.gettempdir()}")
    rows = [
        row for points in arguments.points for row in measure(points, arguments.dimension, arguments.repeat)
    ]
    write_results(arguments.output, {"collections": rows})


def measure(points: int, dimension: int, repeat: int) -> Sequence[Row]:
    """Measures a collection without its index and with it."""
    random = np.random.default_rng(0)
    manifest = manifest_of(dimension)
    rows = []
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder:
        store = EmbeddedStore(Path(folder), tuning=EngineTuning(indexed_above_kb=1))
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
        rows.append(measure_one(store, manifest.collection, points, repeat, indexed=False))
        with store.open(manifest.collection) as collection:
            collection.upkeep.build_index(lambda: None)
        rows.append(measure_one(store, manifest.collection, points, repeat, indexed=True))
    return rows


def measure_one(store: EmbeddedStore, name: str, points: int, repeat: int, *, indexed: bool) -> Row:
    """Opens the collection in turns, directly and by a private view."""
    folder = store.directory / name
    plain, viewed, made, copied = [], [], [], 0
    for _ in range(repeat + 1):
        started = time.perf_counter()
        with store.open(name) as collection:
            query_once(collection)
            plain.append(time.perf_counter() - started)
        started = time.perf_counter()
        view = PrivateView(folder / "shard")
        made.append(time.perf_counter() - started)
        copied = view.copied_bytes
        with EmbeddedCollection(folder, read_manifest(folder), view, EngineTuning()) as collection:
            query_once(collection)
            viewed.append(time.perf_counter() - started)
    shard = sum(allocated_bytes(path) for path in (folder / "shard").rglob("*") if path.is_file())
    row: Row = {
        "points": points,
        "indexed": indexed,
        "shard_mb": shard / MB,
        "copied_mb": copied / MB,
        "plain_s": statistics.median(plain[1:]),
        "viewed_s": statistics.median(viewed[1:]),
        "view_s": statistics.median(made[1:]),
    }
    print(
        f"{points:>7,} {'with' if indexed else 'without'} index: shard {row['shard_mb']:.0f} MB, "
        f"copied {row['copied_mb']:.0f} MB; {row['plain_s']:.2f} s as it is, "
        f"{row['viewed_s']:.2f} s by a view, of which {row['view_s']:.2f} s to make it"
    )
    return row


def query_once(collection: EmbeddedCollection) -> None:
    """Queries the ten neighbours of a vector."""
    dimension = collection.manifest.identity.dimension
    collection.query(np.full(dimension, dimension**-0.5, dtype=np.float32), limit=NEIGHBOURS)


if __name__ == "__main__":
    main()

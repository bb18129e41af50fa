"""Measures what an image takes besides its vector: bytes of an embedded collection's files, and of an ingest.

    python benchmarks/footprint.py [--points 40000] [--dimension 512] [--listed 1000000] [--output FILE.json]

The collection has payloads like those of ImageNet's training images, and its index is built. Files are
measured by the blocks that they take. An ingest's list of known images is a database, `listing` on the
disk. The memory of a further image is the growth of the process' peak from a fifth of `--listed` images to
all of them, since the database's cache has a fixed size.
"""

import argparse
import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from lookalike_core.stores.collection_manifest import VectorQuantization
from lookalike_core.stores.points import ImagePoint, Payload
from lookalike_ingest.changes import KnownPoints
from lookalike_ingest.payload_cache import PayloadCache
from machine import peak_bytes, write_results
from store import Case, Clusters, fresh_collection

CHUNK = 1_000

PARTS = {
    "payload": ("payload_storage",),
    "payload indexes": ("payload_index",),
    "ids": ("id_tracker",),
    "graph": ("vector_index",),
    "vectors": ("vector_storage",),
}
"""Words in the names of the engine's files; the write-ahead log has a fixed size and is not counted."""


def main() -> None:
    """Prints bytes per image, by part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=40_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--listed", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    memory, listing = listing_bytes(arguments.listed)  # first, before other work raises the peak
    found = file_bytes(arguments.points, arguments.dimension)
    taken = {part: size / arguments.points for part, size in found.items()}
    taken |= {"listing": listing, "in an ingest's memory": memory}
    for part, size in taken.items():
        print(f"{part:22} {size:8.1f} bytes an image")
    rounded = {part: round(size, 1) for part, size in taken.items()}
    write_results(arguments.output, {"points": arguments.points, "bytes_per_image": rounded})


def file_bytes(points: int, dimension: int) -> Mapping[str, int]:
    """Returns the bytes of an indexed collection, by part."""
    clusters = Clusters.of(dimension)
    with fresh_collection(
        Case(dimension=dimension, points=points, quantize=VectorQuantization.NONE), None
    ) as (
        place,
        name,
    ):
        with place.store.open(name) as collection:
            for start in range(0, points, CHUNK):
                vectors = clusters.draw(min(CHUNK, points - start), start)
                rows = zip(payloads(start, len(vectors)), vectors, strict=True)
                collection.upsert([ImagePoint(payload=payload, vector=vector) for payload, vector in rows])
        with place.store.open(name) as collection:
            place.build_index(collection, points)
        return _by_part(place.store.directory)


def listing_bytes(points: int) -> tuple[float, float]:
    """Returns the bytes of memory and of disk that an ingest takes for each known image."""
    few, sizes, peaks = points // 5, [], []
    for number in (few, points):
        with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder:
            file = Path(folder) / "points.db"
            cache = PayloadCache.of(payloads(0, number))
            known = KnownPoints("train", cache)
            for payload in payloads(0, number):
                known.see(payload.path)
            cache.save(file)
            sizes.append(_bytes_of(file))
            cache.close()
        peaks.append(peak_bytes())
    return (peaks[1] - peaks[0]) / (points - few), sizes[1] / points


def payloads(start: int, count: int) -> Iterator[Payload]:
    """Yields payloads like those of ImageNet's training images, 1,000 classes in turn."""
    for number in range(start, start + count):
        synset = f"n{1_440_764 + number % 1000:08}"
        yield Payload(
            dataset="train",
            path=f"{synset}/{synset}_{number}.JPEG",
            class_name=f"class number {number % 1000}",
            synset=synset,
            sha256=hashlib.sha256(str(number).encode()).hexdigest(),
            width=500,
            height=375,
            bytes=110_000 + number % 5000,
            mtime_ns=1_600_000_000_000_000_000 + number,
            ingested_at="2026-01-01T00:00:00+00:00",
        )


def _by_part(folder: Path) -> Counter[str]:
    taken: Counter[str] = Counter()
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        for part, words in PARTS.items():
            if file.is_file() and any(word in name for word in words):
                taken[part] += _bytes_of(file)
    return taken


def _bytes_of(file: Path) -> int:
    """Returns the bytes that a file takes on the disk; the engine's files have holes."""
    status = file.stat()
    return 512 * getattr(status, "st_blocks", -(-status.st_size // 512))


if __name__ == "__main__":
    main()

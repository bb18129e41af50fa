"""Makes the collections of `million.py`: files, a model, and points that an ingest finds unchanged.

The files are hard links of a thousand photos, so that a million of them take little room. Each point is of
one of them, with its size and times, and a vector of `store.py`, whose cluster is its class. No two were
taken at the same minute, in an order that has nothing to do with the vectors. The model has random weights,
which nothing that is measured depends on.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from commands import draw
from filters import taken_at
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, VectorQuantization
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint, Payload
from lookalike_exporter.model_resolver import get_model
from lookalike_exporter.resnet101v2 import resnet101v2
from lookalike_exporter.spec import ModelSpec
from lookalike_exporter.vgg16 import vgg16
from lookalike_ingest.target import complete_written, new_manifest
from numpy.typing import NDArray
from small import settings_in, write_weights
from store import CHUNK, CLUSTERS, Clusters

PHOTOS = 1_000
FEW = 1_000
"""Points of a collection beside the measured one, whose ingest shows what does not depend on their number."""

WIDTH, HEIGHT = 320, 240
"""Of every photo, as `commands.draw` draws them."""

BATCH = 128
"""Points of one upsert: the batch size of an ingest on a GPU."""

REPORTED = 100_000
"""Points whose rate is reported at a time."""

NETWORKS = {
    64: ("vgg", "block1_conv1", vgg16),
    512: ("vgg", "block5_pool", vgg16),
    2048: ("resnet", "post_relu", resnet101v2),
}
"""Vector size -> name, layer and builder of a network with as many values; 64 is for a quick try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the collection of a case is: below `base`, beside those of other cases."""

    base: Path
    points: int
    dimension: int
    quantize: VectorQuantization

    @property
    def name(self) -> str:
        """What the case is called in results."""
        return f"{self.points} x {self.dimension}, {self.quantize}"

    @property
    def folder(self) -> Path:
        """The folder of this case alone."""
        return self.base / f"{self.points}x{self.dimension}-{self.quantize}"

    @property
    def photos(self) -> Path:
        """The folder of its files, which cases of as many points share."""
        return self.base / f"photos-{self.points}"

    @property
    def weights(self) -> Path:
        """The file of the network's weights."""
        return self.base / f"weights-{self.dimension}.h5"

    @property
    def settings(self) -> Settings:
        """Settings with a home in the folder, on the CPU."""
        return settings_in(self.folder)

    @property
    def store(self) -> EmbeddedStore:
        """The store of the folder's home, as the commands open it."""
        return EmbeddedStore(self.settings.qdrant_dir)

    @property
    def model_words(self) -> list[str]:
        """The options that name the model."""
        backbone, layer, _ = NETWORKS[self.dimension]
        return ["--backbone", backbone, "--layer", layer, "--weights", str(self.weights)]

    @property
    def few(self) -> "Place":
        """The place of a collection of few points with the same model."""
        return replace(self, points=FEW)

    @property
    def collection(self) -> str:
        """The name of the collection, which must exist."""
        [name] = self.store.names()
        return name


def make_files(place: Place) -> None:
    """Writes photos, links and weights, unless they are there."""
    _, layer, network = NETWORKS[place.dimension]
    place.base.mkdir(parents=True, exist_ok=True)
    if not place.weights.exists():
        write_weights(place.weights, layer, network())
    done = place.photos / ".done"
    if done.exists():
        return
    originals = place.base / f"originals-{place.points}"
    draw(originals, min(PHOTOS, place.points))
    photos = sorted(originals.rglob("*.jpg"))
    for number in range(CLUSTERS):
        (place.photos / f"class{number:03}").mkdir(parents=True, exist_ok=True)
    for start, clusters in numbered_clusters(place):
        for row, cluster in enumerate(clusters.tolist(), start):
            link = place.photos / path_of(row, cluster)
            link.unlink(missing_ok=True)
            os.link(photos[row % len(photos)], link)
    done.touch()


def path_of(row: int, cluster: int) -> str:
    """Returns the path of a row's file below the folder of photos."""
    return f"class{cluster:03}/{row:07}.jpg"


def numbered_clusters(place: Place) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yields the first row of each chunk with its points' clusters, int64 `[N]`, as `Clusters` draws them."""
    for chunk, start in enumerate(range(0, place.points, CHUNK)):
        size = min(CHUNK, place.points - start)
        random = np.random.default_rng([place.dimension, chunk])
        yield start, random.integers(CLUSTERS, size=size)


def make_manifest(place: Place) -> CollectionManifest:
    """Returns the manifest that an ingest with the model makes; exports the model."""
    backbone, layer, _ = NETWORKS[place.dimension]
    spec = ModelSpec.of(backbone, layer=layer, weights=str(place.weights))
    model = get_model(spec, settings=place.settings)
    manifest = new_manifest(
        model, Distance.COSINE, provider="", datasets={}, vector_quantization=place.quantize
    )
    return manifest.with_dataset("photos", str(place.photos.resolve()))


def fill(place: Place) -> dict[str, object]:
    """Writes all points to a new collection; returns points a second, of every 100,000, by `upsert` alone."""
    make_files(place)
    manifest, store, clusters = make_manifest(place), place.store, Clusters.of(place.dimension)
    for name in store.names():
        store.delete(name)
    store.create(manifest)
    places = np.random.default_rng(0).permutation(place.points)
    seconds: list[float] = []
    cpu_s: list[float] = []
    written: list[int] = []
    started = time.perf_counter()
    with store.open(manifest.collection) as collection:
        for chunk, (start, numbers) in enumerate(numbered_clusters(place)):
            vectors = clusters.draw(len(numbers), chunk)
            rows = zip(range(start, start + len(numbers)), numbers.tolist(), strict=True)
            payloads = [payload_of(place, row, number, int(places[row])) for row, number in rows]
            points = [
                ImagePoint(payload=payload, vector=vector)
                for payload, vector in zip(payloads, vectors, strict=True)
            ]
            if start // REPORTED == len(seconds):
                seconds.append(0)
                cpu_s.append(0)
                written.append(0)
            before, cpu_before = time.perf_counter(), time.process_time()
            for first in range(0, len(points), BATCH):
                collection.upsert(points[first : first + BATCH])
            seconds[-1] += time.perf_counter() - before
            cpu_s[-1] += time.process_time() - cpu_before
            written[-1] += len(points)
        before = time.perf_counter()
    return {
        "points_per_second": [round(n / s) for n, s in zip(written, seconds, strict=True)],
        "points_per_cpu_second": [round(n / s) for n, s in zip(written, cpu_s, strict=True)],
        "upserts_s": round(sum(seconds), 1),
        "synced_s": round(time.perf_counter() - before, 1),
        "with_drawing_s": round(time.perf_counter() - started, 1),
    }


def payload_of(place: Place, row: int, cluster: int, rank: int) -> Payload:
    """Returns the payload of a row's file, which was taken at its `rank`: its place in a random order."""
    path = path_of(row, cluster)
    found = (place.photos / path).stat()
    return Payload(
        dataset="photos",
        path=path,
        class_name=f"class{cluster:03}",
        sha256=f"{row + 1:064x}",
        width=WIDTH,
        height=HEIGHT,
        bytes=found.st_size,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
        taken_at=taken_at(rank),
        ingested_at="2026-01-01T00:00:00+00:00",
    )


def build_index(place: Place) -> dict[str, object]:
    """Builds the index, and saves the list of points, as at the end of an ingest."""
    with place.store.open(place.collection) as collection:
        started = time.perf_counter()
        complete_written(collection)
        return {
            "seconds": round(time.perf_counter() - started, 1),
            "points_in_index": collection.indexed_count(),
        }

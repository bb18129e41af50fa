"""Measures how fast a store is and the recall of its index: upserts, exact and indexed queries, disk.

    python benchmarks/store.py [--dimension 512 2048] [--points 20000 100000] [--quantize none int8 int4]
                               [--queries 200] [--search-ef 32 64 256] [--store URL] [--output store.json]

Without `--store` it measures the embedded store, each case in a temporary folder; with it a Qdrant server,
on which it makes and deletes a collection with a unique name. The vectors are synthetic: clusters on a
surface of 64 directions, with noise, negative values set to zero. Compared with photos of ten classes, to
which the parameters were fitted, they are like VGG16's average-pooled features or a little harder: cosine
to the tenth neighbour 0.75 (photos 0.75), to a random image 0.33 (0.27), intrinsic dimension 16 (13, Levina
and Bickel's estimate from 20 neighbours).

Queries are new points of the same clusters. Times are those of `Collection.query`, payloads included, after
some warm-up queries; "one left out" excludes one point by a filter, as `search query` does. Recall@10 is
the share of the ten hits that are among the ten nearest by numpy in float64; hits that tie with the tenth
count. The distance is cosine. Batches of 16, 128 and 512 take turns every 1,024 points, so that each size
writes to the collection at all its sizes.

Memory is that of another process (Linux, embedded): the growth of its anonymous memory and its mapped files
from before the collection is opened until all queries are answered. Mapped files are mostly original
vectors, which the system may drop and read again.

The index is built for any size of the collection: the embedded store's threshold is lowered for the run,
and a server's indexing is disabled until all points are written.

The short form (`--short`) compares upserts with the engine's own, and exact queries of 5,000 points with
numpy.
"""

import argparse
import multiprocessing
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

import numpy as np
from evaluate import manifest_of as made_manifest
from lookalike_core.arrays import FloatVector
from lookalike_core.models.backbones import VGG16
from lookalike_core.settings import Settings
from lookalike_core.stores import embedded, server
from lookalike_core.stores.collection_manifest import CollectionManifest, VectorQuantization
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.open_store import open_store
from lookalike_core.stores.points import EVERYTHING, ImagePoint, Payload, PointFilter
from lookalike_core.stores.protocol import Collection, Store
from machine import describe, write_results
from numpy.typing import NDArray
from short import Duel, run_either

NEIGHBOURS = 10
BATCH_SIZES = (16, 128, 512)
"""Batch sizes of an ingest on a CPU, on a GPU, and of points that reuse vectors."""
CHUNK = 1_024
"""Points in memory at a time; a multiple of every batch size."""

CLUSTERS = 100
DIRECTIONS = 64
SPREAD = 0.8
NOISE = 0.3

WARM_UP = 20
"""Warm-up queries, which are not timed."""

LEFT_OUT = PointFilter(excluded_sha256=frozenset({"0" * 64}))
"""The filter of `search query`, which leaves out the query image."""

TIE = 1e-6
"""Cosines that differ by less are equal: float32 sums of thousands of values differ by about as much."""

_QUERIES_KEY = 2**32  # no chunk has this number
_POLL_S = 0.1
_STATUS = Path("/proc/self/status")

Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One collection to measure."""

    dimension: int
    points: int
    quantize: VectorQuantization


def main() -> None:
    """Prints a row for each figure as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimension", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--points", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument(
        "--search-ef", type=int, nargs="+", default=[], help="further values of hnsw_ef beside our own"
    )
    parser.add_argument("--store", metavar="URL", help="URL of a Qdrant server; default: the embedded store")
    parser.add_argument("--quantize", type=VectorQuantization, nargs="+", default=[VectorQuantization.NONE])
    parser.add_argument("--output", type=Path, metavar="JSON")
    arguments = parser.parse_args()
    if arguments.store and not arguments.store.startswith(("http://", "https://")):
        parser.error("--store takes the URL of a server")
    print(describe())
    cases = [
        Case(dimension=dimension, points=points, quantize=quantize)
        for dimension in arguments.dimension
        for points in arguments.points
        for quantize in arguments.quantize
    ]
    measured = [
        {
            "dimension": case.dimension,
            "points": case.points,
            "quantize": case.quantize,
            "figures": measure(
                case, queries=arguments.queries, url=arguments.store, in_view=arguments.search_ef
            ),
        }
        for case in cases
    ]
    write_results(arguments.output, {"cases": measured})


def measure(case: Case, *, queries: int, url: str | None, in_view: Sequence[int] = ()) -> dict[str, str]:
    """Fills a collection, queries it, builds its index, queries it again; returns the printed figures."""
    figures: dict[str, str] = {}

    def say(what: str, figure: str) -> None:
        figures[what] = figure
        print(f"{case.dimension:5} x {case.points:<7} {case.quantize:4} {what:24} {figure}", flush=True)

    clusters = Clusters.of(case.dimension)
    truth = Truth.of(clusters.draw(queries, _QUERIES_KEY))
    with fresh_collection(case, url) as (place, name):
        with place.store.open(name) as collection:
            place.hold_index(name)
            fill(collection, clusters, case.points, truth, say)
        with reopen(place, name, "without index", say) as collection:
            run_queries(collection, "exact", truth, say, exact=True)
            run_queries(collection, "exact, one left out", truth, say, exact=True, where=LEFT_OUT)
            started = time.perf_counter()
            place.build_index(collection, case.points)
            say("index built in", f"{time.perf_counter() - started:.1f} s")
        with reopen(place, name, "with index", say) as collection:
            run_queries(collection, "indexed", truth, say)
            run_queries(collection, "indexed, one left out", truth, say, where=LEFT_OUT)
            for number in in_view:
                with (
                    mock.patch.multiple(embedded, SEARCH_EF=number),
                    mock.patch.multiple(server, SEARCH_EF=number),
                ):
                    run_queries(collection, f"indexed, {number} in view", truth, say)
        if memory := place.memory(name, truth.queries):
            say("memory", memory)
    return figures


@contextmanager
def reopen(place: "Place", name: str, state: str, say: Say) -> Iterator[Collection]:
    """Opens a collection as each command does; prints how long that takes, and its bytes on the disk."""
    disk = place.disk_bytes()
    if disk is not None:
        say(f"disk {state}", f"{disk / 2**20:,.0f} MB")
    started = time.perf_counter()
    with place.store.open(name) as collection:
        say(f"opened {state} in", f"{(time.perf_counter() - started) * 1000:.0f} ms")
        yield collection


def fill(collection: Collection, clusters: "Clusters", points: int, truth: "Truth", say: Say) -> None:
    """Writes all points in chunks; only `Collection.upsert` is timed."""
    written, took_s = dict.fromkeys(BATCH_SIZES, 0), dict.fromkeys(BATCH_SIZES, 0.0)
    for chunk, start in enumerate(range(0, points, CHUNK)):
        vectors = clusters.draw(min(CHUNK, points - start), chunk)
        truth.add_points(vectors, start)
        rows = [ImagePoint(payload=payload_of(start + i), vector=v) for i, v in enumerate(vectors)]
        size = BATCH_SIZES[chunk % len(BATCH_SIZES)]
        started = time.perf_counter()
        for first in range(0, len(rows), size):
            collection.upsert(rows[first : first + size])
        took_s[size] += time.perf_counter() - started
        written[size] += len(rows)
    for size in BATCH_SIZES:
        if written[size]:
            say(f"upserts of {size}", f"{written[size] / took_s[size]:,.0f} points/s")


def run_queries(
    collection: Collection,
    what: str,
    truth: "Truth",
    say: Say,
    *,
    where: PointFilter = EVERYTHING,
    exact: bool = False,
) -> None:
    """Runs every query once; prints latency and recall@10."""
    for vector in truth.queries[:WARM_UP]:
        collection.query(vector, limit=NEIGHBOURS, where=where, exact=exact)
    took_ms, found = [], []
    for vector in truth.queries:
        started = time.perf_counter()
        hits = collection.query(vector, limit=NEIGHBOURS, where=where, exact=exact)
        took_ms.append((time.perf_counter() - started) * 1000)
        found.append({int(hit.payload.path) for hit in hits})
    p50, p99 = np.percentile(took_ms, [50, 99])
    say(what, f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, recall@{NEIGHBOURS} {truth.recall(found):.4f}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """Generates vectors from a seed, so that the same chunk is always the same."""

    centres: NDArray[np.float32]
    directions: NDArray[np.float32]

    @classmethod
    def of(cls, dimension: int) -> "Clusters":
        """Draws centres float32 `[CLUSTERS, DIRECTIONS]`, directions float32 `[DIRECTIONS, dimension]`."""
        random = np.random.default_rng(dimension)
        weights = 1 / np.sqrt(np.arange(1, DIRECTIONS + 1))
        weights /= np.linalg.norm(weights)
        directions = random.normal(size=(DIRECTIONS, dimension)) * weights[:, np.newaxis]
        centres = random.normal(size=(CLUSTERS, DIRECTIONS))
        return cls(centres=centres.astype(np.float32), directions=directions.astype(np.float32))

    def draw(self, count: int, key: int) -> NDArray[np.float32]:
        """Returns float32 `[count, D]`, none negative; another `key` gives other points."""
        random = np.random.default_rng([self.directions.shape[1], key])
        centres = self.centres[random.integers(CLUSTERS, size=count)]
        inner = centres + SPREAD * random.standard_normal((count, DIRECTIONS), dtype=np.float32)
        vectors = inner @ self.directions
        vectors += NOISE * random.standard_normal(vectors.shape, dtype=np.float32)
        return np.maximum(vectors, 0, out=vectors)


@dataclass(slots=True)
class Truth:
    """The nearest neighbours by brute force, updated with each chunk of points.

    `scores` float64 and `rows` int64 are `[Q, K]`, best first, with K above ten for the sake of ties.
    """

    queries: NDArray[np.float32]
    scores: NDArray[np.float64] = field(init=False)
    rows: NDArray[np.int64] = field(init=False)

    @classmethod
    def of(cls, queries: NDArray[np.float32]) -> "Truth":
        """Returns the state before any point is seen."""
        truth = cls(queries)
        truth.scores = np.empty((len(queries), 0))
        truth.rows = np.empty((len(queries), 0), dtype=np.int64)
        return truth

    def add_points(self, vectors: NDArray[np.float32], start: int) -> None:
        """Adds points float32 `[N, D]` whose rows are numbered from `start`."""
        rows = np.broadcast_to(np.arange(start, start + len(vectors)), (len(self.queries), len(vectors)))
        scores = np.hstack([self.scores, _unit(self.queries) @ _unit(vectors).T])
        best = np.argsort(-scores, axis=1, kind="stable")[:, : 4 * NEIGHBOURS]
        self.scores = np.take_along_axis(scores, best, axis=1)
        self.rows = np.take_along_axis(np.hstack([self.rows, rows]), best, axis=1)

    def recall(self, found: Sequence[set[int]]) -> float:
        """Returns the mean share of the hits, given by row, that are as near as the tenth neighbour."""
        tenth = min(NEIGHBOURS, self.rows.shape[1])
        good = self.scores >= self.scores[:, tenth - 1 : tenth] - TIE
        right = [set(rows[ok].tolist()) for rows, ok in zip(self.rows, good, strict=True)]
        return float(np.mean([len(a & b) / tenth for a, b in zip(found, right, strict=True)]))


class EmbeddedPlace:
    """The embedded store in its own folder."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self._folder = folder

    def hold_index(self, name: str) -> None:
        """Does nothing: the index is only built on request."""

    def build_index(self, collection: Collection, points: int) -> None:  # noqa: ARG002
        """Builds the index as at the end of an ingest: in a child process, then reloads the shard."""
        collection.upkeep.build_index(lambda: None)
        if collection.upkeep.needs_index():
            raise RuntimeError("the index is not complete; run the benchmark again")

    def memory(self, name: str, queries: FloatVector) -> str | None:
        """Measures a process that opens the collection and queries it; None if the system does not tell."""
        if not _STATUS.exists():
            return None
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            grown = pool.submit(memory_growth, self._folder, name, queries).result()
        return ", ".join(f"{megabytes:.0f} MB {kind}" for kind, megabytes in grown.items())

    def disk_bytes(self) -> int | None:
        """Returns the bytes that the folder takes; the engine's files have holes."""
        return sum(allocated_bytes(path) for path in self._folder.rglob("*") if path.is_file())


class ServerPlace:
    """A server, whose indexing is disabled until all points are written."""

    def __init__(self, store: Store, url: str, api_key: str | None) -> None:
        from qdrant_client import QdrantClient

        self.store = store
        self._client = QdrantClient(url=url, api_key=api_key)

    def hold_index(self, name: str) -> None:
        """Disables indexing by a threshold of 0."""
        self._set_threshold(name, 0)

    def build_index(self, collection: Collection, points: int) -> None:
        """Waits until every point is in the index."""
        from qdrant_client.models import CollectionStatus

        self._set_threshold(collection.name, 1)
        while True:
            info = self._client.get_collection(collection.name)
            if info.status == CollectionStatus.GREEN and (info.indexed_vectors_count or 0) >= points:
                return
            time.sleep(_POLL_S)

    def memory(self, name: str, queries: FloatVector) -> str | None:  # noqa: ARG002
        """Returns None: a server's memory cannot be measured from here."""
        return None

    def disk_bytes(self) -> int | None:
        """Returns None: a server's disk cannot be measured from here."""
        return None

    def _set_threshold(self, name: str, kilobytes: int) -> None:
        from qdrant_client.models import OptimizersConfigDiff

        optimizers = OptimizersConfigDiff(indexing_threshold=kilobytes)
        self._client.update_collection(name, optimizers_config=optimizers)


Place = EmbeddedPlace | ServerPlace


def memory_growth(folder: Path, name: str, queries: FloatVector) -> dict[str, float]:
    """Returns by how many MB this process grows when it opens a collection and queries it."""
    import qdrant_edge  # noqa: F401 - so that its code does not count as the collection's memory

    before = _resident_mb()
    with embedded.EmbeddedStore(folder).open(name) as collection:
        for vector in queries:
            collection.query(vector, limit=NEIGHBOURS)
        return {kind: megabytes - before[kind] for kind, megabytes in _resident_mb().items()}


def _resident_mb() -> dict[str, float]:
    kinds = {"RssAnon": "anonymous", "RssFile": "of mapped files"}
    rows = (line.split() for line in _STATUS.read_text(encoding="utf-8").splitlines())
    return {kinds[row[0][:-1]]: int(row[1]) / 1024 for row in rows if row[0][:-1] in kinds}


@contextmanager
def fresh_collection(case: Case, url: str | None) -> Iterator[tuple[Place, str]]:
    """Makes an empty collection in a store, and deletes it after the block."""
    manifest = replace(manifest_of(case.dimension), vector_quantization=case.quantize)
    with fresh_place(url) as place:
        place.store.create(manifest)
        try:
            yield place, manifest.collection
        finally:
            place.store.delete(manifest.collection)


@contextmanager
def fresh_place(url: str | None) -> Iterator[Place]:
    """Opens the server, or an embedded store that indexes collections of any size."""
    settings = Settings.from_environment()
    if url is not None:
        with closing(open_store(url, settings)) as store:
            yield ServerPlace(store, url, settings.qdrant_api_key)
        return
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder:
        store = EmbeddedStore(
            Path(folder), label=f"embedded:{folder}", tuning=EngineTuning(indexed_above_kb=1)
        )
        yield EmbeddedPlace(store, Path(folder))


def manifest_of(dimension: int) -> CollectionManifest:
    """Returns the manifest of a made-up layer and weights, so that no other collection has its name."""
    manifest = made_manifest(dimension, VGG16.name)
    identity = replace(manifest.identity, layer="benchmark", weights_fingerprint=secrets.token_hex(32))
    return replace(manifest, identity=identity, datasets={})


def payload_of(row: int) -> Payload:
    """Returns the payload of a row's point."""
    return Payload(
        dataset="benchmark",
        path=str(row),
        class_name=f"class {row % CLUSTERS}",
        sha256=f"{row + 1:064x}",
        width=640,
        height=480,
        bytes=50_000,
        mtime_ns=1_700_000_000_000_000_000,
        ingested_at="2026-01-01T00:00:00+00:00",
    )


def _unit(vectors: FloatVector) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))


def allocated_bytes(path: Path) -> int:
    """Returns the bytes that a file takes on the disk, less than its size where it has holes."""
    status = path.stat()
    blocks: int | None = getattr(status, "st_blocks", None)  # of 512 bytes; Windows has none
    return status.st_size if blocks is None else blocks * 512


def short(folder: Path) -> Iterator[Duel]:
    """Yields upserts beside the engine's, and exact queries beside numpy's."""
    import qdrant_edge

    clusters, store = Clusters.of(512), EmbeddedStore(folder)
    manifest, vectors = manifest_of(512), clusters.draw(5 * CHUNK, 0)
    points = [ImagePoint(payload=payload_of(row), vector=vector) for row, vector in enumerate(vectors)]
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        collection.upsert(points)
        some = points[:CHUNK]
        rows = [
            qdrant_edge.Point(each.payload.id, each.vector.tolist(), each.payload.to_json()) for each in some
        ]
        shard = collection._shard._edge  # noqa: SLF001 - the engine itself
        yield Duel(
            name="store: upserts / the engine's",
            ours=lambda: collection.upsert(some),
            peer=lambda: shard.update(qdrant_edge.UpdateOperation.upsert_points(rows)),
        )
        queries = clusters.draw(50, _QUERIES_KEY)

        def brute_force() -> object:
            return [np.argpartition(vectors @ query, -NEIGHBOURS)[-NEIGHBOURS:] for query in queries]

        yield Duel(
            name="store: exact queries / numpy",
            ours=lambda: [collection.query(query, limit=NEIGHBOURS, exact=True) for query in queries],
            peer=brute_force,
        )


if __name__ == "__main__":
    run_either(main, short)

"""Measures filtered searches by a store's index: time and recall for filters that select few or many images.

    python benchmarks/filters.py [--points 100000] [--dimension 512] [--queries 100] [--rounds 3]
                                 [--output filters.json]

The vectors and queries are those of `store.py`, in an embedded collection of its own whose index is built.
Filters select 50, 5, 0.5 and 0.05 % of the images: by a folder, by times at which images were taken and by
width, each of which has nothing to do with what the images are like; and by classes, which are the clusters
of the vectors, for 0.5 and 0.05 % together with a folder. Queries come from all clusters, so that in most
searches by class no image near the query is selected, which is the hard case for an index.

Times are those of `Collection.query`, payloads included, with one image left out as in `search query`, after
some warm-up queries; all filters take turns in each round. Beside the median of all rounds are the lowest
median of a round and the median of the processor time, since other programs run on the machine. Recall@10
is the share of the ten hits that are among the ten nearest selected ones by numpy; hits that tie with the
tenth count.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from lookalike_core.instants import format_instant
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import EVERYTHING, ImagePoint, Payload, PointFilter
from lookalike_core.stores.protocol import Collection
from machine import describe, write_results
from numpy.typing import NDArray
from store import CHUNK, CLUSTERS, LEFT_OUT, NEIGHBOURS, TIE, WARM_UP, Clusters, manifest_of, payload_of

PARTS = (2, 20, 200, 2_000)
"""One image of so many is selected: 50, 5, 0.5 and 0.05 %."""

_QUERIES_KEY = 2**32
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The images of the collection: `places` int64 `[N]` are a random order, by which most filters select.

    `vectors` is float32 `[N, D]` of length 1, `clusters` int64 `[N]`.
    """

    vectors: NDArray[np.float32]
    clusters: NDArray[np.int64]
    places: NDArray[np.int64]

    def payload(self, row: int) -> Payload:
        """Returns the payload of an image: folders within folders, a minute and a width for each place."""
        place, count = int(self.places[row]), len(self.places)
        folders = "/".join(f"{place * part // count}" for part in PARTS)
        return replace(
            payload_of(row),
            path=f"{folders}/{row}",
            class_name=f"class {self.clusters[row]}",
            width=1 + place,
            taken_at=taken_at(place),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A filter, and which images it selects, bool `[N]`."""

    kind: str
    share: str
    where: PointFilter
    selected: NDArray[np.bool_]


def main() -> None:
    """Prints a row for each filter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, metavar="JSON")
    arguments = parser.parse_args()
    print(describe())
    clusters = Clusters.of(arguments.dimension)
    images = draw(clusters, arguments.points, arguments.dimension)
    queries = clusters.draw(arguments.queries, _QUERIES_KEY)
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder:
        store = EmbeddedStore(Path(folder), tuning=EngineTuning(indexed_above_kb=1))
        manifest = replace(manifest_of(arguments.dimension), datasets={"benchmark": "/benchmark"})
        store.create(manifest)
        with store.open(manifest.collection) as collection:
            fill(collection, images)
        with store.open(manifest.collection) as collection:
            found = measure(collection, images, queries, arguments.rounds)
    write_results(arguments.output, {"points": arguments.points, "filters": found})


def draw(clusters: Clusters, points: int, dimension: int) -> Images:
    """Returns the images; their clusters are drawn as `Clusters.draw` draws them."""
    starts = range(0, points, CHUNK)
    sizes = [min(CHUNK, points - start) for start in starts]
    vectors = np.concatenate([clusters.draw(size, chunk) for chunk, size in enumerate(sizes)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    drawn = [np.random.default_rng([dimension, k]).integers(CLUSTERS, size=n) for k, n in enumerate(sizes)]
    return Images(
        vectors=vectors,
        clusters=np.concatenate(drawn),
        places=np.random.default_rng(0).permutation(points),
    )


def taken_at(place: int) -> str:
    """Returns the time of a place in the random order."""
    return format_instant(_FIRST + timedelta(minutes=place))


def fill(collection: Collection, images: Images) -> None:
    """Writes all images and builds the index, as an ingest does at its end."""
    for start in range(0, len(images.vectors), CHUNK):
        rows = range(start, min(start + CHUNK, len(images.vectors)))
        collection.upsert(
            [ImagePoint(payload=images.payload(row), vector=images.vectors[row]) for row in rows]
        )
    started = time.perf_counter()
    collection.upkeep.build_index(lambda: None)
    print(f"index built in {time.perf_counter() - started:.0f} s", flush=True)


def cases(images: Images) -> Iterator[Case]:
    """Yields every filter."""
    yield Case(kind="none", share="100 %", where=EVERYTHING, selected=np.ones(len(images.places), dtype=bool))
    for depth, part in enumerate(PARTS):
        size, share = len(images.places) // part, f"{100 / part:g} %"
        first = images.places < size
        folder = "/".join(["0"] * (depth + 1))
        times = PointFilter(since=taken_at(0), until=taken_at(size - 1))
        in_folder = PointFilter(folders=frozenset({folder}))
        yield Case(kind="folder", share=share, where=in_folder, selected=first)
        yield Case(kind="times", share=share, where=times, selected=first)
        wide = PointFilter(min_width=1 + len(images.places) - size)
        yield Case(kind="width", share=share, where=wide, selected=images.places >= len(images.places) - size)
        yield class_case(images, part, share)


def class_case(images: Images, part: int, share: str) -> Case:
    """Returns the filter by classes, below 1 % by one class and a folder."""
    count = max(1, CLUSTERS // part)
    selected = images.clusters < count
    where = PointFilter(classes=frozenset(f"class {number}" for number in range(count)))
    if part > CLUSTERS:
        depth = PARTS.index(part // CLUSTERS)
        where = replace(where, folders=frozenset({"/".join(["0"] * (depth + 1))}))
        selected &= images.places < len(images.places) // PARTS[depth]
    return Case(kind="classes", share=share, where=where, selected=selected)


def measure(
    collection: Collection, images: Images, queries: NDArray[np.float32], rounds: int
) -> list[dict[str, object]]:
    """Searches with every query by every filter in turn; returns the figures, which it prints."""
    every = list(cases(images))
    took: list[list[list[float]]] = [[] for _ in every]
    worked: list[list[float]] = [[] for _ in every]
    recalls = [0.0] * len(every)
    similarity = queries / np.linalg.norm(queries, axis=1, keepdims=True) @ images.vectors.T
    for _ in range(rounds):
        for number, case in enumerate(every):
            took_ms, worked_ms, hits = search(collection, queries, case.where)
            took[number].append(took_ms)
            worked[number] += worked_ms
            recalls[number] = recall(similarity, case.selected, hits)
    found: list[dict[str, object]] = []
    for case, took_ms, worked_ms, share in zip(every, took, worked, recalls, strict=True):
        medians = np.median(took_ms, axis=1)
        figures = {
            "filter": case.kind,
            "share": case.share,
            "images": int(case.selected.sum()),
            "p50_ms": round(float(np.median(took_ms)), 2),
            "p50_best_round_ms": round(float(medians.min()), 2),
            "p50_processor_ms": round(float(np.median(worked_ms)), 2),
            "recall": round(share, 4),
        }
        print(
            f"{case.kind:8} {case.share:>6} {figures['images']:>7,} images: p50 {figures['p50_ms']} ms, "
            f"in the best round {figures['p50_best_round_ms']} ms, of the processor "
            f"{figures['p50_processor_ms']} ms, recall@{NEIGHBOURS} {share:.4f}",
            flush=True,
        )
        found.append(figures)
    return found


def search(
    collection: Collection, queries: NDArray[np.float32], where: PointFilter
) -> tuple[list[float], list[float], list[list[int]]]:
    """Returns the milliseconds of each search, those of the processor, and the rows that it found."""
    where = replace(where, excluded_sha256=LEFT_OUT.excluded_sha256)
    for query in queries[:WARM_UP]:
        collection.query(query, limit=NEIGHBOURS, where=where)
    took_ms, worked_ms, found = [], [], []
    for query in queries:
        started, worked = time.perf_counter(), time.process_time()
        hits = collection.query(query, limit=NEIGHBOURS, where=where)
        worked_ms.append((time.process_time() - worked) * 1000)
        took_ms.append((time.perf_counter() - started) * 1000)
        found.append([int(hit.payload.path.rpartition("/")[2]) for hit in hits])
    return took_ms, worked_ms, found


def recall(similarity: NDArray[np.float32], selected: NDArray[np.bool_], found: list[list[int]]) -> float:
    """Returns the mean share of hits that are as near as the tenth of the selected images."""
    rows = np.flatnonzero(selected)
    tenth = min(NEIGHBOURS, len(rows))
    limits = -np.partition(-similarity[:, rows], tenth - 1, axis=1)[:, tenth - 1]
    if any(not selected[hits].all() for hits in found):
        raise RuntimeError("a hit is not selected by the filter")
    near = [
        (similarity[query, hits] >= limit - TIE).sum() / tenth
        for query, (hits, limit) in enumerate(zip(found, limits, strict=True))
    ]
    return float(np.mean(near))


if __name__ == "__main__":
    main()

"""Measures what `--diverse` and `--one-per` change in an answer, and what they cost.

    python benchmarks/choices.py quality --collection NAME [--dataset photos] [--diverse 0 0.3 0.6 1]
    python benchmarks/choices.py cost [--points 100000] [--dimension 512] [--queries 100]

`quality` asks with each image of a dataset that is indexed in the store at `LOOKALIKE_STORE`, against all
others. Of the ten neighbours it prints the mean pairwise cosine similarity, the share that has the query's
class, and the number of classes, with the mean similarity to the query.

`cost` fills an embedded store of its own as `store.py` does, of 100 classes each in its own folder, and
builds its index. Queries are new points of the same clusters. Times are those of the search and the choice,
as `search query` makes them, and the processor time of all threads, which other work on the machine changes
less. Medians; the first query of each setting is not counted.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from lookalike_core.settings import Settings
from lookalike_core.stores.bulk_reads import read_vectors
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.open_store import open_store
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Collection
from lookalike_search.analysis.all_neighbours import find_all_chosen
from lookalike_search.asking.answers import QueryOptions
from lookalike_search.asking.candidates import Query
from lookalike_search.asking.choice import NO_CHOICE, HitChoice, OnePer
from lookalike_search.asking.chosen_neighbours import choose_neighbours
from lookalike_search.asking.neighbour_search import rank_neighbours
from lookalike_search.asking.searched_collection import SearchedCollection
from machine import describe
from neighbours import fill
from store import Clusters

QUERIES_KEY = 2**32  # no chunk has this number


def main() -> None:
    """Prints a row for each setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ways = parser.add_subparsers(dest="way", required=True)
    quality = ways.add_parser("quality")
    quality.add_argument("--collection", required=True)
    quality.add_argument("--dataset")
    quality.add_argument("--diverse", type=float, nargs="+", default=[0, 0.3, 0.6, 1])
    cost = ways.add_parser("cost")
    cost.add_argument("--points", type=int, default=100_000)
    cost.add_argument("--dimension", type=int, default=512)
    cost.add_argument("--queries", type=int, default=100)
    cost.add_argument("--folder", type=Path, help="keep the store here, and use it if it is there")
    arguments = parser.parse_args()
    print(describe())
    if arguments.way == "quality":
        measure_quality(arguments.collection, arguments.dataset, arguments.diverse)
        return
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as name:
        folder = arguments.folder or Path(name)
        if not (folder / "qdrant").exists():
            fill(folder, arguments.points, arguments.dimension)
        measure_cost(folder, arguments.dimension, arguments.queries)


def measure_quality(name: str, dataset: str | None, diversities: Sequence[float]) -> None:
    """Prints what the neighbours of all images are like."""
    settings = Settings.from_environment()
    with open_store(None, settings).open(name) as collection:
        where = PointFilter(dataset=dataset)
        payloads, vectors = read_vectors(collection, list(collection.scan(where)))
        units = dict(
            zip(
                (payload.id for payload in payloads),
                vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
                strict=True,
            )
        )
        print("choice           similarity of ten  right class  classes  to the query")
        for what, choice in settings_of(diversities):
            rows = list(measure_answers(collection, where, choice, units))
            apart, right, classes, near = np.mean(rows, axis=0)
            print(f"{what:16} {apart:17.3f} {right:12.1%} {classes:8.2f} {near:13.3f}", flush=True)


def settings_of(diversities: Sequence[float]) -> Iterator[tuple[str, HitChoice]]:
    """Yields the choices that are compared, with their names."""
    for diversity in diversities:
        yield f"diverse {diversity:g}", HitChoice(diverse=diversity)
    yield "one per class", HitChoice(one_per=OnePer.CLASS)


def measure_answers(
    collection: Collection, where: PointFilter, choice: HitChoice, units: dict[str, np.ndarray]
) -> Iterator[tuple[float, float, int, float]]:
    """Yields the figures of each image's ten neighbours."""
    for found in find_all_chosen(collection, limit=10, above=None, where=where, choice=choice):
        hits = [scene.hit for scene in found.scenes]
        rows = np.array([units[hit.payload.id] for hit in hits])
        pairs = (rows @ rows.T)[np.triu_indices(len(rows), k=1)]
        classes = [hit.payload.class_name for hit in hits]
        right = float(np.mean([name == found.payload.class_name for name in classes]))
        yield float(pairs.mean()), right, len(set(classes)), float(np.mean([hit.score for hit in hits]))


def measure_cost(folder: Path, dimension: int, queries: int) -> None:
    """Prints how long searches take with each choice."""
    store = EmbeddedStore(folder / "qdrant")
    [name] = store.names()
    vectors = Clusters.of(dimension).draw(queries + 1, QUERIES_KEY)
    choices = {
        "plain": (NO_CHOICE, 10, queries),
        "diverse 0.3": (HitChoice(diverse=0.3), 10, queries),
        "diverse 0.3, limit 100": (HitChoice(diverse=0.3), 100, queries),
        "one per class": (HitChoice(one_per=OnePer.CLASS), 10, queries),
        "one per folder": (HitChoice(one_per=OnePer.FOLDER), 10, queries),
        "one per folder, limit 200 of 100 there are": (HitChoice(one_per=OnePer.FOLDER), 200, 1),
    }
    with store.open(name) as collection:
        network = SearchedCollection(collection, settings=Settings(home=folder))
        for what, (choice, limit, count) in choices.items():
            took = [
                time_choice(network, vector, QueryOptions(limit=limit, choice=choice))
                for vector in vectors[: count + 1]
            ]
            wall, processor = np.median(np.array(took[1:]), axis=0)
            print(
                f"{what:44} {wall:8.1f} ms, {processor:8.1f} ms of processor time ({count} queries)",
                flush=True,
            )


def time_choice(
    network: SearchedCollection, vector: np.ndarray, options: QueryOptions
) -> tuple[float, float]:
    """Returns the milliseconds that one search and its choice take, and those of the processor."""
    query = Query(
        networks=[network],
        vectors=[vector],
        where=PointFilter(excluded_sha256=frozenset({"0" * 64})),
        options=options,
        candidates=100,
    )
    started, used = time.perf_counter(), time.process_time()
    choose_neighbours(query, rank_neighbours(query), None)
    return (time.perf_counter() - started) * 1000, (time.process_time() - used) * 1000


if __name__ == "__main__":
    main()

"""Precision@10, leave-one-out, of the collections that are there.

    python benchmarks/quality.py [--store STORE] [COLLECTION ...]

Every picture is asked about with its stored vector, through the store's own search; pictures with the
query's bytes are left out, as `search query` does. Precision@10 is the share of the ten neighbours that
are of the query's class, averaged over all pictures that have a class.
"""

import argparse
import statistics
import time

from lookalike_core.settings import Settings
from lookalike_core.stores.open_store import open_store
from lookalike_core.stores.points import EVERYTHING, PointFilter
from lookalike_core.stores.protocol import Collection

LIMIT = 10


def main() -> None:
    """Prints one row a collection."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collections", nargs="*")
    parser.add_argument("--store")
    arguments = parser.parse_args()
    store = open_store(arguments.store, Settings.from_environment())
    for name in arguments.collections or store.names():
        with store.open(name) as collection:
            precision, p50_ms, asked = leave_one_out(collection)
        print(
            f"{name:50} {asked:6} pictures  P@{LIMIT} {precision:.4f}  search p50 {p50_ms:.2f} ms", flush=True
        )
    store.close()


def leave_one_out(collection: Collection) -> tuple[float, float, int]:
    """Precision@10, the median time of one search in ms, and how many pictures were asked about."""
    precisions, times_ms = [], []
    for payload in collection.scan(EVERYTHING):
        if payload.class_name is None:
            continue
        vector = collection.vectors([payload.id])[payload.id]
        started = time.perf_counter()
        others = PointFilter(excluded_sha256=frozenset({payload.sha256}))
        hits = collection.query(vector, limit=LIMIT, where=others, exact=True)
        times_ms.append((time.perf_counter() - started) * 1000)
        right = sum(hit.payload.class_name == payload.class_name for hit in hits)
        precisions.append(right / LIMIT)
    return statistics.mean(precisions), statistics.median(times_ms), len(precisions)


if __name__ == "__main__":
    main()

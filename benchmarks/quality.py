"""Measures precision@10, leave-one-out, of existing collections.

    python benchmarks/quality.py [--store STORE] [COLLECTION ...]

Every image is a query by its id, through the store's own exact search; its exact duplicates are left out,
as by `search query`. Precision@10 is the share of the ten neighbours that are of the query's class,
averaged over all images that have a class. STORE is a folder or a server's URL.
"""

import argparse
import statistics
import time

import lookalike

LIMIT = 10


def main() -> None:
    """Prints one row for each collection."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collections", nargs="*")
    parser.add_argument("--store")
    arguments = parser.parse_args()
    names = arguments.collections or [found.name for found in lookalike.list_collections(arguments.store)]
    for name in names:
        with lookalike.open(arguments.store, collection=name) as index:
            precision, p50_ms, asked = leave_one_out(index)
        print(
            f"{name:50} {asked:6} images  P@{LIMIT} {precision:.4f}  search p50 {p50_ms:.2f} ms", flush=True
        )


def leave_one_out(index: lookalike.Index) -> tuple[float, float, int]:
    """Returns precision@10, the median time of one search in ms, and the number of queries."""
    precisions, times_ms = [], []
    for point in index.points():
        if point.class_name is None:
            continue
        started = time.perf_counter()
        hits = index.search(point.id, limit=LIMIT, exact=True)
        times_ms.append((time.perf_counter() - started) * 1000)
        right = sum(hit.class_name == point.class_name for hit in hits)
        precisions.append(right / LIMIT)
    return statistics.mean(precisions), statistics.median(times_ms), len(precisions)


if __name__ == "__main__":
    main()

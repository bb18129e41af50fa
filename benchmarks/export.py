"""Measures exports of an embedded collection: their time and memory, and those of an import.

    python benchmarks/export.py [--points 100000] [--dimension 512] [--suffix .parquet .npy .csv]
                                [--import] [--output export.json]

The vectors are the synthetic clusters of `benchmarks/store.py`; collections have no index. Each export is a
process of its own, which opens the collection, exports it once and ends: its time is that of the export
without the start of Python, with the processor's time beside it, which other programs on the machine do not
lengthen. Its peak memory is that of the whole process, as the system counts it, and of its anonymous part
alone, sampled ten times a second, with what that was once the collection was open. The rest are mostly the
collection's mapped files, which the system may drop. With `--import` the Parquet file is imported into a new
store, index included, by another process; its peak memory is without the child that builds the index.

The short form (`--short`) compares an export of 5,000 images to Parquet with pyarrow's writing of a table of
their vectors and paths, which are in memory.
"""

import argparse
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from lookalike_core.settings import Settings
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint
from lookalike_ingest.request import StopRequest
from lookalike_ingest.table_import import import_table
from lookalike_search.analysis.export import ExportFormat, check_export, export_collection
from machine import describe, peak_bytes, write_results
from short import Duel, run_either
from store import CHUNK, Clusters, manifest_of, payload_of

MB = 1e6
_STATUS = Path("/proc/self/status")
_POLL_S = 0.1

Row = dict[str, float | int | str]


def main() -> None:
    """Prints a row for each export and import."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[100_000])
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--suffix", nargs="+", choices=list(ExportFormat), default=list(ExportFormat))
    parser.add_argument("--import", action="store_true", dest="imports")
    parser.add_argument("--output", type=Path, metavar="JSON")
    arguments = parser.parse_args()
    print(describe())
    rows = []
    for points in arguments.points:
        with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as name:
            folder = Path(name)
            collection = fill(folder / "store", points, arguments.dimension)
            for suffix in arguments.suffix:
                file = folder / f"all{suffix}"
                rows.append(in_process(export_once, folder / "store", collection, file))
                show(rows[-1] | {"points": points})
            if arguments.imports:
                rows.append(in_process(import_once, folder / "other", collection, folder / "all.parquet"))
                show(rows[-1] | {"points": points})
    write_results(arguments.output, {"dimension": arguments.dimension, "rows": rows})


def fill(folder: Path, points: int, dimension: int) -> str:
    """Makes a collection, and returns its name."""
    manifest, clusters, store = manifest_of(dimension), Clusters.of(dimension), EmbeddedStore(folder)
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        for chunk, start in enumerate(range(0, points, CHUNK)):
            vectors = clusters.draw(min(CHUNK, points - start), chunk)
            collection.upsert(
                [ImagePoint(payload=payload_of(start + i), vector=vector) for i, vector in enumerate(vectors)]
            )
    return manifest.collection


def in_process(work: Callable[[Path, str, Path], Row], *words: Path | str) -> Row:
    """Runs a function in a process of its own, and returns its row with the peaks of its memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, work, *words).result()


def measure(work: Callable[..., Row], *words: Path | str) -> Row:
    """Returns the row of a function with the time and the peaks of memory of this process."""
    peak, is_done = [0.0], threading.Event()

    def watch() -> None:
        while not is_done.wait(_POLL_S):
            peak[0] = max(peak[0], anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        started, used = time.perf_counter(), time.process_time()
        row = work(*words)
        took_s, cpu_s = time.perf_counter() - started, time.process_time() - used
    finally:
        is_done.set()
        watcher.join()
    return row | {"took_s": took_s, "cpu_s": cpu_s, "peak_mb": peak_bytes() / MB, "anonymous_mb": peak[0]}


def export_once(store: Path, collection: str, file: Path) -> Row:
    """Exports a collection."""
    target = check_export(file)  # imports pyarrow
    with EmbeddedStore(store).open(collection) as opened:
        opened.count()
        opened_mb = anonymous_mb()
        report = export_collection(opened, target)
    return {
        "what": f"export to {file.suffix}",
        "points": report.images,
        "file_mb": report.bytes / MB,
        "opened_mb": opened_mb,
    }


def import_once(store: Path, collection: str, file: Path) -> Row:
    """Imports a file into a new store."""
    settings = Settings(home=store.parent / "home", provider="cpu")
    report = import_table(file, store=EmbeddedStore(store), settings=settings, stop=StopRequest())
    if report.collection != collection:
        raise RuntimeError(f"{report.collection} is not {collection}")
    return {
        "what": f"import of {file.suffix}",
        "points": report.points,
        "file_mb": file.stat().st_size / MB,
        "opened_mb": 0.0,
    }


def anonymous_mb() -> float:
    """Returns the anonymous memory of this process; 0 where the system does not tell."""
    if not _STATUS.exists():
        return 0.0
    rows = (line.split() for line in _STATUS.read_text(encoding="utf-8").splitlines())
    return next(int(row[1]) * 1024 / MB for row in rows if row[0] == "RssAnon:")


def show(row: Row) -> None:
    """Prints one row."""
    print(
        f"{row['points']:>9,} {row['what']:18} {row['took_s']:6.1f} s ({row['cpu_s']:.1f} s of a processor), "
        f"file {row['file_mb']:.1f} MB, peak {row['peak_mb']:.0f} MB, of which anonymous "
        f"{row['anonymous_mb']:.0f} MB ({row['opened_mb']:.0f} MB once open)",
        flush=True,
    )


def short(folder: Path) -> Iterator[Duel]:
    """Yields an export beside a table that pyarrow writes."""
    import pyarrow as pa
    from pyarrow import parquet

    name, vectors = fill(folder / "store", 5 * CHUNK, 512), Clusters.of(512).draw(5 * CHUNK, 0)
    target = check_export(folder / "ours.parquet")
    rows = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    table = pa.table({"path": [str(row) for row in range(len(vectors))], "vector": rows})
    with EmbeddedStore(folder / "store").open(name) as opened:
        yield Duel(
            name="export: to Parquet / pyarrow alone",
            ours=lambda: export_collection(opened, target),
            peer=lambda: parquet.write_table(table, folder / "peer.parquet"),
        )


if __name__ == "__main__":
    run_either(main, short)

"""Measures how long a collection takes to move: copied, copied again, backed up, checked, restored.

    python benchmarks/move.py [--points 100000] [--dimension 512] [--distance cosine] [--to URL] [--no-index]
                              [--steps copy again backup check restore] [--output move.json]

The collection is in an embedded store of a temporary folder, of the synthetic vectors of `store.py`. It has
its index, as after an ingest, unless `--no-index` is given: then a copy writes each point, and builds the
index in the end. Each step is a process of its own, as each command is, and its seconds are those of the
call: a copy with the comparison of every point, with and without the index; a backup with reading it again;
a restore with the count of its points. The seconds of processor time are of all threads, of the child that
builds the index, too: they tell what a busy machine adds to the rest. `--to` copies to a Qdrant server
instead of another embedded store; the copy is deleted in the end.

Memory is sampled every 20 ms (Linux), as growth since before the step: anonymous memory, and pages of mapped
files, which are mostly the vectors of the shards and which the system drops where it needs room.
"""

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.open_store import open_store
from lookalike_core.stores.points import ImagePoint
from lookalike_ingest.backup import back_up, check_backup, restore
from lookalike_ingest.copying import copy_collection
from lookalike_ingest.target import complete_written
from machine import describe, write_results
from store import CHUNK, Clusters, allocated_bytes, manifest_of, payload_of

_STATUS = Path("/proc/self/status")
_SAMPLED_S = 0.02
_KINDS = {"RssAnon:": "anonymous", "RssFile:": "of mapped files"}

Step = Callable[[Path, str, str | None], str]


def main() -> None:
    """Prints a row for each step as soon as it is done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--distance", type=Distance, default=Distance.COSINE)
    parser.add_argument("--no-index", action="store_true", help="copy a collection that has no index")
    parser.add_argument("--to", metavar="URL", help="a Qdrant server to copy to; default: an embedded store")
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--output", type=Path, metavar="JSON")
    arguments = parser.parse_args()
    print(describe())
    rows: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder:
        base = Path(folder)
        name = fill(base, arguments.points, arguments.dimension, arguments.distance)
        if not arguments.no_index:
            with EmbeddedStore(base / "here").open(name) as collection:
                complete_written(collection)
        size = sum(allocated_bytes(path) for path in (base / "here").rglob("*") if path.is_file())
        shape = f"{arguments.points} x {arguments.dimension}, {arguments.distance}"
        print(f"{shape}, {size / 2**20:,.0f} MB on the disk", flush=True)
        for step in arguments.steps:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                said = pool.submit(measure, step, base, name, arguments.to).result()
            rows[step] = said
            print(f"{step:16} {said}", flush=True)
        if arguments.to:
            with closing(open_store(arguments.to, Settings.from_environment())) as store:
                store.delete(name)
    write_results(arguments.output, {"steps": rows})


def fill(base: Path, points: int, dimension: int, distance: Distance) -> str:
    """Makes the collection to move; returns its name."""
    store, clusters = EmbeddedStore(base / "here"), Clusters.of(dimension)
    manifest = replace(manifest_of(dimension), distance=distance)
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        for chunk, start in enumerate(range(0, points, CHUNK)):
            vectors = clusters.draw(min(CHUNK, points - start), chunk)
            collection.upsert(
                [ImagePoint(payload=payload_of(start + row), vector=each) for row, each in enumerate(vectors)]
            )
    return manifest.collection


def measure(step: str, base: Path, name: str, url: str | None) -> str:
    """Runs a step in this process; returns its time and memory."""
    import qdrant_edge  # noqa: F401 - so that its code does not count

    before, peak, ended = _memory_mb(), dict[str, float](), threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLED_S):
            for kind, megabytes in _memory_mb().items():
                peak[kind] = max(peak.get(kind, 0), megabytes - before[kind])

    watching = threading.Thread(target=sample)
    watching.start()
    started, cpu_s = time.perf_counter(), _cpu_s()
    try:
        said = STEPS[step](base, name, url)
    finally:
        took_s, cpu_s = time.perf_counter() - started, _cpu_s() - cpu_s
        ended.set()
        watching.join()
    memory = ", ".join(f"{megabytes:.0f} MB {kind}" for kind, megabytes in peak.items())
    return f"{took_s:.1f} s, {cpu_s:.1f} s of processor{said}; {memory}"


def copy(base: Path, name: str, url: str | None) -> str:
    """Copies the collection; returns the parts of its time."""
    target = open_store(url, Settings.from_environment()) if url else EmbeddedStore(base / "there")
    with closing(target):
        report = copy_collection(name, store=EmbeddedStore(base / "here"), to=target)
    without = report.took_s - report.indexed_s
    return f" ({without:.1f} s without the index, of which comparing {report.compared_s:.1f} s)"


def copy_again(base: Path, name: str, url: str | None) -> str:
    """Copies the collection where its copy exists: compares alone."""
    copy(base, name, url)
    return ""


def write_backup(base: Path, name: str, url: str | None) -> str:  # noqa: ARG001 - as the other steps
    """Backs the collection up; returns the size."""
    report = back_up(
        name, base / "a.tar", store=EmbeddedStore(base / "here"), settings=Settings.from_environment()
    )
    return f" ({report.bytes / 2**20:,.0f} MB)"


def check(base: Path, name: str, url: str | None) -> str:  # noqa: ARG001
    """Checks the backup."""
    check_backup(base / "a.tar")
    return ""


def restore_backup(base: Path, name: str, url: str | None) -> str:  # noqa: ARG001
    """Restores the backup to a third store."""
    restore(base / "a.tar", store=EmbeddedStore(base / "restored"), settings=Settings.from_environment())
    return ""


STEPS: dict[str, Step] = {
    "copy": copy,
    "again": copy_again,
    "backup": write_backup,
    "check": check,
    "restore": restore_backup,
}


def _cpu_s() -> float:
    """Returns the processor time of this process and of those that it started and that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _memory_mb() -> dict[str, float]:
    with suppress(OSError):
        rows = (line.split() for line in _STATUS.read_text(encoding="utf-8").splitlines())
        return {_KINDS[row[0]]: int(row[1]) / 1024 for row in rows if row[0] in _KINDS}
    return {}


if __name__ == "__main__":
    main()

"""Measures an embedded collection of a million points, step by step: time, anonymous memory and disk of each.

    python benchmarks/million.py [--points 1000000] [--dimension 512] [--quantize none int8 int4]
        [--steps write index cold warm filtered evaluate ingest status] [--queries 1000] [--again]
        [--folder DIR] [--output million.json] [--plot million.svg]
    python benchmarks/million.py --plot million.svg --output million.json --steps

Vectors, queries and recall are those of `store.py`: clusters like those of photos. The points are of files
that exist, hard links of a thousand photos, so that an ingest finds all of them unchanged. The model has
random weights.

    write     all points in batches of 128, as an ingest on a GPU: points a second of every 100,000, by
              `upsert` alone
    index     the index and the list of points, as at the end of an ingest
    cold      `search query` as a process, from its start to its end: first with the collection's files
              dropped from the system's cache (not where they are in memory, as in /dev/shm), then five times
    warm      `Collection.query` with one image left out, payloads included: p50 and p99 of the last of five
              times as many queries, of the first ones after opening with their recall@10, which is the
              share of the ten hits that are as near as the tenth by numpy, and of few exact queries
    filtered  the same with filters, after as many queries without one: one class of a hundred, and 50, 5,
              0.5 and 0.05 % of the points by when they were taken, which has nothing to do with the vectors
    evaluate  `search evaluate` with a random sample of as many queries, and the index compared
    ingest    `ingest run` over the unchanged folder as a process: files a second, and bytes of memory a file
              above an ingest of 1,000 files
    status    `ingest status`, which counts every point
    audit, duplicates, neighbours, map   those commands, if named

Each step is a process of its own. Its memory is the peak of anonymous memory (RssAnon) of the process and all
of its children, sampled every 20 ms (Linux); pages of mapped files, which the system may drop, are not in it.
Processor time is that of all of them.

Figures are stored in `--output` after each step, by case. With `--folder` what was made stays there, and a
step whose figures are stored is not measured again unless `--again` is given, so that an interrupted run goes
on where it was; delete the folder afterwards. Without it a temporary folder is used. There must be room for
the collection and for its index, which is written beside it.

`--plot` draws the processor time of each step over the number of points, of the cases in `--output` that are
not quantized, beside lines that grow with N log N.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from commands import program
from lookalike_core.stores.collection_manifest import VectorQuantization
from machine import describe, write_results
from million_collection import FEW, NETWORKS, Place, build_index, fill
from million_plot import draw_growth
from million_queries import find_tenths, measure_filtered, measure_warm
from watched import Usage, folder_bytes, run_command, run_function

QUICK_RUNS = 5
GB = 1e9

Figures = dict[str, Any]


def main() -> None:
    """Measures the steps of each case that are not stored yet; prints a line for each."""
    arguments = _parse()
    print(describe())
    stored = _read_cases(arguments.output)
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as temporary:
        base = arguments.folder or Path(temporary)
        os.environ |= {"LOOKALIKE_STORE": "embedded", "LOOKALIKE_PROVIDER": "cpu"}
        for points in arguments.points:
            for quantize in arguments.quantize:
                place = Place(
                    base=base.absolute(), points=points, dimension=arguments.dimension, quantize=quantize
                )
                if arguments.steps:
                    _measure(place, arguments, stored)
                if arguments.folder is None:
                    shutil.rmtree(place.folder, ignore_errors=True)
    if arguments.plot is not None:
        draw_growth(stored, arguments.plot)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--dimension", type=int, choices=list(NETWORKS), default=512)
    parser.add_argument("--quantize", type=VectorQuantization, nargs="+", default=[VectorQuantization.NONE])
    parser.add_argument("--steps", nargs="*", choices=list(STEPS), default=list(STEPS)[:DEFAULT_STEPS])
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--again", action="store_true", help="also measure steps whose figures are stored")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep collections there for further runs")
    parser.add_argument("--output", type=Path, metavar="JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a file that ends in .svg or .png")
    return parser.parse_args()


def _measure(place: Place, arguments: argparse.Namespace, stored: dict[str, Figures]) -> None:
    """Measures the steps of a case, and stores the figures after each."""
    figures = stored.setdefault(place.name, {})
    for step in arguments.steps:
        is_made = step not in MAKING or (place.folder / f"{step}.done").exists()
        if step in figures and is_made and not arguments.again:
            print(f"{place.name}: {step} is in {arguments.output.name}", flush=True)
            continue
        _require_room(place)
        load = os.getloadavg()[0]
        found, usage = STEPS[step](place, arguments.queries)
        if step in MAKING:
            (place.folder / f"{step}.done").touch()
        figures[step] = {**found, **_shown(usage), "load_before": round(load, 1)}
        print(f"{place.name}: {step:9} {json.dumps(figures[step])}", flush=True)
        write_results(arguments.output, {"cases": stored})


def _read_cases(output: Path | None) -> dict[str, Figures]:
    if output is None or not output.exists():
        return {}
    cases: dict[str, Figures] = json.loads(output.read_text(encoding="utf-8"))["cases"]
    return cases


def _require_room(place: Place) -> None:
    """Ends the program if the disk has no room for vectors, payloads, logs and a second copy of them."""
    place.base.mkdir(parents=True, exist_ok=True)
    needed = 2.5 * place.points * (4 * place.dimension + 1_500) + 2 * GB
    free = shutil.disk_usage(place.base).free + (folder_bytes(place.folder) if place.folder.exists() else 0)
    if free < needed:
        sys.exit(
            f"{place.base} has {free / GB:.0f} GB free, and {place.name} takes up to {needed / GB:.0f} GB; "
            "name another folder with --folder, or fewer points with --points"
        )


def _shown(usage: Usage) -> Figures:
    return {
        "process_s": round(usage.seconds, 2),
        "cpu_s": round(usage.cpu_s, 1),
        "anonymous_mb": round(usage.anonymous / 1e6),
        **({"disk_peak_mb": round(usage.disk / 1e6)} if usage.disk else {}),
    }


Step = Callable[[Place, int], tuple[Figures, Usage]]


def write(place: Place, queries: int) -> tuple[Figures, Usage]:  # noqa: ARG001 - as the other steps
    """Makes the files, if they are missing, and writes the points."""
    (place.folder / "index.done").unlink(missing_ok=True)
    found, usage = run_function(fill, place, disk=place.folder)
    return {**found, "disk_mb": round(folder_bytes(place.settings.qdrant_dir) / 1e6)}, usage


def index(place: Place, queries: int) -> tuple[Figures, Usage]:  # noqa: ARG001
    """Builds the index."""
    found, usage = run_function(build_index, place, disk=place.folder)
    return {**found, "disk_mb": round(folder_bytes(place.settings.qdrant_dir) / 1e6)}, usage


def cold(place: Place, queries: int) -> tuple[Figures, Usage]:  # noqa: ARG001
    """Runs `search query` once with dropped files, then a few times; the memory is that of the last run."""
    image = str(next(place.photos.rglob("*.jpg")))
    command = [program("search"), "query", image, "--collection", place.collection]
    _run(place, command)  # its graph is cached from then on
    dropped = _drop_files(place.settings.qdrant_dir)
    _, first = _run(place, command)
    rounds = [_run(place, command)[1] for _ in range(QUICK_RUNS)]
    seconds = sorted(usage.seconds for usage in rounds)
    figures = {
        "seconds": round(seconds[QUICK_RUNS // 2], 2),
        "rounds_s": [round(each, 2) for each in seconds],
        "after_dropping_files_s": round(first.seconds, 2) if dropped else None,
    }
    return figures, rounds[-1]


def warm(place: Place, queries: int) -> tuple[Figures, Usage]:
    """Queries the open collection."""
    run_function(find_tenths, place, queries)
    return run_function(measure_warm, place, queries)


def filtered(place: Place, queries: int) -> tuple[Figures, Usage]:
    """Queries the open collection with filters."""
    run_function(find_tenths, place, queries)
    return run_function(measure_filtered, place, queries)


def evaluate(place: Place, queries: int) -> tuple[Figures, Usage]:
    """Evaluates a sample of the images as queries among all."""
    words = ["--queries", str(queries), "--indexed", "--json", "--collection", place.collection]
    out, usage = _run(place, [program("search"), "evaluate", *words])
    said = json.loads(out)
    return {"seconds": round(usage.seconds, 1), "indexed": said.get("indexed")}, usage


def ingest(place: Place, queries: int) -> tuple[Figures, Usage]:  # noqa: ARG001
    """Ingests the unchanged folder three times, and a folder of few files; figures are of the best rounds."""
    few = place.few
    if not (few.folder / "index.done").exists():
        for step in MAKING:
            STEPS[step](few, 0)
            (few.folder / f"{step}.done").touch()
    rounds = {each.points: [_ingest(each) for _ in range(3)] for each in (few, place)}
    small, large = (min(rounds[each.points], key=lambda usage: usage.seconds) for each in (few, place))
    above = large.anonymous - small.anonymous
    figures = {
        "seconds": round(large.seconds, 2),
        "files_per_second": round(place.points / large.seconds),
        "of_few_s": round(small.seconds, 2),
        "bytes_per_file": round(above / max(1, place.points - FEW)),
    }
    return figures, large


def _ingest(place: Place) -> Usage:
    words = [str(place.photos), "--dataset", "photos", "--json", *place.model_words]
    out, usage = _run(place, [program("ingest"), "run", *words])
    unchanged = json.loads(out)["collections"][0]["unchanged"]
    if unchanged != place.points:
        raise RuntimeError(f"{unchanged} of {place.points} files were unchanged")
    return usage


def run_other(words: list[str], place: Place, queries: int) -> tuple[Figures, Usage]:  # noqa: ARG001
    """Runs a command on the collection."""
    name, *rest = words
    collection = [] if words[:2] == ["ingest", "status"] else ["--collection", place.collection]
    _, usage = _run(place, [program(name), *rest, *collection])
    return {"seconds": round(usage.seconds, 2)}, usage


def _run(place: Place, command: list[str]) -> tuple[str, Usage]:
    os.environ["LOOKALIKE_HOME"] = str(place.settings.home)
    return run_command(command)


def _drop_files(folder: Path) -> bool:
    """Drops the files' pages from the system's cache; returns False where they are in memory or cannot be."""
    if not hasattr(os, "posix_fadvise") or folder.is_relative_to("/dev/shm"):  # noqa: S108 - is not written to
        return False
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            opened = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(opened)
    return True


STEPS: dict[str, Step] = {
    "write": write,
    "index": index,
    "cold": cold,
    "warm": warm,
    "filtered": filtered,
    "evaluate": evaluate,
    "ingest": ingest,
    "status": partial(run_other, ["ingest", "status", "--json"]),
    "audit": partial(run_other, ["search", "audit", "--json"]),
    "duplicates": partial(run_other, ["search", "duplicates", "--json"]),
    "neighbours": partial(run_other, ["search", "neighbours", "--json"]),
    "map": partial(run_other, ["search", "map", "--json"]),
}
DEFAULT_STEPS = 8
"""The first so many are measured unless others are named."""

MAKING = ("write", "index")
"""Steps whose results later ones use."""


if __name__ == "__main__":
    main()

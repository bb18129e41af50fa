"""Measures how soon `ingest watch` makes a new image searchable, and whether its memory stays the same.

    python benchmarks/watch.py PHOTOS [--images 100] [--rounds 9] [--runs 300] [--output JSON] -- OPTIONS...

OPTIONS are those of `ingest watch`, such as `--backbone vgg --weights vgg16_imagenet_notop.h5`. A watch is
started on a folder with so many of the photos, in a store of its own. In each round another photo is
written beside the folder and renamed into it. Measured from the rename: when the watch says that it is
added, and when a `search query` that is started then, as a process, has found it. Then so many runs follow,
each of which adds or removes an image, without the two quiet seconds, in this process: its resident memory
is read after each. CPU times are those of the watch alone.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.embedders import Embedders
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from lookalike_ingest.watching.schedule import WatchTiming
from lookalike_ingest.watching.watch import WatchedFolders, watch_folders
from machine import describe, write_results

TIMEOUT_S = 300
PAUSE_S = 4.0
"""Between two rounds, so that each begins with nothing to do."""
SETTLED_AFTER = 50
"""Runs until memory is compared: the session's arenas grow with the first images."""


def main() -> None:
    """Prints what it measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--output", type=Path, metavar="JSON")
    words = sys.argv[1:]
    place = words.index("--") if "--" in words else len(words)
    arguments, options = parser.parse_args(words[:place]), words[place + 1 :]
    print(describe())
    photos = sorted(arguments.photos.rglob("*.jpg"))
    photos = photos[:: max(1, len(photos) // (arguments.images + arguments.rounds + 1))]
    results: dict[str, Any] = {"load_average": os.getloadavg()}
    with tempfile.TemporaryDirectory() as place_of_all:
        work = Path(place_of_all)
        shown, new = photos[: arguments.images], photos[arguments.images :][: arguments.rounds]
        if new:
            results["rounds"] = measure_rounds(work / "rounds", shown, new, options)
        if arguments.runs:
            results["memory"] = measure_memory(work / "runs", shown, arguments.runs, options)
    results["load_average_after"] = os.getloadavg()
    write_results(arguments.output, results)


def measure_rounds(
    work: Path, shown: Sequence[Path], new: Sequence[Path], options: Sequence[str]
) -> list[dict[str, float]]:
    """Returns the times of each round, and prints their medians."""
    folder = fill(work, shown)
    store = f"embedded:{work / 'store'}"
    rounds = []
    with running(folder, store, work, options) as (process, log):
        for number, photo in enumerate(new):
            time.sleep(PAUSE_S)
            shutil.copy(photo, work / photo.name)
            before_s, began = cpu_s(process.pid), time.monotonic()
            (work / photo.name).rename(folder / photo.name)
            wait_for(log, "1 added", number + 1, process)
            added_s = time.monotonic() - began
            found = find(folder / photo.name, store)
            found_s = time.monotonic() - began
            if found != photo.name:
                sys.exit(f"{photo.name} was not found, but {found}")
            spent_s = cpu_s(process.pid) - before_s
            rounds.append({"added_s": added_s, "found_s": found_s, "watch_cpu_s": spent_s})
            print(f"added after {added_s:.2f} s, found after {found_s:.2f} s, {spent_s:.2f} s of CPU")
        idle_from_s, idle_s = cpu_s(process.pid), 30
        time.sleep(idle_s)
        print(f"idle: {(cpu_s(process.pid) - idle_from_s) / idle_s:.2%} of a CPU")
    for name in ("added_s", "found_s", "watch_cpu_s"):
        times = [each[name] for each in rounds]
        print(f"{name}: median {statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})")
    return rounds


def measure_memory(work: Path, shown: Sequence[Path], runs: int, options: Sequence[str]) -> list[float]:
    """Returns the resident memory in MB after each of so many runs in this process, and prints some."""
    folder = fill(work, shown)
    extra = itertools.cycle(shown)
    memory = []
    for report in itertools.islice(in_process(folder, work / "store", options), runs + 1):
        memory.append(resident_mb())
        if len(memory) % SETTLED_AFTER == 0 or len(memory) == runs + 1:
            counts = dict(report.collections[0].counts)
            print(f"after {len(memory) - 1} runs: {memory[-1]:.1f} MB ({counts})")
        if (copy := folder / "new.jpg").exists():
            copy.unlink()
        else:
            copy.write_bytes(next(extra).read_bytes() + bytes([len(memory) % 256, len(memory) // 256]))
    print(f"growth from run {SETTLED_AFTER} on: {memory[-1] - memory[min(SETTLED_AFTER, runs)]:+.1f} MB")
    return memory


def in_process(folder: Path, place: Path, options: Sequence[str]) -> Iterator[IngestReport]:
    """Yields the report of each run of a watch that waits for no quiet."""
    values = dict(zip(options[::2], options[1::2], strict=True))
    spec = ModelSpec.of(values["--backbone"], weights=values["--weights"], layer=values.get("--layer"))
    request = IngestRequest(
        dataset=Dataset(name="photos", root=folder), specs=[spec], distances=[Distance.COSINE], prune=True
    )
    settings, store = Settings.from_environment(), EmbeddedStore(place)
    embedders = Embedders(settings)

    def ingest(_: Path) -> IngestReport:
        return run_ingest(request, store=store, settings=settings, stop=StopRequest(), embedders=embedders)

    watched = WatchedFolders(
        roots=[folder],
        ingest=ingest,
        rules_of=lambda report: report.dataset.rules,
        is_stopped=lambda: False,
        is_local=True,
        timing=WatchTiming(quiet_s=0, under_load_s=0),
    )
    for run in watch_folders(watched):
        [one] = run.folders
        if one.report is None:
            sys.exit(one.problem)
        yield one.report


def fill(work: Path, shown: Sequence[Path]) -> Path:
    """Returns a new folder with these photos."""
    folder = work / "photos"
    folder.mkdir(parents=True)
    for photo in shown:
        shutil.copy(photo, folder / f"{photo.parent.name}-{photo.name}")
    return folder


@contextmanager
def running(
    folder: Path, store: str, work: Path, options: Sequence[str]
) -> "Iterator[tuple[subprocess.Popen[bytes], Path]]":
    """Yields a watch whose first run has ended, and the file of its messages."""
    log = work / "log"
    command = [Path(sys.executable).parent / "ingest", "watch", folder, "--store", store, *options]
    with log.open("wb") as stderr, subprocess.Popen(command, stderr=stderr) as process:
        try:
            wait_for(log, "watching", 1, process)
            yield process, log
        finally:
            process.terminate()


def wait_for(log: Path, text: str, count: int, process: "subprocess.Popen[bytes]") -> None:
    """Waits until so many lines contain a text."""
    until = time.monotonic() + TIMEOUT_S
    while sum(text in line for line in log.read_text().splitlines()) < count:
        if process.poll() is not None or time.monotonic() > until:
            sys.exit(log.read_text())
        time.sleep(0.02)


def find(image: Path, store: str) -> str:
    """Returns the path of the best hit of a search for an image, by a process."""
    command = [Path(sys.executable).parent / "search", "query", image, "--store", store]
    words = [*command, "--include-self", "--limit", "1", "--json"]
    done = subprocess.run(words, capture_output=True, check=True)
    path: str = json.loads(done.stdout)["hits"][0]["path"]
    return path


def cpu_s(pid: int) -> float:
    """Returns the CPU time of a process with its threads, in seconds; Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb() -> float:
    """Returns the resident memory of this process; Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()

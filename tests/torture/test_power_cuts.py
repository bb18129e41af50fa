"""Tests power cuts during an ingest: the next one completes the collection, whatever reached the disk.

The file system is in a file, mounted through a loop device. All processes that use it are stopped, and the
file is copied: the copy has what is on the disk at a power cut, without unwritten data. It is mounted, its
journal is replayed, and the same command is run there.

Where no loop device is allowed, the order of writes is traced instead.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.stores.embedded import EmbeddedStore

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs loop devices, or strace")

VICTIM = Path(__file__).with_name("victim.py")
DEVICE_MB = 700
"""Bytes of the disk: the engine's files are sparse, but it needs 128 MB free to write."""

INDEX_ABOVE_KB = 8
"""An index threshold so low that every ingest of thirty vectors of 64 values builds the index."""

IMAGES = 36
BATCH = 4
VECTOR_TOLERANCE = 1e-5
"""Tolerance of vectors, whose last bits depend on the other images of the batch."""

COMMIT_S = (1, 300)
"""Seconds between commits of the journal: one also writes unsynced data, the other never comes."""

CUTS_PER_TRAP = 3
INGEST = ("export", "create", "upsert", "flush", "index", "mark", "leave", "manifest")
REBUILD = ("upsert", "flush", "replace", "finish", "manifest")
IN_SHORT = {("ingest", "leave", 1)}
LONGEST_WAIT_S = {"export": 0.1, "index": 0.3, "upsert": 0.2}
"""Longest delay of a cut after the beginning of a call; most other calls take less than 50 ms."""


@dataclass(slots=True, kw_only=True)
class Disk:
    """An ext4 file system in `file`, mounted at `place`; copies of it are mounted beside."""

    file: Path
    place: Path
    commit_s: int
    numbers: Iterator[int] = field(default_factory=count)

    def cut(self) -> Path:
        """Returns a copy of what is on the disk now; processes that write to it must be stopped."""
        if self.commit_s < 10:
            time.sleep(1.5 * self.commit_s)
        copy = self.file.with_name(f"cut-{next(self.numbers)}")
        subprocess.run(["cp", "--sparse=always", self.file, copy], check=True)  # noqa: S607
        return copy


@contextmanager
def mount(file: Path, place: Path, *options: str) -> Iterator[None]:
    """Mounts a file system in a file for the length of a block; skips where mounting is not allowed."""
    place.mkdir()
    words = ["mount", "-o", ",".join(["loop", *options]), file, place]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this user may not mount a file system: {done.stderr.strip()}")
    try:
        yield
    finally:
        if subprocess.run(["umount", place], check=False).returncode:  # noqa: S607
            # if it is still in use, it would break later test runs
            subprocess.run(["umount", "--lazy", place], check=True)  # noqa: S607
        place.rmdir()


@pytest.fixture
def make_disk(tmp_path: Path) -> Callable[[int], Any]:
    """Returns a function that makes a disk with a journal commit interval."""

    @contextmanager
    def make(commit_s: int) -> Iterator[Disk]:
        file = tmp_path / "disk"
        with file.open("wb") as empty:
            empty.truncate(DEVICE_MB * 2**20)
        if shutil.which("mkfs.ext4") is None:
            pytest.skip("mkfs.ext4 is not installed")
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", file], check=True)  # noqa: S607
        with mount(file, tmp_path / "mounted", f"commit={commit_s}"):
            yield Disk(file=file, place=tmp_path / "mounted", commit_s=commit_s)
        file.unlink()

    return make


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A folder of images, the collection of an undisturbed ingest, and the home that it leaves."""

    folder: Path
    environment: Mapping[str, str]
    weights: Path
    expected: Mapping[str, tuple[dict[str, Any], np.ndarray]]
    name: str

    def start(self, command: str, home: Path, **config: Any) -> subprocess.Popen[bytes]:
        """Starts an ingest or a rebuild of the images, in its own process group."""
        config |= {"index_above_kb": INDEX_ABOVE_KB}
        model = ["--backbone", "vgg", "--layer", "block1_conv1", "--weights", str(self.weights)]
        words = {
            "ingest": ["run", str(self.folder / "images"), *model],
            "rebuild": ["rebuild", self.name],
        }[command]
        batches = ["--batch-size", str(BATCH), "--json"]
        return subprocess.Popen(
            [sys.executable, VICTIM, json.dumps(config), "ingest", *words, *batches],
            env={**self.environment, "LOOKALIKE_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[config["fd"]] if "fd" in config else (),
            start_new_session=True,
        )

    def run_to_end(self, home: Path) -> dict[str, Any]:
        """Runs an ingest to its end; returns its report."""
        process = self.start("ingest", home)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        report: dict[str, Any] = json.loads(out)
        return report


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory,
    make_shell: Callable[[Path], Any],
    draw: Callable[..., list[Path]],
    tiny_weights: Path,
) -> Bench:
    """Runs an undisturbed ingest."""
    folder = tmp_path_factory.mktemp("power")
    draw(folder / "images", *(f"{'abc'[number % 3]}/{number:02}.png" for number in range(IMAGES)))
    environment = make_shell(folder).environment
    first = Bench(folder=folder, environment=environment, weights=tiny_weights, expected={}, name="")
    first.run_to_end(folder / "home")
    (name,) = EmbeddedStore(folder / "home/qdrant").names()
    expected = stored_points(folder / "home")
    return Bench(folder=folder, environment=environment, weights=tiny_weights, expected=expected, name=name)


def stored_points(home: Path) -> dict[str, tuple[dict[str, Any], np.ndarray]]:
    """Returns every point of the only collection by its id, without the time of its making."""
    store = EmbeddedStore(home / "qdrant")
    (name,) = store.names()
    with store.open(name) as collection:
        payloads = {payload.id: asdict(payload) | {"ingested_at": ""} for payload in collection.scan()}
        vectors = collection.vectors(list(payloads))
        assert collection.count() == len(payloads) == len(vectors)
    return {point: (payload, vectors[point]) for point, payload in payloads.items()}


def make_cuts(
    disk: Disk, bench: Bench, command: str, trap: str, chance: random.Random, number: int
) -> Iterator[Path]:
    """Yields copies of the disk: at a call, at random intervals after it, and after the end."""
    ours, theirs = os.pipe()
    process = bench.start(command, disk.place / "home", trap=trap, nth=1, fd=theirs, stands_still=True)
    os.close(theirs)
    said = os.read(ours, 16)
    os.close(ours)
    wait_s = LONGEST_WAIT_S.get(trap, 0.05)
    try:
        if said:
            wait_until_stopped(process)
        for attempt in range(number if said else 0):
            time.sleep(chance.uniform(0, wait_s) if attempt else 0)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGSTOP)
                wait_until_still(process.pid)
                yield disk.cut()
                os.killpg(process.pid, signal.SIGCONT)
        _, err = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 0, err.decode()
    yield disk.cut()


def wait_until_stopped(process: "subprocess.Popen[bytes]") -> None:
    """Waits until the process has stopped itself; an earlier SIGCONT would be lost."""
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)


def wait_until_still(group: int) -> None:
    """Waits until no thread of the process group is inside a system call."""
    end = time.monotonic() + 60
    while {"T", "Z"} < states_of(group) | {"T", "Z"}:
        assert time.monotonic() < end, "it does not stop"
        time.sleep(0.005)


def states_of(group: int) -> set[str]:
    """Returns the state of each thread of each process of a group."""
    states = set()
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(file.read_text().rpartition(")")[2].split()[2]) == group:
                states |= {
                    task.read_text().rpartition(")")[2].split()[0] for task in file.parent.glob("task/*/stat")
                }
    return states


@pytest.mark.parametrize("commit_s", COMMIT_S)
@pytest.mark.parametrize(
    ("command", "trap"), [*(("ingest", trap) for trap in INGEST), *(("rebuild", trap) for trap in REBUILD)]
)
def test_the_ingest_after_a_power_cut_has_every_point(
    bench: Bench,
    make_disk: Callable[[int], Any],
    tmp_path: Path,
    ledger: Any,
    full_length: bool,
    command: str,
    trap: str,
    commit_s: int,
) -> None:
    """What a command reported as done is still there after a later cut."""
    if not full_length and (command, trap, commit_s) not in IN_SHORT:
        pytest.skip("run at full length only: make torture")
    chance = random.Random(f"{command} {trap} {commit_s}")  # noqa: S311 - repeatable, not secret
    row = f"power cut of {'an ingest' if command == 'ingest' else 'a rebuild'}: {trap}"
    with make_disk(commit_s) as disk:
        if command == "rebuild":
            words = ["cp", "--archive", "--sparse=always", bench.folder / "home", disk.place / "home"]
            subprocess.run(words, check=True)
            subprocess.run(["sync", "--file-system", disk.place], check=True)  # noqa: S607
        number = CUTS_PER_TRAP if full_length else 1
        cuts = list(make_cuts(disk, bench, command, trap, chance, number))
    for cut in cuts:
        with mount(cut, tmp_path / "after"):
            report = bench.run_to_end(tmp_path / "after/home")["collections"][0]
            found = stored_points(tmp_path / "after/home")
            again = bench.run_to_end(tmp_path / "after/home")["collections"][0]
        lost = len(bench.expected.keys() - found.keys())
        ledger.add(row, 1, lost)
        assert not lost
        assert_equal(found, bench.expected)
        assert again["unchanged"] == IMAGES
        if cut == cuts[-1]:
            assert report["unchanged"] == IMAGES
        cut.unlink()


def assert_equal(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Asserts equal ids, payloads and vectors."""
    assert found.keys() == expected.keys()
    for point, (payload, vector) in expected.items():
        assert found[point][0] == payload
        np.testing.assert_allclose(found[point][1], vector, atol=VECTOR_TOLERANCE)


def test_points_are_synced_before_the_list_that_names_them(bench: Bench, tmp_path: Path) -> None:
    """System calls are in order: all files and folders of the shard, the list, then the mark."""
    calls = trace_calls(bench, tmp_path)
    collection = tmp_path / "home/qdrant" / bench.name
    mark = calls.index(("rename", collection / "points.listed"))
    before = calls[:mark]
    last = {path: number for number, (call, path) in enumerate(before) if call == "sync"}
    shard = [collection / "shard", *(collection / "shard").rglob("*")]
    assert all(last.get(path, -1) > last_change(before, collection / "shard") for path in shard)
    assert last[collection] > before.index(("rename", collection / "points.db"))
    assert ("sync", collection) in calls[mark:]


def last_change(calls: list[tuple[str, Path]], folder: Path) -> int:
    """Returns the index of the last call that renames something into a folder."""
    return max(n for n, (call, path) in enumerate(calls) if call == "rename" and folder in path.parents)


def trace_calls(bench: Bench, folder: Path) -> list[tuple[str, Path]]:
    """Returns the renames and syncs of an ingest, in order; skips where tracing is not allowed."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    log = folder / "calls"
    words = [
        "strace",
        "-f",
        "-y",
        "-qq",
        "-s",
        "4096",
        "-e",
        "trace=fsync,fdatasync,rename,renameat,renameat2",
        "-o",
        log,
    ]
    model = ["--backbone", "vgg", "--layer", "block1_conv1", "--weights", bench.weights]
    ingest = [Path(sys.executable).parent / "ingest", "run", bench.folder / "images", *model]
    environment = {**bench.environment, "LOOKALIKE_HOME": str(folder / "home")}
    done = subprocess.run([*words, *ingest], check=False, capture_output=True, text=True, env=environment)
    if "PTRACE" in done.stderr.upper():
        pytest.skip(f"this user may not trace processes: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return [call for line in log.read_text().splitlines() if (call := read_call(line)) is not None]


def read_call(line: str) -> tuple[str, Path] | None:
    """Parses one line of a trace: the call, and its file."""
    if (found := re.search(r"\b(?:fsync|fdatasync)\(\d+<(.+?)>", line)) is not None:
        return "sync", Path(found[1])
    if (found := re.search(r'\brename\w*\(.*"(.+?)"(?:, \w+)?\) = 0', line)) is not None:
        return "rename", Path(found[1])
    return None

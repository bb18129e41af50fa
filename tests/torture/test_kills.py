"""Tests `kill -9` during an ingest: the next run completes the same collection as an undisturbed run.

The ingest is a real process, the kill a real one from outside, at a random moment after the process said
that it had come to a certain call. Then the same command is run again.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.embedded import EmbeddedStore

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs SIGKILL, and cp for sparse files")

VICTIM = Path(__file__).with_name("victim.py")
INDEX_ABOVE_KB = 8
"""An index threshold below the 15 KB of sixty vectors of 64 values, so that every ingest builds the index."""

BATCH = 4
KILLS_PER_TRAP = 4
VECTOR_TOLERANCE = 1e-5
"""Tolerance of vectors, whose last bits depend on the other images of the batch."""

FRESH = ("download", "export", "manifest", "scan", "read", "embed", "create", "upsert", "index")
CHANGED = ("embed", "upsert", "payloads", "delete", "manifest")
IN_SHORT = {("fresh", "download"), ("fresh", "upsert"), ("fresh", "index"), ("changed", "delete")}
LONGEST_WAIT_S = {"download": 0.4, "export": 0.2, "index": 0.4, "create": 0.2}
"""Longest delay of a kill after the beginning of a call; most other calls take less than 50 ms."""


@dataclass(kw_only=True)
class Bench:
    """A folder of images before and after some changes, and homes that ingests start from."""

    folder: Path
    environment: Mapping[str, str]
    weights_url: str
    weights_md5: str
    calls: dict[str, dict[str, int]] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    """Phase -> number of points that its undisturbed run writes."""

    def run(self, work: Path, **config: Any) -> subprocess.Popen[bytes]:
        """Starts an ingest of `work/pictures` into `work/home`."""
        config |= {"index_above_kb": INDEX_ABOVE_KB, "url": self.weights_url, "md5": self.weights_md5}
        model = ["--backbone", "vgg", "--layer", "block1_conv1", "--batch-size", str(BATCH)]
        words = ["ingest", "run", "pictures", *model, "--prune", "--new-root", "--json"]
        return subprocess.Popen(
            [sys.executable, VICTIM, json.dumps(config), *words],
            cwd=work,
            env={**self.environment, "LOOKALIKE_HOME": str(work / "home"), "HOME": str(work)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[config["fd"]] if "fd" in config else (),
        )

    def run_to_end(self, work: Path, **config: Any) -> dict[str, Any]:
        """Runs an ingest to its end; returns its report."""
        process = self.run(work, **config)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        report: dict[str, Any] = json.loads(out)
        return report

    def prepare(self, work: Path, phase: str, images: str) -> Path:
        """Makes a working folder with a copy of the images and of the home that a phase starts from."""
        work.mkdir()
        shutil.copytree(self.folder / images, work / "pictures")
        if (self.folder / phase).exists():
            copy_home(self.folder / phase, work / "home")
        return work


@pytest.fixture(scope="module")
def slow_weights(tiny_weights: Path) -> Iterator[str]:
    """Serves the weights slowly over HTTP, so that a download can be killed."""
    data = tiny_weights.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            try:
                for start in range(0, len(data), 16_384):
                    self.wfile.write(data[start : start + 16_384])
                    time.sleep(0.01)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/weights.h5"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory,
    make_shell: Callable[[Path], Any],
    draw: Callable[..., list[Path]],
    slow_weights: str,
    tiny_weights: Path,
) -> Bench:
    """Runs both phases undisturbed: a first ingest, and one after changes of every kind."""
    folder = tmp_path_factory.mktemp("kills")
    bench = Bench(
        folder=folder,
        environment=make_shell(folder).environment,
        weights_url=slow_weights,
        weights_md5=hashlib.md5(tiny_weights.read_bytes(), usedforsecurity=False).hexdigest(),
    )
    draw(folder / "before", *(f"{'abc'[number % 3]}/{number:02}.png" for number in range(60)))
    shutil.copytree(folder / "before", folder / "after")
    change(folder / "after", draw)
    for number, file in enumerate(sorted(folder.rglob("*.png"))):
        moment = 1_600_000_000 + number
        os.utime(file, (moment, moment))
    for phase, images in (("fresh", "before"), ("changed", "after")):
        work = bench.prepare(folder / f"undisturbed-{phase}", phase, images)
        bench.written[phase] = count_written(bench.run_to_end(work, calls=str(work / "calls.json")))
        bench.calls[phase] = json.loads((work / "calls.json").read_text(encoding="utf-8"))
        if phase == "fresh":
            copy_home(work / "home", folder / "changed")
    return bench


def count_written(report: Mapping[str, Any]) -> int:
    """Returns the number of points that an ingest has written with their vectors."""
    counts = report["collections"][0]
    return int(counts["added"] + counts["updated"] + counts["moved"])


def change(root: Path, draw: Callable[..., list[Path]]) -> None:
    """Changes one image of each kind: other bytes, another place, another class, removed, a copy, new."""
    draw(root, *(f"a/{number:02}.png" for number in range(0, 18, 3)), seed=1)
    for number in range(18, 36, 3):
        (root / f"a/{number:02}.png").rename(root / f"b/moved-{number:02}.png")
    for number in range(1, 19, 3):
        (root / f"b/{number:02}.png").unlink()
    for number in range(2, 11, 3):
        shutil.copy(root / f"c/{number:02}.png", root / f"c/copy-{number:02}.png")
    draw(root, *(f"d/{number}.png" for number in range(6)))


def copy_home(source: Path, target: Path) -> None:
    """Copies a home; the engine's files are sparse, and stay so."""
    subprocess.run(["cp", "--archive", "--sparse=always", source, target], check=True)  # noqa: S607


def stored_points(home: Path) -> dict[str, tuple[dict[str, Any], np.ndarray]]:
    """Returns every point of the only collection by its id, without its times."""
    store = EmbeddedStore(home / "qdrant")
    if not store.names():
        return {}
    (name,) = store.names()
    with store.open(name) as collection:
        times = {"ingested_at": "", "ctime_ns": None}
        payloads = {payload.id: asdict(payload) | times for payload in collection.scan()}
        vectors = collection.vectors(list(payloads))
        assert collection.count() == len(payloads) == len(vectors)
    return {point: (payload, vectors[point]) for point, payload in payloads.items()}


def kill(bench: Bench, work: Path, trap: str, nth: int, delay_s: float) -> bool:
    """Starts an ingest and kills it `delay_s` after a call; returns whether it was still running."""
    ours, theirs = os.pipe()
    process = bench.run(work, trap=trap, nth=nth, fd=theirs, acknowledged=str(work / "acknowledged"))
    os.close(theirs)
    said = os.read(ours, 16)
    os.close(ours)
    time.sleep(delay_s if said else 0)
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGKILL), err.decode()
    return process.returncode != 0


@pytest.mark.parametrize(
    ("phase", "trap"), [*(("fresh", trap) for trap in FRESH), *(("changed", trap) for trap in CHANGED)]
)
def test_the_run_after_a_kill_completes_the_collection(
    bench: Bench,
    tmp_path: Path,
    ledger: Any,
    full_length: bool,
    phase: str,
    trap: str,
) -> None:
    """No acknowledged point is lost or doubled, and only the images in flight are embedded again."""
    if not full_length and (phase, trap) not in IN_SHORT:
        pytest.skip("run at full length only: make torture")
    chance = random.Random(f"{phase} {trap}")  # noqa: S311 - repeatable, not secret
    expected = stored_points(bench.folder / f"undisturbed-{phase}" / "home")
    kills, row = 0, f"kill -9 of an ingest, {phase}: {trap}"
    for attempt in range(3 * KILLS_PER_TRAP):
        work = bench.prepare(tmp_path / str(attempt), phase, "before" if phase == "fresh" else "after")
        nth = chance.randint(1, bench.calls[phase][trap])
        kills += kill(bench, work, trap, nth, chance.uniform(0, LONGEST_WAIT_S.get(trap, 0.05)))
        copy_home(work / "home", work / "seen")
        acknowledged = set((work / "acknowledged").read_text(encoding="utf-8").split())
        lost = acknowledged - stored_points(work / "seen").keys()
        report = bench.run_to_end(work)
        found = stored_points(work / "home")
        ledger.add(row, 0, len(lost) + len(expected.keys() - found.keys()))
        assert not lost
        assert_equal(found, expected)
        assert count_written(report) + len(acknowledged) <= bench.written[phase] + BATCH
        assert_tidy(work / "home")
        shutil.rmtree(work)
        if kills == (KILLS_PER_TRAP if full_length else 1):
            break
    ledger.add(row, kills, 0)
    assert kills == (KILLS_PER_TRAP if full_length else 1)


def assert_equal(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Asserts equal ids, payloads and vectors."""
    assert found.keys() == expected.keys()
    for point, (payload, vector) in expected.items():
        assert found[point][0] == payload
        np.testing.assert_allclose(found[point][1], vector, atol=VECTOR_TOLERANCE)


def assert_tidy(home: Path) -> None:
    """Asserts that no partial file is left, and no index is missing."""
    for folder in ("models", "weights", "qdrant"):
        assert not list((home / folder).glob(".*"))
    store = EmbeddedStore(home / "qdrant", tuning=EngineTuning(indexed_above_kb=INDEX_ABOVE_KB))
    (name,) = store.names()
    assert not list((home / "qdrant" / name).glob(".*"))
    with store.open(name) as collection:
        assert not collection.upkeep.needs_index()

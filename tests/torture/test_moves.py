"""Tests `kill -9` during copies, backups and restores: what was made is absent, resumable or whole.

Each is a real process, killed from outside at a random moment after a certain call. Then the same command is
run again.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.connection import connect
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.protocol import Store
from lookalike_ingest.backup import BackupError, check_backup
from lookalike_ingest.target import complete_written
from made_collections import manifest_of, point_of, random_vectors
from qdrant_stand_in import QdrantStandIn, running_stand_in

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs SIGKILL")

VICTIM = Path(__file__).with_name("victim.py")
COUNT, DIMENSION, BLOCK = 60, 64, 7
INDEX_ABOVE_KB = 8
KILLS_PER_TRAP = 4
LONGEST_WAIT_S = {"index": 0.3, "create copy": 0.2, "read backup": 0.01}
"""Longest delay of a kill after the beginning of a call; other calls take less than 50 ms."""

COPY = ("create copy", "upsert", "flush", "complete copy", "manifest", "index", "mark", "leave")
WITH_INDEX = ("copy file", "sync", "complete copy")
TO_SERVER = ("server upsert", "server complete copy")
BACKUP = ("back up file", "manifest")
RESTORE = ("read backup", "count restored", "sync", "leave")
TRAPS = [
    *(("copy", trap) for trap in COPY),
    *(("copy with its index", trap) for trap in WITH_INDEX),
    *(("copy to a server", trap) for trap in TO_SERVER),
    *(("backup", trap) for trap in BACKUP),
    *(("restore", trap) for trap in RESTORE[:3]),
]
IN_SHORT = {
    ("copy", "upsert"),
    ("copy with its index", "copy file"),
    ("copy", "complete copy"),
    ("restore", "sync"),
}

Content = tuple[dict[str, Any], dict[str, bytes], Any]


class Bench:
    """A collection with a calibration, its backup, and a stand-in for a server."""

    def __init__(self, folder: Path, environment: dict[str, str], server: QdrantStandIn) -> None:
        self.folder, self.environment, self.server = folder, environment, server
        self.name = ""
        self.sources = {"copy with its index": "indexed"}
        self.calls: dict[str, dict[str, int]] = {}

    def words(self, what: str, work: Path) -> list[str]:
        """Returns the command of a move, from the bench to a working folder."""
        here = ["--store", f"embedded:{self.folder / self.sources.get(what, 'here')}"]
        return {
            "copy": ["copy", self.name, *here, "--to", f"embedded:{work / 'there'}"],
            "copy with its index": ["copy", self.name, *here, "--to", f"embedded:{work / 'there'}"],
            "copy to a server": ["copy", self.name, *here, "--to", self.server.url],
            "backup": ["backup", self.name, str(work / "a.tar"), *here],
            "restore": ["restore", str(self.folder / "a.tar"), "--store", f"embedded:{work / 'there'}"],
        }[what]

    def start(self, what: str, work: Path, **config: Any) -> "subprocess.Popen[bytes]":
        """Starts a move."""
        config |= {"index_above_kb": INDEX_ABOVE_KB, "block": BLOCK}
        return subprocess.Popen(
            [sys.executable, VICTIM, json.dumps(config), "ingest", *self.words(what, work)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[config["fd"]] if "fd" in config else (),
        )

    def run(self, what: str, work: Path, **config: Any) -> tuple[int, str]:
        """Runs a move to its end; returns its exit code and stderr."""
        process = self.start(what, work, **config)
        _, err = process.communicate(timeout=120)
        return process.returncode, err.decode()

    def kill(self, what: str, work: Path, trap: str, nth: int, delay_s: float) -> bool:
        """Starts a move and kills it after a call; returns whether it was still running."""
        ours, theirs = os.pipe()
        process = self.start(what, work, trap=trap, nth=nth, fd=theirs)
        os.close(theirs)
        said = os.read(ours, 16)
        os.close(ours)
        time.sleep(delay_s if said else 0)
        process.send_signal(signal.SIGKILL)
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGKILL), err.decode()
        return process.returncode != 0


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, make_shell: Callable[[Path], Any], calibration: Calibration
) -> Iterator[Bench]:
    """Makes the collection and its backup, and runs each move once undisturbed."""
    folder = tmp_path_factory.mktemp("moves")
    with running_stand_in() as server:
        made = Bench(folder, make_shell(folder).environment, server)
        manifest = manifest_of(Distance.EUCLID, DIMENSION)
        made.name = manifest.collection
        fill(EmbeddedStore(folder / "here"), manifest, calibration)
        indexed = EmbeddedStore(folder / "indexed", tuning=EngineTuning(indexed_above_kb=INDEX_ABOVE_KB))
        fill(indexed, manifest, calibration)
        with indexed.open(made.name) as collection:
            complete_written(collection)
        for what in ("backup", "copy", "copy with its index", "copy to a server", "restore"):
            work = folder / f"undisturbed {what}"
            work.mkdir()
            code, err = made.run(what, work, calls=str(work / "calls.json"))
            assert code == 0, err
            made.calls[what] = json.loads((work / "calls.json").read_text(encoding="utf-8"))
            if what == "backup":
                (work / "a.tar").rename(folder / "a.tar")
        server.client.delete_collection(made.name)
        yield made


def fill(store: Store, manifest: CollectionManifest, calibration: Calibration) -> None:
    """Makes the collection, with a calibration."""
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        vectors = random_vectors(COUNT, DIMENSION)
        collection.upsert([point_of(f"{number}.png", vector) for number, vector in enumerate(vectors)])
        collection.record_calibration(replace(calibration, revision=collection.mark_revision()))


def content(store: Store, name: str) -> Content:
    """Returns payloads, vectors and the manifest of a collection."""
    with store.open(name) as collection:
        payloads = {payload.id: payload for payload in collection.scan()}
        vectors = {point: vector.tobytes() for point, vector in collection.vectors(list(payloads)).items()}
        return payloads, vectors, collection.manifest


@pytest.mark.parametrize(("what", "trap"), TRAPS)
def test_a_killed_move_leaves_nothing_or_what_is_continued(
    bench: Bench, tmp_path: Path, ledger: Any, full_length: bool, what: str, trap: str
) -> None:
    """Never a collection with a part of the points, nor a file with a part of a backup."""
    if not full_length and (what, trap) not in IN_SHORT:
        pytest.skip("run at full length only: make torture")
    chance = random.Random(f"{what} {trap}")  # noqa: S311 - repeatable, not secret
    source = content(EmbeddedStore(bench.folder / bench.sources.get(what, "here")), bench.name)
    wanted, kills, row = (KILLS_PER_TRAP if full_length else 1), 0, f"kill -9 of a {what}: {trap}"
    for attempt in range(3 * KILLS_PER_TRAP):
        work = tmp_path / str(attempt)
        work.mkdir()
        nth = chance.randint(1, bench.calls[what][trap])
        kills += bench.kill(what, work, trap, nth, chance.uniform(0, LONGEST_WAIT_S.get(trap, 0.05)))
        is_sound = is_absent_resumable_or_whole(bench, what, work, source)
        code, err = bench.run(what, work)
        is_complete = code == 0 or (what == "restore" and code == 6 and "already" in err)
        is_equal = is_complete and is_whole(bench, what, work, source)
        ledger.add(row, 0, int(not is_sound) + int(not is_equal))
        assert (is_sound, is_equal) == (True, True), err
        assert not [path for path in work.glob("there/.*") if path.is_dir()]
        if what == "copy to a server":
            bench.server.client.delete_collection(bench.name)
        if kills == wanted:
            break
    ledger.add(row, kills, 0)
    assert kills == wanted


def is_absent_resumable_or_whole(bench: Bench, what: str, work: Path, source: Content) -> bool:
    """Returns whether a killed move has left one of the three."""
    if what == "backup":
        return not (work / "a.tar").exists() or is_whole(bench, what, work, source)
    store = (
        EmbeddedStore(work / "there")
        if what != "copy to a server"
        else connect(bench.server.url, api_key=None)
    )
    if bench.name not in store.names() or store.find_copy(bench.name) is not None:
        return True
    return content(store, bench.name) == source


def is_whole(bench: Bench, what: str, work: Path, source: Content) -> bool:
    """Returns whether a move has made all of what it is to make."""
    if what == "backup":
        try:
            return check_backup(work / "a.tar").points == COUNT
        except BackupError:
            return False
    if what == "copy to a server":
        return content(connect(bench.server.url, api_key=None), bench.name) == source
    return content(EmbeddedStore(work / "there"), bench.name) == source


def test_ctrl_c_leaves_a_copy_that_is_continued(bench: Bench, tmp_path: Path) -> None:
    """Exit code 130, and a line that says so; the next run writes what is missing."""
    ours, theirs = os.pipe()
    process = bench.start("copy", tmp_path, trap="upsert", nth=3, fd=theirs)
    os.close(theirs)
    assert os.read(ours, 16)
    os.close(ours)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err.decode()
    assert "interrupted; run the same command again to continue" in err.decode()
    assert EmbeddedStore(tmp_path / "there").find_copy(bench.name) is not None
    code, said = bench.run("copy", tmp_path)
    assert (code, "continuing the copy of" in said) == (0, True)
    assert is_whole(bench, "copy", tmp_path, content(EmbeddedStore(bench.folder / "here"), bench.name))

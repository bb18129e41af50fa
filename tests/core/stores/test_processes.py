"""Two processes with one collection, and the state after one of them is killed.

Both need storage that outlives a process: the embedded store's folder, or a real server at `QDRANT_URL`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import lookalike_core
import pytest
from lookalike_core.errors import StoreLockedError
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.open_store import open_store
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.protocol import Store

QDRANT_URL = os.environ.get("QDRANT_URL")

NewManifest = Callable[..., CollectionManifest]
NewPoint = Callable[..., ImagePoint]

HOLD = """
with open_store(sys.argv[1], Settings.from_environment()).open(sys.argv[2]):
    print("open", flush=True)
    sys.stdin.read()
"""

WRITE = """
import itertools
from dataclasses import replace
from lookalike_core.stores.points import ImagePoint
store = open_store(sys.argv[1], Settings.from_environment())
with store.open(sys.argv[2]) as collection:
    template = next(collection.scan())
    for batch in itertools.count(1):
        rows = [replace(template, path=f"{batch}/{row}.jpg") for row in range(20)]
        vectors = [np.array([batch, row, 0, 1], dtype=np.float32) for row in range(20)]
        collection.upsert([ImagePoint(payload=p, vector=v) for p, v in zip(rows, vectors, strict=True)])
        print(batch, flush=True)
"""

PREAMBLE = """
import sys
import numpy as np
from lookalike_core.settings import Settings
from lookalike_core.stores.open_store import open_store
"""


@pytest.fixture(
    params=[
        "embedded",
        pytest.param(
            "server",
            marks=pytest.mark.skipif(
                not QDRANT_URL, reason="needs a server that outlives its clients: set QDRANT_URL to one"
            ),
        ),
    ]
)
def named(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Returns the value of `--store` that reaches the store from any process."""
    return f"embedded:{tmp_path / 'qdrant'}" if request.param == "embedded" else str(QDRANT_URL)


@pytest.fixture
def store(named: str) -> Iterator[Store]:
    """Yields the store in this process."""
    one = open_store(named, Settings.from_environment())
    yield one
    one.close()


@pytest.fixture
def name(store: Store, manifest_of: NewManifest, point_of: NewPoint) -> Iterator[str]:
    """Returns the name of a collection with one point."""
    manifest = manifest_of()
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        collection.upsert([point_of("first.jpg", [1, 2, 3, 4])])
    yield manifest.collection
    store.delete(manifest.collection)


@contextmanager
def child(program: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Yields another process that runs a program, with its stdout; it is killed after the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(lookalike_core.__file__).parents[1])},
    )
    with process:
        try:
            yield process, cast("IO[str]", process.stdout)
        finally:
            process.kill()


def test_two_processes_open_one_collection(named: str, store: Store, name: str) -> None:
    """The second waits for the embedded store and reports the first; a server serves both."""
    with child(HOLD, named, name) as (holder, said):
        assert said.readline() == "open\n"
        if not isinstance(store, EmbeddedStore):
            with store.open(name) as collection:
                assert collection.count() == 1
            return
        impatient = EmbeddedStore(store.directory, lock_timeout_s=0.2)
        for action in (impatient.open, impatient.delete):
            with pytest.raises(StoreLockedError, match=rf"process {holder.pid} .*waited 0\.2 s") as caught:
                action(name)
            assert caught.value.exit_code == 7
        assert store.manifest(name).collection == name
        holder.communicate("")
        with store.open(name) as collection:
            assert collection.count() == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_acknowledged_points_survive_a_kill(named: str, store: Store, name: str) -> None:
    """After `kill -9` during writes, every upsert that returned is stored and the lock is free."""
    with child(WRITE, named, name) as (writer, said):
        acknowledged = [int(said.readline()) for _ in range(15)][-1]
        writer.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, said.read().split())])
    expected = {f"{batch}/{row}.jpg" for batch in range(1, acknowledged + 1) for row in range(20)}
    with store.open(name) as collection:
        payloads = {payload.path: payload for payload in collection.scan()}
        assert expected <= payloads.keys()
        assert len(collection.vectors([payload.id for payload in payloads.values()])) == len(payloads)
        assert collection.count() == len(payloads)

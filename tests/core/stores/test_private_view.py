"""A read-only collection is opened by a private view, which is removed afterwards."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lookalike_core import locks
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import StoreError, StoreLockedError
from lookalike_core.hints import Action, Hint
from lookalike_core.stores import private_view
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, VectorQuantization
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.private_view import PrivateView
from lookalike_core.stores.sparse_files import copy_sparse
from read_only import read_contents, read_only

NewManifest = Callable[..., CollectionManifest]
NewPoint = Callable[..., ImagePoint]
RandomVectors = Callable[[int, int], list[FloatVector]]

POINTS = 300
DIMENSION = 256


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a temporary folder of the test's own, to detect what is left in it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    """Returns a store with a lock timeout of zero."""
    tuning = EngineTuning(indexed_above_kb=100)
    return EmbeddedStore(tmp_path / "qdrant", lock_timeout_s=0.2, tuning=tuning)


@pytest.fixture
def vectors(random_vectors: RandomVectors) -> list[FloatVector]:
    """Returns the vectors of the points of `fill`."""
    return random_vectors(POINTS, DIMENSION)


@pytest.fixture
def fill(
    store: EmbeddedStore, manifest_of: NewManifest, point_of: NewPoint, vectors: list[FloatVector]
) -> Callable[..., str]:
    """Creates a collection of the points; returns its name."""

    def make(quantization: VectorQuantization = VectorQuantization.NONE, *, indexed: bool = False) -> str:
        manifest = replace(manifest_of(Distance.COSINE, DIMENSION), vector_quantization=quantization)
        store.create(manifest)
        with store.open(manifest.collection) as collection:
            collection.upsert([point_of(f"{row}.jpg", vector) for row, vector in enumerate(vectors)])
            if indexed:
                collection.upkeep.build_index(lambda: None)
                assert not collection.upkeep.needs_index()
        return manifest.collection

    return make


@pytest.mark.parametrize("quantization", VectorQuantization)
@pytest.mark.parametrize("indexed", [False, True])
def test_a_read_only_collection_can_be_searched_and_is_not_changed(
    store: EmbeddedStore,
    fill: Callable[..., str],
    vectors: list[FloatVector],
    temporary: Path,
    quantization: VectorQuantization,
    indexed: bool,
) -> None:
    """With and without an index and quantization, no byte changes and nothing is left behind."""
    name = fill(quantization, indexed=indexed)
    with store.open(name) as collection:
        before = [collection.query(vector, limit=5) for vector in vectors[:3]]
    files = read_contents(store.directory)
    with read_only(store.directory):
        with store.open(name) as collection:
            assert [collection.query(vector, limit=5) for vector in vectors[:3]] == before
            assert (collection.name, collection.count()) == (name, POINTS)
            assert collection.tally("dataset") == {"data": POINTS}
            ids = [hit.payload.id for hit in before[0]]
            unit = vectors[0] / np.linalg.norm(vectors[0])
            np.testing.assert_allclose(collection.vectors(ids)[ids[0]], unit, atol=1e-6)
            assert list(temporary.iterdir()) != []
        assert read_contents(store.directory) == files
    assert list(temporary.iterdir()) == []


def test_vectors_of_an_index_are_linked_and_not_copied(
    store: EmbeddedStore, fill: Callable[..., str]
) -> None:
    """They are nearly all of the size of a large collection."""
    view = PrivateView(store.directory / fill(indexed=True) / "shard")
    try:
        (matrix,) = view.shard.rglob("matrix.dat")
        assert matrix.is_symlink()
        assert matrix.stat().st_size >= POINTS * DIMENSION * 4
    finally:
        view.release()


def test_a_view_copies_sparse_files_without_their_holes(
    store: EmbeddedStore, fill: Callable[..., str]
) -> None:
    """The engine's files are many times as large as their data."""
    shard = store.directory / fill() / "shard"
    if not hasattr(os, "SEEK_DATA"):
        pytest.skip("this system does not say where files have holes")
    view = PrivateView(shard)
    try:
        sizes = sum(path.stat().st_size for path in shard.rglob("*") if path.is_file())
        assert POINTS * DIMENSION * 4 < view.copied_bytes < sizes / 2
        assert {name: sha256 for name, (sha256, _) in read_contents(view.shard).items()} == {
            name: sha256 for name, (sha256, _) in read_contents(shard).items()
        }
    finally:
        view.release()


def test_writes_to_a_read_only_collection_are_refused(
    store: EmbeddedStore, fill: Callable[..., str], manifest_of: NewManifest, point_of: NewPoint
) -> None:
    """A view refuses points, payloads, datasets and the index; the store refuses before any work."""
    name = fill()
    folder = store.directory / name
    with read_only(store.directory):
        with store.open(name) as collection:
            point = point_of("new.jpg", np.ones(DIMENSION, dtype=np.float32))
            for write in (
                lambda: collection.upsert([point]),
                lambda: collection.replace_payloads([point.payload]),
                lambda: collection.delete([point.payload.id]),
                lambda: collection.record_dataset("more", "/more"),
                collection.mark_revision,
                lambda: collection.upkeep.build_index(lambda: None),
                collection.upkeep.validate_cache,
            ):
                with pytest.raises(StoreError, match=r"is read-only \(.+\)") as caught:
                    write()
                assert (caught.value.path, caught.value.hint) == (folder, Hint(Action.CHANGE_FOLDER))
            assert collection.count() == POINTS
        for refused in (
            store.local.require_writable,
            lambda: store.local.require_writable(name),
            lambda: store.create(manifest_of(Distance.EUCLID)),
            lambda: store.delete(name),
        ):
            with pytest.raises(StoreError, match="is read-only") as caught:
                refused()
            assert (caught.value.path, caught.value.exit_code) == (store.directory, 5)
    store.local.require_writable(name)


def test_a_view_waits_for_a_writer_and_names_it(store: EmbeddedStore, fill: Callable[..., str]) -> None:
    """The lock can be seen though not acquired; once the writer ends, the collection opens."""
    name = fill()
    with store.open(name), read_only(store.directory):
        with pytest.raises(StoreLockedError, match=rf"process {os.getpid()} ") as caught:
            store.open(name)
        assert caught.value.path == store.directory / name
    with read_only(store.directory), store.open(name) as one, store.open(name) as other:
        assert one.count() == other.count() == POINTS


def test_a_view_of_changing_files_is_refused(
    store: EmbeddedStore, fill: Callable[..., str], temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer holds no lock visible here; a mix of old and new files would be corrupt."""
    shard = store.directory / fill() / "shard"

    def copy(source: Path, target: Path) -> int:
        with (shard / "written-elsewhere").open("ab") as file:
            file.write(b"x")
        return copy_sparse(source, target)

    monkeypatch.setattr(private_view, "copy_sparse", copy)
    with pytest.raises(StoreLockedError, match="is being written to by another machine") as caught:
        PrivateView(shard)
    assert (caught.value.path, caught.value.hint) == (shard.parent, Hint(Action.REPEAT))
    assert list(temporary.iterdir()) == []


def test_a_shard_that_cannot_be_loaded_leaves_no_view(
    store: EmbeddedStore, fill: Callable[..., str], temporary: Path
) -> None:
    """The original is damaged, and is not changed."""
    name = fill()
    for file in (store.directory / name / "shard").rglob("segment.json"):
        file.write_text("{")
    with read_only(store.directory), pytest.raises(StoreError, match="damaged"):
        store.open(name)
    assert list(temporary.iterdir()) == []


def test_too_little_room_for_a_view_is_an_error_that_names_tmpdir(
    store: EmbeddedStore, fill: Callable[..., str], temporary: Path
) -> None:
    """No other temporary folder can be used either."""
    shard = store.directory / fill() / "shard"
    temporary.rmdir()
    with pytest.raises(StoreError, match=r"copied to .*temporary, which failed .*TMPDIR") as caught:
        PrivateView(shard)
    assert caught.value.path == temporary


HOLD = """
import sys, tempfile
from pathlib import Path
from lookalike_core.stores.private_view import PrivateView
tempfile.tempdir = sys.argv[2]
view = PrivateView(Path(sys.argv[1]))
print("made", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def viewer(
    store: EmbeddedStore, fill: Callable[..., str], temporary: Path
) -> Iterator[subprocess.Popen[str]]:
    """Starts a process that has made a view some time ago."""
    words = [sys.executable, "-c", HOLD, str(store.directory / fill() / "shard"), str(temporary)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "made\n"
    (folder,) = temporary.iterdir()
    os.utime(folder, (0, 0))
    yield process
    process.kill()
    process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_views_of_killed_processes_are_removed(
    store: EmbeddedStore, viewer: subprocess.Popen[str], temporary: Path
) -> None:
    """The lock inside a view decides; a new folder without a lock may be one being made."""
    (name,) = store.names()
    (left_over,), shard = temporary.iterdir(), store.directory / name / "shard"
    new = temporary / "lookalike-view-new"
    new.mkdir()
    PrivateView(shard).release()
    assert left_over.is_dir()
    viewer.send_signal(signal.SIGKILL)
    viewer.communicate()
    os.utime(left_over, (0, 0))
    PrivateView(shard).release()
    assert list(temporary.iterdir()) == [new]


@pytest.mark.skipif(os.name == "nt", reason="there a lock cannot be looked at without taking it")
def test_an_ingest_under_way_is_seen_in_a_read_only_store(store: EmbeddedStore) -> None:
    """The lock can be seen while the ingest holds it; of two ingests the first is reported."""
    assert store.local.ingest_under_way() is None
    with store.local.ingesting():
        said = store.local.ingest_under_way()
        assert said is not None
        assert said.startswith(f"process {os.getpid()} ")
        with store.local.ingesting():
            pass
        with read_only(store.directory):
            assert EmbeddedStore(store.directory).local.ingest_under_way() == said
    assert store.local.ingest_under_way() is None
    assert locks.find_holder(store.directory, "never-locked") is None


ASK = """
import os, resource, sys, tempfile
from pathlib import Path
import filelock, qdrant_edge
from lookalike_core.errors import StoreError
from lookalike_core.stores.embedded import EmbeddedStore
tempfile.tempdir = sys.argv[2]
os.setgid(65534)
os.setuid(65534)  # only now: this Python may lie where another user may not look
store = EmbeddedStore(Path(sys.argv[1]))
[name] = store.names()
with store.open(name) as collection:
    print(collection.count())
try:
    store.local.require_writable(name)
except StoreError as error:
    print(error)
"""


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only the superuser can be somebody else")
def test_another_user_can_search_a_collection(store: EmbeddedStore, fill: Callable[..., str]) -> None:
    """File permissions forbid writing, although the disk is writable."""
    fill()
    with tempfile.TemporaryDirectory(dir=system_temporary()) as place:
        folder = shutil.copytree(store.directory, Path(place) / "qdrant")
        subprocess.run(["chmod", "-R", "u+rwX,go+rX,go-w", place], check=True)  # noqa: S607
        files = read_contents(folder)
        words = [sys.executable, "-c", ASK, str(folder), system_temporary()]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.split("\n")[0]) == (0, str(POINTS)), done.stderr
        assert "is read-only (Permission denied)" in done.stdout
        assert read_contents(folder) == files


def system_temporary() -> str:
    """Returns a folder that every user may read, unlike the tests' own folders."""
    return "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()  # noqa: S108

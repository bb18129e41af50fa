"""Snapshots of collections: a process that only reads keeps nobody from writing."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import CollectionMissingError, StoreError, StoreLockedError
from lookalike_core.stores.cache_mark import fingerprint
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.snapshots import open_snapshot, read_version
from made_collections import store_of

NewManifest = Callable[..., CollectionManifest]
NewPoint = Callable[..., ImagePoint]
Write = Callable[[EmbeddedCollection], object]

POINTS = 300
DIMENSION = 256


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a temporary folder of the test's own, to detect what is left in it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def store(tmp_path: Path, temporary: Path) -> EmbeddedStore:
    """Returns a store whose collections soon have an index, and whose locks are not waited for."""
    return EmbeddedStore(tmp_path / "qdrant", lock_timeout_s=0, tuning=EngineTuning(indexed_above_kb=100))


@pytest.fixture
def vectors(random_vectors: Callable[[int, int], list[FloatVector]]) -> list[FloatVector]:
    """Returns the vectors of the points of `filled`."""
    return random_vectors(POINTS, DIMENSION)


@pytest.fixture
def filled(
    store: EmbeddedStore, manifest_of: NewManifest, point_of: NewPoint, vectors: list[FloatVector]
) -> str:
    """Creates a collection of the points with an index; returns its name."""
    manifest = manifest_of(Distance.COSINE, DIMENSION)
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        collection.upsert([point_of(f"{row}.jpg", vector) for row, vector in enumerate(vectors)])
        collection.upkeep.build_index(lambda: None)
    return manifest.collection


def test_a_snapshot_answers_as_before_while_the_collection_is_written_to_and_deleted(
    store: EmbeddedStore, filled: str, vectors: list[FloatVector], point_of: NewPoint, temporary: Path
) -> None:
    """Its linked files are those that the engine has open, whatever becomes of the collection's folder."""
    with open_snapshot(store, filled) as snapshot:
        before = [snapshot.query(vector, limit=5) for vector in vectors[:5]]
        ids = [hit.payload.id for hit in before[0]]
        with store.open(filled) as collection:
            collection.upsert([point_of(f"new-{row}.jpg", vector) for row, vector in enumerate(vectors)])
            collection.delete(ids)
            collection.upkeep.build_index(lambda: None)
        assert [snapshot.query(vector, limit=5) for vector in vectors[:5]] == before
        with pytest.raises(StoreError, match="can only be searched"):
            snapshot.delete(ids)
        store.delete(filled)
        assert [snapshot.query(vector, limit=5, exact=True) for vector in vectors[:5]] == before
        assert snapshot.count() == POINTS
        assert snapshot.vectors(ids).keys() == set(ids)
    assert list(temporary.iterdir()) == []


def test_another_process_writes_while_a_snapshot_is_open(store: EmbeddedStore, filled: str) -> None:
    """The lock of the collection is free, for processes and not only for this one."""
    code = """
import sys
from pathlib import Path
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.embedded_collection import EmbeddedCollection
with EmbeddedStore(Path(sys.argv[1]), lock_timeout_s=0).open(sys.argv[2]) as collection:
    collection.delete([payload.id for payload in collection.scan()][:100])
"""
    with open_snapshot(store, filled) as snapshot:
        before = read_version(store, filled)
        subprocess.run([sys.executable, "-c", code, store.directory, filled], check=True, timeout=60)
        assert snapshot.count() == POINTS
        assert read_version(store, filled) != before
    with open_snapshot(store, filled) as snapshot:
        assert snapshot.count() == POINTS - 100


def test_closing_a_snapshot_keeps_the_mark_of_a_later_ingest(
    store: EmbeddedStore, filled: str, point_of: NewPoint, vectors: list[FloatVector]
) -> None:
    """Otherwise the collection would seem to have more points than its last ingest left: damage."""
    with store.open(filled) as collection:
        collection.upkeep.cache_file.touch()
        collection.upkeep.validate_cache()
    with open_snapshot(store, filled), store.open(filled) as collection:
        collection.upsert([point_of("new.jpg", vectors[0])])
        collection.upkeep.validate_cache()
    with store.open(filled) as collection:
        assert collection.upkeep.is_cache_valid
        assert collection.count() == POINTS + 1


def test_the_version_changes_with_points_and_manifest_and_not_by_reading(
    store: EmbeddedStore, filled: str
) -> None:
    """A server would take a new snapshot for nothing otherwise, or miss a change."""
    first = read_version(store, filled)
    with open_snapshot(store, filled) as snapshot:
        snapshot.query(np.ones(DIMENSION, dtype=np.float32), limit=3)
    assert read_version(store, filled) == first != ""
    with store.open(filled) as collection:
        collection.record_dataset("more", "/more")
    assert read_version(store, filled) != first


@pytest.mark.parametrize("last_write", ["upsert", "build_index"])
def test_the_version_stays_when_a_command_reads(
    store: EmbeddedStore, filled: str, vectors: list[FloatVector], point_of: NewPoint, last_write: str
) -> None:
    """It opens the collection itself, in whose segments the engine then changes files, most for the first."""
    with store.open(filled) as collection:
        collection.upsert([point_of(f"new-{row}.jpg", vector) for row, vector in enumerate(vectors)])
        if last_write == "build_index":
            collection.upkeep.build_index(lambda: None)
    first = read_version(store, filled)
    shard = store.directory / filled / "shard"
    files = fingerprint([shard])
    for _ in range(2):
        with store.open(filled) as collection:
            ids = [payload.id for payload in collection.scan()]
            assert len(collection.vectors(ids)) == len(ids) == collection.count() == 2 * POINTS
            collection.query(vectors[0], limit=3)
            collection.tally("class")
    assert fingerprint([shard]) != files
    assert read_version(store, filled) == first != ""


def test_the_version_changes_with_every_kind_of_write(
    store: EmbeddedStore, filled: str, vectors: list[FloatVector], point_of: NewPoint
) -> None:
    """The same point again is a write, too; the same manifest again is none."""
    same, new = ([point_of(f"{row}.jpg", vectors[row % POINTS])] for row in (0, POINTS))
    more = [point_of(f"more-{row}.jpg", vector) for row, vector in enumerate(vectors)]
    writes: list[Write] = [
        lambda collection: collection.upsert(same),
        lambda collection: collection.upsert(new),
        lambda collection: collection.replace_payloads([same[0].payload]),
        lambda collection: collection.delete([new[0].payload.id]),
        lambda collection: collection.upsert(more),
        lambda collection: collection.upkeep.build_index(lambda: None),
        lambda collection: collection.mark_revision(),
        lambda collection: collection.record_dataset("more", "/more"),
        lambda collection: collection.forget_dataset("more"),
    ]
    seen = [read_version(store, filled)]
    for write in writes:
        with store.open(filled) as collection:
            write(collection)
        seen.append(read_version(store, filled))
    assert all(one != other for one, other in pairwise(seen))
    for _ in range(2):
        with store.open(filled) as collection:
            collection.record_dataset("more", "/more")
        seen.append(read_version(store, filled))
    assert seen[-1] == seen[-2] != seen[-3]


def test_a_collection_that_is_written_to_is_locked(store: EmbeddedStore, filled: str) -> None:
    """The message names who writes."""
    with store.open(filled), pytest.raises(StoreLockedError) as caught:
        open_snapshot(store, filled, timeout_s=0)
    assert caught.value.holder is not None


def test_a_missing_collection_has_no_version_and_no_snapshot(store: EmbeddedStore) -> None:
    """As when it was deleted in the meantime."""
    assert read_version(store, "vgg16-cosine") == ""
    with pytest.raises(CollectionMissingError):
        open_snapshot(store, "vgg16-cosine")


def test_a_collection_of_a_server_is_opened_itself(
    tmp_path: Path, manifest_of: NewManifest, point_of: NewPoint
) -> None:
    """Its points are current; its version is that of its manifest."""
    with store_of("server-stand-in", tmp_path) as server:
        manifest = replace(manifest_of(Distance.COSINE, 2))
        server.create(manifest)
        name = manifest.collection
        with open_snapshot(server, name) as snapshot:
            first = read_version(server, name)
            with server.open(name) as other:
                other.upsert([point_of("a.jpg", np.ones(2, dtype=np.float32))])
                assert snapshot.count() == 1
                other.record_dataset("more", "/more")
            assert read_version(server, name) not in (first, "")
        server.delete(name)
        assert read_version(server, name) == ""

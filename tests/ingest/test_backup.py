"""Backing collections up and restoring them, on both stores; a server's snapshots are those of a stand-in."""

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_proxy import before_answer, running_proxy
from lookalike_core.errors import ManifestError, StoreError, StoreLockedError, UsageError
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.settings import Settings
from lookalike_core.stores import backup_file
from lookalike_core.stores.backup_file import BackupError, BackupFile
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.collection_names import staged_name
from lookalike_core.stores.connection import connect
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import Payload
from lookalike_core.stores.server import ServerStore
from lookalike_core.stores.server_snapshots import ServerSnapshots
from lookalike_core.stores.shared import SharedStore
from lookalike_ingest.backup import back_up, check_backup, restore
from lookalike_ingest.integrity.faults import Fault
from lookalike_ingest.integrity.point_list import PointList
from made_collections import manifest_of, point_of, random_vectors
from qdrant_stand_in import QdrantStandIn, running_stand_in
from quick_retries import QUICK_RETRIES
from read_only import read_only

COUNT, DIMENSION = 30, 16


@pytest.fixture
def here(tmp_path: Path) -> EmbeddedStore:
    """Returns an embedded store, which indexes each collection."""
    return EmbeddedStore(tmp_path / "here", tuning=EngineTuning(indexed_above_kb=1))


@pytest.fixture
def there(tmp_path: Path) -> EmbeddedStore:
    """Returns another one."""
    return EmbeddedStore(tmp_path / "there")


def fill(store: Any, calibration: Calibration | None = None, distance: Distance = Distance.EUCLID) -> str:
    """Makes a collection; returns its name."""
    manifest = manifest_of(distance, DIMENSION)
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        vectors = random_vectors(COUNT, DIMENSION)
        collection.upsert([point_of(f"ö/{n}.png", vector) for n, vector in enumerate(vectors)])
        if collection.upkeep is not None:
            collection.upkeep.build_index(lambda: None)
        if calibration is not None:
            collection.record_calibration(replace(calibration, revision=collection.mark_revision()))
    return manifest.collection


def content(store: Any, name: str) -> tuple[dict[str, Payload], dict[str, bytes], Any]:
    """Returns payloads, vectors and the manifest of a collection."""
    with store.open(name) as collection:
        payloads = {payload.id: payload for payload in collection.scan()}
        vectors = {point: vector.tobytes() for point, vector in collection.vectors(list(payloads)).items()}
        return payloads, vectors, (collection.manifest, collection.manifest.revision)


def test_a_restored_collection_is_the_one_that_was_backed_up(
    here: EmbeddedStore, there: EmbeddedStore, tmp_path: Path, home: Settings, calibration: Calibration
) -> None:
    """Points, vectors to the byte, manifest, calibration and index; it can be written to."""
    name = fill(here, calibration)
    made = back_up(name, tmp_path / "a.tar", store=here, settings=home)
    assert (made.points, made.head) == (COUNT, None)
    assert made.bytes == (tmp_path / "a.tar").stat().st_size < 2**21
    checked = check_backup(tmp_path / "a.tar")
    assert (checked.name, checked.points, checked.store) == (name, COUNT, None)
    restored = restore(tmp_path / "a.tar", store=there, settings=home)
    assert (restored.name, restored.points, restored.store) == (name, COUNT, there.label)
    assert content(there, name) == content(here, name)
    with there.open(name) as collection:
        assert collection.indexed_count() == COUNT
        assert collection.upkeep.is_cache_valid
        assert collection.upkeep.points_before == COUNT
        collection.upsert([point_of("new.png", np.ones(DIMENSION))])
        assert collection.count() == COUNT + 1
    files = {path.name for path in (there.directory / name).iterdir()}
    assert files == {"manifest.json", "shard", "points.db"}


def test_the_list_of_a_restored_collection_is_verified(
    here: EmbeddedStore, there: EmbeddedStore, tmp_path: Path, home: Settings, calibration: Calibration
) -> None:
    """A point that is lost after the restore is named, as after an ingest."""
    name = fill(here, calibration)
    back_up(name, tmp_path / "a.tar", store=here, settings=home)
    restore(tmp_path / "a.tar", store=there, settings=home)
    with there.open(name) as collection:
        listed = PointList.open_beside(collection, lambda: True)
        assert listed is not None
        lost, *kept = collection.scan()
        for payload in kept:
            assert listed.compare(payload, payload.id) == []
        collection.delete([lost.id])
        [finding] = listed.find_lost(collection)
        assert (finding.path, finding.fault) == (lost.path, Fault.STORE_DAMAGED)
        listed.close()


def test_a_backup_replaces_an_earlier_one_and_nothing_else(
    here: EmbeddedStore, tmp_path: Path, home: Settings
) -> None:
    """Another file, a folder and a place in the store are refused before the collection is read."""
    name = fill(here)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "folder").mkdir()
    inside = here.directory / name / "a.tar"
    for path in (tmp_path / "notes.txt", tmp_path / "folder", inside, here.directory / "a.tar"):
        with pytest.raises(UsageError):
            back_up(name, path, store=here, settings=home)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    for _ in range(2):
        back_up(name, tmp_path / "a.tar", store=here, settings=home)
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar", "notes.txt", "folder", "here"}


def test_an_existing_collection_is_not_replaced(here: EmbeddedStore, tmp_path: Path, home: Settings) -> None:
    """Not by its own backup, and not while it is an unfinished copy."""
    name = fill(here)
    back_up(name, tmp_path / "a.tar", store=here, settings=home)
    there = EmbeddedStore(tmp_path / "there")
    there.create_copy(here.manifest(name), name=name, source="origin")
    for store in (here, there):
        with pytest.raises(ManifestError, match="already; it was not changed"):
            restore(tmp_path / "a.tar", store=store, settings=home)


@pytest.mark.parametrize("fault", ["cut", "flipped", "foreign", "empty"])
def test_a_damaged_backup_leaves_nothing_behind(
    here: EmbeddedStore, there: EmbeddedStore, tmp_path: Path, home: Settings, fault: str
) -> None:
    """Nor does a check find it sound."""
    name = fill(here)
    path = tmp_path / "a.tar"
    back_up(name, path, store=here, settings=home)
    data = path.read_bytes()
    vectors = data.index(random_vectors(COUNT, DIMENSION)[0].tobytes())
    faulty = {
        "cut": data[: len(data) // 2],
        "flipped": data[:vectors] + bytes([data[vectors] ^ 1]) + data[vectors + 1 :],
        "foreign": b"PK\3\4" + bytes(1_000),
        "empty": b"",
    }[fault]
    path.write_bytes(faulty)
    with pytest.raises(BackupError):
        check_backup(path)
    with pytest.raises(BackupError):
        restore(path, store=there, settings=home)
    assert there.names() == []
    assert [entry.name for entry in there.directory.glob("*") if entry.is_dir()] == []


def test_a_backup_with_another_number_of_points_is_refused(
    here: EmbeddedStore, there: EmbeddedStore, tmp_path: Path, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shard is loaded before the collection appears."""
    name = fill(here)
    with monkeypatch.context() as patch:
        patch.setattr(backup_file.BackupList, "to_bytes", _with_more_points(backup_file.BackupList.to_bytes))
        back_up(name, tmp_path / "a.tar", store=here, settings=home)
    with pytest.raises(BackupError, match=f"has {COUNT} points of {name}, and lists {COUNT + 1}"):
        restore(tmp_path / "a.tar", store=there, settings=home)
    assert there.names() == []


def _with_more_points(to_bytes: Any) -> Any:
    return lambda self: to_bytes(replace(self, points=self.points + 1))


def _refuse(*_words: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_earlier_backup(
    here: EmbeddedStore, tmp_path: Path, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no partial file."""
    name = fill(here)
    back_up(name, tmp_path / "a.tar", store=here, settings=home)
    before = (tmp_path / "a.tar").read_bytes()
    monkeypatch.setattr(backup_file, "_add", _refuse)
    with pytest.raises(OSError, match="No space left"):
        back_up(name, tmp_path / "a.tar", store=here, settings=home)
    assert (tmp_path / "a.tar").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar", "here"}


def test_a_full_disk_leaves_no_part_of_a_collection(
    here: EmbeddedStore, there: EmbeddedStore, tmp_path: Path, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hidden folder is removed, and the same restore succeeds later."""
    name = fill(here)
    back_up(name, tmp_path / "a.tar", store=here, settings=home)
    with monkeypatch.context() as patch:
        patch.setattr(backup_file, "_hash", _refuse)
        with pytest.raises(OSError, match="No space left"):
            restore(tmp_path / "a.tar", store=there, settings=home)
    assert [entry.name for entry in there.directory.glob("*") if entry.is_dir()] == []
    assert restore(tmp_path / "a.tar", store=there, settings=home).points == COUNT


def test_a_collection_in_use_is_not_backed_up(tmp_path: Path, home: Settings) -> None:
    """Its files would be of different times."""
    here = EmbeddedStore(tmp_path / "here", lock_timeout_s=0.05)
    name = fill(here)
    with here.open(name), pytest.raises(StoreLockedError):
        back_up(name, tmp_path / "a.tar", store=here, settings=home)
    assert not (tmp_path / "a.tar").exists()


def test_a_read_only_collection_is_backed_up(here: EmbeddedStore, tmp_path: Path, home: Settings) -> None:
    """Its own files are read, though it is opened by a private view."""
    name = fill(here)
    with read_only(here.directory):
        back_up(name, tmp_path / "a.tar", store=here, settings=home)
    assert restore(tmp_path / "a.tar", store=EmbeddedStore(tmp_path / "there"), settings=home).points == COUNT


def test_a_rebuilt_collection_is_restored_under_its_name(
    here: EmbeddedStore, there: EmbeddedStore, tmp_path: Path, home: Settings
) -> None:
    """The manifest of one that has replaced another by a rename names the staged one."""
    manifest = manifest_of(Distance.EUCLID, DIMENSION)
    here.create(manifest, name=staged_name(manifest.collection))
    with pytest.raises(ManifestError, match="is the unfinished rebuild of"):
        back_up(staged_name(manifest.collection), tmp_path / "a.tar", store=here, settings=home)
    here.replace(manifest.collection)
    back_up(manifest.collection, tmp_path / "a.tar", store=here, settings=home)
    assert restore(tmp_path / "a.tar", store=there, settings=home).name == manifest.collection
    assert there.names() == [manifest.collection]


def test_an_open_collection_of_a_program_is_backed_up(
    here: EmbeddedStore, tmp_path: Path, home: Settings
) -> None:
    """A shared store has it open; its points are on the disk before they are read."""
    name = fill(here)
    shared = SharedStore(here)
    with shared.open(name) as collection:
        collection.upsert([point_of("new.png", np.ones(DIMENSION))])
        made = back_up(name, tmp_path / "a.tar", store=shared, settings=home)
        assert made.points == collection.count() == COUNT + 1
    shared.close()
    there = EmbeddedStore(tmp_path / "there")
    assert restore(tmp_path / "a.tar", store=there, settings=home).points == COUNT + 1


@pytest.fixture
def server() -> Iterator[tuple[ServerStore, QdrantStandIn]]:
    """Yields a store on a stand-in for a server, whose snapshots are not Qdrant's."""
    with running_stand_in(api_key="key") as one:
        store = connect(one.url, api_key="key", tuning=QUICK_RETRIES)
        yield store, one
        store.close()


@pytest.mark.parametrize("gives_checksums", [True, False])
def test_a_server_s_collection_is_restored_from_its_snapshot(
    server: tuple[ServerStore, QdrantStandIn],
    tmp_path: Path,
    home: Settings,
    calibration: Calibration,
    gives_checksums: bool,
) -> None:
    """The server's own snapshot is removed again; the key is sent with each request."""
    store, one = server
    one.snapshots.gives_checksums = gives_checksums
    name = fill(store, calibration)
    before = content(store, name)
    made = back_up(name, tmp_path / "a.tar", store=store, settings=home)
    assert (made.points, made.kind) == (COUNT, "server")
    assert one.snapshots.kept == {}
    assert check_backup(tmp_path / "a.tar").points == COUNT
    with pytest.raises(ManifestError, match="already; it was not changed"):
        restore(tmp_path / "a.tar", store=store, settings=home)
    store.delete(name)
    assert restore(tmp_path / "a.tar", store=store, settings=home).points == COUNT
    assert one.snapshots.kept == {}
    assert content(store, name) == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar"}


def test_a_snapshot_that_arrives_damaged_is_no_backup(
    server: tuple[ServerStore, QdrantStandIn], tmp_path: Path, home: Settings
) -> None:
    """By the server's own checksum; its snapshot is removed anyway."""
    store, one = server
    one.snapshots.damages = True
    name = fill(store)
    with pytest.raises(StoreError, match="arrived damaged"):
        back_up(name, tmp_path / "a.tar", store=store, settings=home)
    assert (one.snapshots.kept, list(tmp_path.iterdir())) == ({}, [])


def test_a_collection_that_the_server_makes_wrong_is_removed(
    server: tuple[ServerStore, QdrantStandIn], tmp_path: Path, home: Settings
) -> None:
    """The number of points is compared after the upload."""
    store, one = server
    name = fill(store)
    back_up(name, tmp_path / "a.tar", store=store, settings=home)
    store.delete(name)
    one.snapshots.loses_points = True
    with pytest.raises(StoreError, match=f"made 0 of {COUNT} points of {name}, which was removed again"):
        restore(tmp_path / "a.tar", store=store, settings=home)
    assert (store.names(), one.snapshots.kept) == ([], {})


@pytest.mark.parametrize("writes", [2, 3])
def test_a_snapshot_is_made_again_if_the_collection_changes_meanwhile(
    server: tuple[ServerStore, QdrantStandIn], tmp_path: Path, home: Settings, writes: int
) -> None:
    """A server has no lock: what a backup lists must be what is in it, or it could not be restored."""
    one = server[1]
    name, vectors = fill(server[0]), random_vectors(3, DIMENSION)

    def write(number: int) -> None:
        with server[0].open(name) as collection:
            collection.upsert([point_of(f"late/{number}.png", vectors[number])])

    with running_proxy(("127.0.0.1", one.port)) as proxy:
        writing = [before_answer(partial(write, number)) for number in range(writes)]
        proxy.plan(r"POST /collections/[^/]+/snapshots\b", *writing)
        store = connect(proxy.url, api_key="key", tuning=QUICK_RETRIES)
        if writes == 3:
            with pytest.raises(StoreError, match=f"other processes keep writing to {name}"):
                back_up(name, tmp_path / "a.tar", store=store, settings=home)
            assert (one.snapshots.kept, list(tmp_path.iterdir())) == ({}, [])
        else:
            assert back_up(name, tmp_path / "a.tar", store=store, settings=home).points == COUNT + writes
            before = content(store, name)
            store.delete(name)
            restore(tmp_path / "a.tar", store=store, settings=home)
            assert content(store, name) == before
        store.close()


def test_a_backup_that_was_made_while_others_wrote_is_restored(
    server: tuple[ServerStore, QdrantStandIn], tmp_path: Path, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an earlier version, which counted first: the snapshot has what was written after that."""
    store, _ = server
    name = fill(store)
    with store.open(name) as collection:
        said = (collection.manifest, COUNT - 1)
        collection.record_dataset("more", "/more")
    with monkeypatch.context() as patched:
        patched.setattr(ServerSnapshots, "_look_into", lambda *_: said)
        assert back_up(name, tmp_path / "a.tar", store=store, settings=home).points == COUNT - 1
    before = content(store, name)
    store.delete(name)
    restore(tmp_path / "a.tar", store=store, settings=home)
    assert content(store, name) == before


def test_a_replica_that_missed_writes_is_not_backed_up(
    server: tuple[ServerStore, QdrantStandIn], tmp_path: Path, home: Settings
) -> None:
    """Qdrant makes a snapshot of it like of any other."""
    store, one = server
    name = fill(store)
    one.peers, one.dead = [1, 2], {1}
    with pytest.raises(StoreError, match=r"shard 0 of .* is Dead on the node .*former points"):
        back_up(name, tmp_path / "a.tar", store=store, settings=home)


def test_a_collection_on_several_nodes_is_not_backed_up(
    server: tuple[ServerStore, QdrantStandIn], tmp_path: Path, home: Settings
) -> None:
    """A snapshot would lack the shards of the others, and a restored one would be on one node."""
    store, one = server
    name = fill(store)
    one.remote_shards = [0]
    back_up(name, tmp_path / "a.tar", store=store, settings=home)  # a replica of a shard that is here, too
    one.remote_shards = [1, 2]
    with pytest.raises(StoreError, match=r"other nodes of .* hold 2 shards of .*; copy the collection"):
        back_up(name, tmp_path / "b.tar", store=store, settings=home)
    store.delete(name)
    one.peers = [1, 2, 3]
    with pytest.raises(StoreError, match="is a cluster of 3 nodes"):
        restore(tmp_path / "a.tar", store=store, settings=home)
    assert store.names() == []


def test_a_backup_is_restored_to_its_kind_of_store(
    server: tuple[ServerStore, QdrantStandIn], here: EmbeddedStore, tmp_path: Path, home: Settings
) -> None:
    """The files of the engine and a server's snapshot are no points that another store takes."""
    back_up(fill(server[0]), tmp_path / "server.tar", store=server[0], settings=home)
    back_up(fill(here), tmp_path / "embedded.tar", store=here, settings=home)
    for path, store in (("server.tar", here), ("embedded.tar", server[0])):
        with pytest.raises(UsageError, match="another kind of store; restore it to its own kind, and copy"):
            restore(tmp_path / path, store=store, settings=home)


def test_an_interrupted_restore_is_repeated(
    here: EmbeddedStore, there: EmbeddedStore, tmp_path: Path, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C removes what was extracted."""
    name = fill(here)
    back_up(name, tmp_path / "a.tar", store=here, settings=home)

    def interrupt(*_words: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BackupFile, "_read_member", interrupt)
        with pytest.raises(KeyboardInterrupt):
            restore(tmp_path / "a.tar", store=there, settings=home)
    assert there.names() == []
    restore(tmp_path / "a.tar", store=there, settings=home)
    assert content(there, name) == content(here, name)


def test_points_keep_their_vectors_whatever_the_distance(
    here: EmbeddedStore, there: EmbeddedStore, tmp_path: Path, home: Settings
) -> None:
    """A backup is the files themselves, so cosine vectors are the same bytes too."""
    name = fill(here, distance=Distance.COSINE)
    back_up(name, tmp_path / "a.tar", store=here, settings=home)
    restore(tmp_path / "a.tar", store=there, settings=home)
    assert content(there, name)[1] == content(here, name)[1]

"""Copying collections between stores: what comes along, what is refused, and how a copy is continued."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import (
    CollectionMissingError,
    LookalikeError,
    ManifestError,
    StoreError,
    StoreLockedError,
    UsageError,
)
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.stores import embedded as embedded_store
from lookalike_core.stores import embedded_upkeep
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, VectorQuantization
from lookalike_core.stores.collection_names import check_new_name, staged_name
from lookalike_core.stores.connection import connect
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.protocol import Store
from lookalike_core.stores.rebuild_lease import LeaseTimes
from lookalike_core.stores.server_tuning import ServerTuning
from lookalike_core.stores.shared import SharedStore
from lookalike_core.stores.sparse_files import copy_sparse
from lookalike_ingest import copying
from lookalike_ingest.copying import copy_collection
from lookalike_ingest.target import complete_written
from made_collections import STORES, manifest_of, point_of, random_vectors, store_of
from qdrant_stand_in import running_stand_in
from read_only import read_only

SERVER = STORES[1]
WAYS = [("embedded", "embedded"), ("embedded", SERVER), (SERVER, "embedded"), (SERVER, SERVER)]
DIMENSION = 16
COUNT = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Two:
    """A store and another one, of any kind."""

    here: Store
    there: Store


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0]}-to-{way[1]}")
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Two]:
    """Yields two stores of each pair of kinds."""
    with ExitStack() as stack:
        here, there = (
            stack.enter_context(store_of(kind, tmp_path / place))
            for kind, place in zip(request.param, ("here", "there"), strict=True)
        )
        yield Two(here=here, there=there)


@pytest.fixture
def embedded(tmp_path: Path) -> Two:
    """Returns two embedded stores."""
    return Two(here=EmbeddedStore(tmp_path / "here"), there=EmbeddedStore(tmp_path / "there"))


@pytest.fixture
def blocks_of_seven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies in blocks of seven points, so that a few points take several."""
    monkeypatch.setattr(copying, "BLOCK", 7)


def points(count: int = COUNT) -> list[ImagePoint]:
    """Returns points with every kind of payload."""
    fields: list[dict[str, Any]] = [
        {"class_name": None},
        {"synset": "n01440764", "ctime_ns": 2**62},
        {"dataset": "Zoë", "moved_from": "a\nb.png"},
    ]
    vectors = random_vectors(count, DIMENSION)
    return [point_of(f"ö/{n}.png", vector, **fields[n % 3]) for n, vector in enumerate(vectors)]


def fill(
    store: Store,
    *,
    distance: Distance = Distance.COSINE,
    count: int = COUNT,
    calibration: Calibration | None = None,
) -> CollectionManifest:
    """Makes a collection with datasets, rules and, if given, a calibration; returns its manifest."""
    manifest = replace(
        manifest_of(distance, DIMENSION),
        datasets={"data": "/data", "Zoë": "/zoë"},
        folder_rules={"Zoë": FolderRules(exclude=("*.tmp",))},
        vector_quantization=VectorQuantization.INT8,
    )
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        collection.upsert(points(count))
        if calibration is not None:
            revision = collection.mark_revision()
            collection.record_calibration(replace(calibration, revision=revision))
        return collection.manifest


def content(store: Store, name: str) -> tuple[dict[str, Any], dict[str, Any], CollectionManifest]:
    """Returns payloads, vectors and the manifest of a collection."""
    with store.open(name) as collection:
        payloads = {payload.id: payload for payload in collection.scan()}
        return payloads, collection.vectors(list(payloads)), collection.manifest


@pytest.mark.parametrize("distance", list(Distance))
@pytest.mark.usefixtures("blocks_of_seven")
def test_a_copy_has_the_points_the_manifest_and_the_calibration(
    two: Two, distance: Distance, calibration: Calibration
) -> None:
    """Euclidean vectors are the same bytes; others are normalised once more at most."""
    manifest = fill(two.here, distance=distance, calibration=calibration)
    name = manifest.collection
    report = copy_collection(name, store=two.here, to=two.there)
    assert (report.points, report.written, report.was_whole) == (COUNT, COUNT, False)
    payloads, vectors, found = content(two.there, name)
    sources = content(two.here, name)
    assert payloads == sources[0]
    assert found == manifest
    assert found.calibration is not None
    assert found.revision == manifest.revision
    for point, vector in sources[1].items():
        if distance is Distance.EUCLID:
            assert vectors[point].tobytes() == vector.tobytes()
        else:
            np.testing.assert_allclose(vectors[point], vector, rtol=2e-7, atol=0)


def test_a_copy_of_a_copy_that_exists_writes_nothing(two: Two, calibration: Calibration) -> None:
    """The same content is reported, with the calibration as it was."""
    manifest = fill(two.here, calibration=calibration)
    copy_collection(manifest.collection, store=two.here, to=two.there)
    report = copy_collection(manifest.collection, store=two.here, to=two.there)
    assert (report.points, report.written, report.was_whole) == (COUNT, 0, True)
    assert content(two.there, manifest.collection)[2].calibration is not None


def test_a_collection_without_points_is_copied(two: Two) -> None:
    """There is nothing to compare, and the manifest comes along."""
    manifest = fill(two.here, count=0)
    report = copy_collection(manifest.collection, store=two.here, to=two.there)
    assert report.points == 0
    assert content(two.there, manifest.collection) == ({}, {}, manifest)


@pytest.mark.usefixtures("blocks_of_seven")
def test_an_interrupted_copy_is_continued(two: Two) -> None:
    """What is there already is not written again; a point that the source has lost since is removed."""
    manifest = fill(two.here)
    name = manifest.collection
    two.there.create_copy(manifest, name=name, source="here")
    payloads, vectors, _ = content(two.here, name)
    stored = [ImagePoint(payload=payloads[point], vector=vectors[point]) for point in payloads]
    with two.there.open_copy(name) as copy:
        copy.upsert([*stored[:10], point_of("lost.png", np.ones(DIMENSION))])
    report = copy_collection(name, store=two.here, to=two.there)
    assert (report.points, report.written) == (COUNT, COUNT - 10)
    assert content(two.there, name)[0] == content(two.here, name)[0]


def test_a_copy_has_the_name_that_is_given(two: Two) -> None:
    """It is opened by that name; the source's name stays free."""
    manifest = fill(two.here)
    report = copy_collection(manifest.collection, store=two.here, to=two.there, as_name="holidays")
    assert report.new_name == "holidays"
    assert content(two.there, "holidays")[2].name == "holidays"
    assert manifest.collection not in two.there
    two.there.delete("holidays")


def test_a_copy_may_be_in_the_same_store(embedded: Two) -> None:
    """A name of its own tells it from the source."""
    manifest = fill(embedded.here)
    copy_collection(manifest.collection, store=embedded.here, to=embedded.here, as_name="twin")
    assert embedded.here.names() == sorted([manifest.collection, "twin"])


def test_a_collection_is_not_copied_to_itself(embedded: Two, tmp_path: Path) -> None:
    """Neither by its own name nor by another path to its store."""
    manifest = fill(embedded.here)
    (tmp_path / "link").symlink_to(tmp_path / "here")
    for to in (embedded.here, EmbeddedStore(tmp_path / "link")):
        with pytest.raises(UsageError, match="copied to itself"):
            copy_collection(manifest.collection, store=embedded.here, to=to)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("point", f"it has {COUNT - 1} points, not {COUNT}"),
        ("payload", "the point of .*png is another"),
        ("vector", "the point of .*png is another"),
        ("dataset", "the manifests differ in datasets"),
        ("calibration", "the manifests differ in calibration"),
    ],
)
def test_a_collection_with_other_content_is_not_changed(
    two: Two, change: str, said: str, calibration: Calibration
) -> None:
    """The error names both sides and how they differ."""
    name = fill(two.here).collection
    copy_collection(name, store=two.here, to=two.there)
    with two.there.open(name) as there:
        one = next(there.scan())
        if change == "point":
            there.delete([one.id])
        elif change == "payload":
            there.replace_payloads([replace(one, width=1)])
        elif change == "vector":
            there.upsert([ImagePoint(payload=one, vector=np.ones(DIMENSION, dtype=np.float32))])
        elif change == "dataset":
            there.record_dataset("data", "/elsewhere")
        else:
            there.record_calibration(replace(calibration, revision=there.mark_revision()))
    before = content(two.there, name)
    with pytest.raises(ManifestError, match=f"^{name} exists in .* and differs from {name} in .*: {said}"):
        copy_collection(name, store=two.here, to=two.there)
    after = content(two.there, name)
    assert (before[0], before[2]) == (after[0], after[2])


def test_an_unfinished_copy_of_another_space_is_not_continued(two: Two) -> None:
    """Its points would be of two models."""
    manifest = fill(two.here)
    other = manifest_of(Distance.EUCLID, 4)
    two.there.create_copy(other, name=manifest.collection, source="another")
    with pytest.raises(ManifestError, match=r"unfinished copy of another, which differs .* in identity"):
        copy_collection(manifest.collection, store=two.here, to=two.there)


def test_an_unfinished_copy_is_not_copied(two: Two) -> None:
    """Its points are not all there."""
    manifest = manifest_of(Distance.COSINE, 4)
    two.here.create_copy(manifest, name=manifest.collection, source="origin")
    with pytest.raises(ManifestError, match="unfinished copy of origin"):
        copy_collection(manifest.collection, store=two.here, to=two.there)
    assert two.there.find_copy(manifest.collection) is None


def test_an_unfinished_rebuild_is_not_copied(embedded: Two) -> None:
    """It may lack images; its collection is the one to copy."""
    manifest = manifest_of(Distance.COSINE, 4)
    staged = staged_name(manifest.collection)
    embedded.here.create(manifest, name=staged)
    with pytest.raises(ManifestError, match="is the unfinished rebuild of"):
        copy_collection(staged, store=embedded.here, to=embedded.there)


def test_a_read_only_source_is_copied(embedded: Two) -> None:
    """By a private view, during which others may write."""
    name = fill(embedded.here).collection
    with read_only(embedded.here.directory):
        report = copy_collection(name, store=embedded.here, to=embedded.there)
    assert report.points == COUNT


def test_a_read_only_target_is_refused(embedded: Two) -> None:
    """Before points are read."""
    name = fill(embedded.here).collection
    embedded.there.directory.mkdir()
    with read_only(embedded.there.directory), pytest.raises(StoreError, match="is read-only") as caught:
        copy_collection(name, store=embedded.here, to=embedded.there)
    assert caught.value.hint == Hint(Action.USE_INSTEAD, {Argument.TO: None})


def test_a_missing_collection_leaves_nothing_in_the_other_store(two: Two) -> None:
    """The source is opened first."""
    with pytest.raises(CollectionMissingError):
        copy_collection("nothing", store=two.here, to=two.there)
    assert "nothing" not in two.there.names()


def test_a_failed_write_leaves_an_unfinished_copy(embedded: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk ends the copy; the next call continues it."""
    name = fill(embedded.here).collection
    with monkeypatch.context() as patch:
        patch.setattr(copying, "BLOCK", 7)
        patch.setattr(EmbeddedCollection, "upsert", _fail_after(2, EmbeddedCollection.upsert))
        with pytest.raises(OSError, match="No space left"):
            copy_collection(name, store=embedded.here, to=embedded.there)
    assert embedded.there.find_copy(name) is not None
    report = copy_collection(name, store=embedded.here, to=embedded.there)
    assert (report.points, report.written) == (COUNT, COUNT - 14)


def _fail_after(calls: int, method: Callable[..., None]) -> Callable[..., None]:
    made = 0

    def fail(*words: Any) -> None:
        nonlocal made
        made += 1
        if made > calls:
            raise OSError(28, "No space left on device")
        method(*words)

    return fail


def test_a_copy_that_does_not_keep_what_is_written_stays_unfinished(
    embedded: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison finds the vector that is stored wrong each time."""
    name = fill(embedded.here).collection
    upsert = EmbeddedCollection.upsert

    def spoil(self: EmbeddedCollection, block: list[ImagePoint]) -> None:
        upsert(self, [replace(block[0], vector=block[0].vector[::-1].copy()), *block[1:]] if block else [])

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedCollection, "upsert", spoil)
        with pytest.raises(StoreError, match=r"still differs from .* after 4 passes"):
            copy_collection(name, store=embedded.here, to=embedded.there)
    assert embedded.there.find_copy(name) is not None


def test_points_that_change_during_the_copy_are_copied_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's source is not locked: another pass finds what was added, replaced and removed."""
    monkeypatch.setattr(copying, "BLOCK", 7)
    with store_of(SERVER, tmp_path) as here:
        there = EmbeddedStore(tmp_path / "there")
        name = fill(here).collection
        upsert, calls = EmbeddedCollection.upsert, iter(range(100))

        def change_meanwhile(self: EmbeddedCollection, block: list[ImagePoint]) -> None:
            upsert(self, block)
            if next(calls) == 3:
                with here.open(name) as collection:
                    stored = list(collection.scan())
                    collection.delete([stored[0].id])
                    collection.upsert([point_of("new.png", np.ones(DIMENSION))])
                    collection.upsert([ImagePoint(payload=stored[1], vector=np.ones(DIMENSION, np.float32))])

        monkeypatch.setattr(EmbeddedCollection, "upsert", change_meanwhile)
        report = copy_collection(name, store=here, to=there)
        assert report.points == COUNT
        assert content(there, name)[0] == content(here, name)[0]
        here.delete(name)


def test_of_two_copies_begun_at_once_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both find the name free; the later one finds the other's unfinished copy, which is in use."""
    here, there = EmbeddedStore(tmp_path / "here"), EmbeddedStore(tmp_path / "there", lock_timeout_s=0.05)
    name, create = fill(here).collection, EmbeddedStore.create_copy
    with ExitStack() as other:

        def create_second(store: EmbeddedStore, *words: Any, **named: Any) -> None:
            create(store, *words, **named)
            other.enter_context(store.open_copy(name))
            create(store, *words, **named)

        with monkeypatch.context() as patch:
            patch.setattr(EmbeddedStore, "create_copy", create_second)
            with pytest.raises(StoreLockedError):
                copy_collection(name, store=here, to=there)
    assert copy_collection(name, store=here, to=there).points == COUNT


def test_two_processes_do_not_copy_to_one_collection_of_a_server() -> None:
    """The second finds the lease of the first, which is renewed."""
    lease = LeaseTimes(beat_s=0.05, watch_s=60, settle_s=0.02, poll_s=0.02)
    with ExitStack() as stack:
        url = os.environ.get("QDRANT_URL") or stack.enter_context(running_stand_in()).url
        key = os.environ.get("QDRANT_API_KEY")
        one, other = (connect(url, api_key=key, tuning=ServerTuning(lease=lease)) for _ in range(2))
        manifest = manifest_of(Distance.COSINE, 4)
        name = manifest.collection
        one.create_copy(manifest, name=name, source="origin")
        with one.copying(name), pytest.raises(StoreLockedError, match="is being copied to by process"):
            stack.enter_context(other.copying(name))
        with other.copying(name), other.open_copy(name) as copy:
            copy.complete_copy(manifest)
        one.delete(name)


def test_an_embedded_copy_is_indexed_and_has_a_payload_cache(tmp_path: Path) -> None:
    """As after an ingest; the next ingest need not read the payloads from the store."""
    here = EmbeddedStore(tmp_path / "here")
    there = EmbeddedStore(tmp_path / "there", tuning=EngineTuning(indexed_above_kb=1))
    name = fill(here).collection
    copy_collection(name, store=here, to=there)
    with there.open(name) as copy:
        assert not copy.upkeep.needs_index()
        assert copy.indexed_count() == COUNT
        assert copy.upkeep.is_cache_valid


@pytest.fixture
def indexed(tmp_path: Path) -> Two:
    """Returns two embedded stores, whose collections get an index from the first point on."""
    tuning = EngineTuning(indexed_above_kb=1)
    return Two(
        here=EmbeddedStore(tmp_path / "here", tuning=tuning),
        there=EmbeddedStore(tmp_path / "there", tuning=tuning),
    )


def fill_indexed(store: Store) -> CollectionManifest:
    """Makes a collection with an index; returns its manifest."""
    manifest = fill(store, distance=Distance.EUCLID)
    with store.open(manifest.collection) as collection:
        complete_written(collection)
        return collection.manifest


def refuse_points(*_: object) -> None:
    """Stands for a call that must not be made."""
    pytest.fail("the index would be built again")


@pytest.mark.parametrize("is_shared", [False, True])
def test_an_index_is_copied_with_its_points(
    indexed: Two, monkeypatch: pytest.MonkeyPatch, *, is_shared: bool
) -> None:
    """An embedded store takes the files of another, under a new name, and compares all points."""
    manifest = fill_indexed(indexed.here)
    here = SharedStore(indexed.here) if is_shared else indexed.here
    compared: list[int] = []
    find = copying.find_unequal

    def count_compared(source: FloatVector, copied: FloatVector, distance: Distance) -> Any:
        compared.append(len(source))
        return find(source, copied, distance)

    monkeypatch.setattr(copying, "find_unequal", count_compared)
    monkeypatch.setattr(embedded_upkeep, "build_index", refuse_points)
    report = copy_collection(manifest.collection, store=here, to=indexed.there, as_name="twin")
    here.close()
    assert (report.points, report.written, report.was_whole) == (COUNT, COUNT, False)
    assert sum(compared) == COUNT
    assert content(indexed.there, "twin")[0] == content(indexed.here, manifest.collection)[0]
    with indexed.there.open("twin") as copy:
        assert copy.indexed_count() == COUNT
        assert copy.manifest == manifest.named("twin")
        assert copy.upkeep is not None
        assert copy.upkeep.is_cache_valid


def test_a_copied_file_that_differs_is_corrected(indexed: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison reads every point through the engine, so that a flipped bit does not stay."""
    name = fill_indexed(indexed.here).collection
    flipped: list[Path] = []

    def copy_badly(source: Path, target: Path) -> int:
        copied = copy_sparse(source, target)
        if source.name == "matrix.dat" and not flipped:
            data = bytearray(target.read_bytes())
            data[4 * DIMENSION + 8] ^= 1
            target.write_bytes(data)
            flipped.append(target)
        return copied

    monkeypatch.setattr(embedded_store, "copy_sparse", copy_badly)
    report = copy_collection(name, store=indexed.here, to=indexed.there)
    assert flipped
    assert report.written == COUNT + 1
    payloads, vectors, _ = content(indexed.there, name)
    assert payloads == content(indexed.here, name)[0]
    for point, vector in content(indexed.here, name)[1].items():
        assert vectors[point].tobytes() == vector.tobytes()


def test_a_copy_of_files_that_fails_leaves_nothing(indexed: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves no folder, and the next call begins anew."""
    name = fill_indexed(indexed.here).collection

    def fail(source: Path, target: Path) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(embedded_store, "copy_sparse", fail)
        with pytest.raises(OSError, match="No space"):
            copy_collection(name, store=indexed.here, to=indexed.there)
    assert indexed.there.names() == []
    assert not [path for path in indexed.there.directory.iterdir() if path.is_dir()]
    assert copy_collection(name, store=indexed.here, to=indexed.there).points == COUNT


def test_a_source_that_is_in_use_is_not_copied(tmp_path: Path) -> None:
    """The lock of an embedded source keeps writers out for the whole copy."""
    here = EmbeddedStore(tmp_path / "here", lock_timeout_s=0.05)
    name = fill(here).collection
    with here.open(name), pytest.raises(StoreLockedError):
        copy_collection(name, store=here, to=EmbeddedStore(tmp_path / "there"))


@pytest.mark.parametrize("distance", list(Distance))
def test_a_damaged_source_is_not_copied(embedded: Two, distance: Distance) -> None:
    """A vector of zeros stands for one that was lost."""
    name = fill(embedded.here, distance=distance).collection
    for chunk in (embedded.here.directory / name).rglob("vectors/chunk_*.mmap"):
        with chunk.open("r+b") as file:
            file.write(bytes(DIMENSION * 4))
    with pytest.raises(LookalikeError, match="has lost its vector"):
        copy_collection(name, store=embedded.here, to=embedded.there)
    assert embedded.there.find_copy(name) is not None


@pytest.mark.parametrize(
    "name", ["", "a/b", ".hidden", "a.rebuild", "a.lock", "a.holder", "ingest-under-way", "x" * 256, "a\nb"]
)
def test_names_that_a_store_uses_itself_are_refused(name: str) -> None:
    """A folder or file of the store has such a name, or none may have it."""
    with pytest.raises(UsageError, match="cannot be the name of a collection"):
        check_new_name(name)

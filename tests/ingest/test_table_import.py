"""Tests imports of exported collections, on both stores."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from lookalike_core.errors import LookalikeError, ManifestError, StoreError, UsageError
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, VectorQuantization
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.protocol import Collection, Store
from lookalike_core.tables.parquet import ParquetTable, open_parquet
from lookalike_core.tables.rows import TableBatch
from lookalike_ingest.payload_cache import PayloadCache
from lookalike_ingest.request import StopRequest
from lookalike_ingest.table_import import ImportReport, import_table
from made_collections import STORES, manifest_of, point_of, random_vectors, store_of
from read_only import read_contents, read_only

DIMENSION = 8
VECTORS = random_vectors(1_200, DIMENSION)
ULPS = 2
"""Distances of float32 values by which normalising again may change one."""


def some_points(count: int = 5) -> list[ImagePoint]:
    """Returns images of two datasets."""
    return [
        point_of(
            f"cat/{i}.jpg" if i % 3 else f"{i}.jpg",
            VECTORS[i],
            dataset="more" if i % 2 else "data",
            class_name="cat" if i % 3 else None,
            ctime_ns=i or None,
        )
        for i in range(count)
    ]


def manifest_for(distance: Distance = Distance.EUCLID) -> CollectionManifest:
    """Returns the manifest of a collection of them."""
    made = manifest_of(distance, DIMENSION, {"data": "/data", "more": "/more"})
    return made.with_dataset("more", "/more", FolderRules(class_level=2, exclude=("*.tmp",)))


def write(path: Path, manifest: CollectionManifest, points: Sequence[ImagePoint]) -> Path:
    """Writes points as an export does."""
    vectors = np.array([point.vector for point in points], dtype=np.float32).reshape(-1, DIMENSION)
    with open_parquet(path, manifest, with_images=False) as writer:
        writer.write(TableBatch(payloads=[point.payload for point in points], vectors=vectors))
    return path


def read(collection: Collection) -> dict[str, ImagePoint]:
    """Returns all points of a collection by their ids."""
    payloads = {payload.id: payload for payload in collection.scan()}
    vectors = collection.vectors(list(payloads))
    return {id_: ImagePoint(payload=payloads[id_], vector=vectors[id_]) for id_ in payloads}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Returns each store, and deletes the collections that a test made in it."""
    with store_of(request.param, tmp_path / "store") as one:
        before = one.names()
        yield one
        for name in set(one.names()) - set(before):
            one.delete(name)


@pytest.fixture
def embedded(tmp_path: Path) -> Store:
    """Returns an embedded store, for what is the same in both."""
    return EmbeddedStore(tmp_path / "store")


@pytest.fixture
def bring(home: Settings) -> Callable[..., ImportReport]:
    """Returns a function that imports a file into a store."""

    def run(file: Path, store: Store, **options: Any) -> ImportReport:
        return import_table(file, store=store, settings=home, **({"stop": StopRequest()} | options))

    return run


@pytest.mark.parametrize("distance", Distance)
def test_an_imported_collection_equals_the_exported_one(
    store: Store, bring: Any, tmp_path: Path, distance: Distance
) -> None:
    """Payloads are equal; Euclidean vectors to the byte, others within the rounding of their length."""
    manifest, points = manifest_for(distance), some_points(700)
    if distance is Distance.COSINE:
        points = [replace(each, vector=each.vector / np.linalg.norm(each.vector)) for each in points]
    report = bring(write(tmp_path / "a.parquet", manifest, points), store)
    assert (report.added, report.replaced, report.points) == (700, 0, 700)
    assert report.datasets == {"data": "/data", "more": "/more"}
    assert report.missing_head is None
    with store.open(manifest.collection) as collection:
        assert collection.manifest == manifest
        found = read(collection)
    assert found.keys() == {point.payload.id for point in points}
    for point in points:
        same = found[point.payload.id]
        assert same.payload == point.payload
        if distance is Distance.EUCLID:
            assert same.vector.tobytes() == point.vector.tobytes()
        else:
            assert (np.abs(same.vector - point.vector) <= ULPS * np.spacing(np.abs(point.vector))).all()


def test_a_collection_is_extended_and_repeated_imports_change_nothing(
    store: Store, bring: Any, tmp_path: Path
) -> None:
    """Images that are there already are replaced, others stay."""
    manifest, points = manifest_for(), some_points(6)
    bring(write(tmp_path / "one.parquet", manifest, points[:4]), store)
    changed = replace(points[3], payload=replace(points[3].payload, class_name="dog"))
    report = bring(write(tmp_path / "two.parquet", manifest, [changed, *points[4:]]), store)
    assert (report.added, report.replaced, report.points) == (2, 1, 6)
    again = bring(tmp_path / "two.parquet", store)
    assert (again.added, again.replaced, again.points) == (0, 3, 6)
    with store.open(manifest.collection) as collection:
        assert {point.payload.class_name for point in read(collection).values()} == {"cat", "dog", None}


def test_an_empty_table_makes_an_empty_collection(embedded: Store, bring: Any, tmp_path: Path) -> None:
    """With its manifest and its datasets."""
    manifest = manifest_for()
    report = bring(write(tmp_path / "a.parquet", manifest, []), embedded)
    assert (report.added, report.points) == (0, 0)
    assert embedded.manifest(manifest.collection) == manifest


def test_a_calibration_comes_along_with_all_its_images(
    store: Store, bring: Any, tmp_path: Path, calibration: Calibration
) -> None:
    """It is dropped where the collection has other images."""
    points = some_points(3)
    manifest = manifest_for()
    learned = replace(
        calibration, identity=manifest.identity.key, distance=manifest.distance, points=3, revision="abc"
    )
    manifest = manifest.with_calibration(learned)
    whole = write(tmp_path / "a.parquet", manifest, points)
    report = bring(whole, store)
    assert (report.calibration_imported, report.calibration_dropped) == (True, False)
    with store.open(manifest.collection) as collection:
        found = collection.manifest
    assert found.calibration == replace(learned, revision=found.revision)
    assert bring(whole, store).calibration_imported
    more = write(tmp_path / "b.parquet", replace(manifest, calibration=None, revision=None), some_points(4))
    report = bring(more, store)
    assert (report.calibration_imported, report.calibration_dropped) == (False, True)
    report = bring(whole, store)
    assert (report.calibration_imported, report.points) == (False, 4)


def test_other_spaces_are_refused(store: Store, bring: Any, tmp_path: Path) -> None:
    """Both sides are named, and the collection stays."""
    manifest = manifest_for()
    bring(write(tmp_path / "a.parquet", manifest, some_points(3)), store)
    other = replace(manifest, identity=replace(manifest.identity, preprocessing="new"))
    path = write(tmp_path / "b.parquet", other, some_points(5))
    with pytest.raises(ManifestError, match="preprocessing is none there and new here") as refused:
        bring(path, store)
    assert (refused.value.exit_code, refused.value.path) == (6, path)
    with pytest.raises(ManifestError, match="distance is euclid there and cosine here"):
        bring(
            write(tmp_path / "c.parquet", replace(manifest, distance=Distance.COSINE), some_points(2)),
            store,
            into=manifest.collection,
        )
    with store.open(manifest.collection) as collection:
        assert collection.count() == 3


def test_another_folder_of_a_dataset_is_refused_until_confirmed(
    store: Store, bring: Any, tmp_path: Path
) -> None:
    """Two folders of one name may be two datasets, whose images would be mixed."""
    manifest = manifest_for()
    bring(write(tmp_path / "a.parquet", manifest, some_points(2)), store)
    moved = write(tmp_path / "b.parquet", manifest.with_dataset("data", "/elsewhere"), some_points(4))
    with pytest.raises(
        UsageError, match=r"dataset data of .* has the root /data, and /elsewhere in "
    ) as error:
        bring(moved, store)
    assert error.value.hint is not None
    with store.open(manifest.collection) as collection:
        assert (collection.count(), collection.manifest.datasets["data"]) == (2, "/data")
    assert bring(moved, store, new_root=True).points == 4
    assert store.manifest(manifest.collection).datasets == {"data": "/elsewhere", "more": "/more"}


def test_a_file_that_is_refused_changes_nothing(store: Store, bring: Any, tmp_path: Path) -> None:
    """The whole file is checked first: the last row counts as the first one."""
    manifest, points = manifest_for(), some_points(1_100)
    broken = replace(points[-1], vector=np.zeros(DIMENSION, dtype=np.float32))
    for name, rows, said in [
        ("zero", [*points[:-1], broken], "row 1100 of .* zero or not finite"),
        ("twice", [*points, points[3]], "rows 4 and 1101 of .* are the same image"),
    ]:
        with pytest.raises(LookalikeError, match=said):
            bring(write(tmp_path / f"{name}.parquet", manifest, rows), store)
        assert manifest.collection not in store
    whole = write(tmp_path / "cut.parquet", manifest, points).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LookalikeError, match=r"is damaged .*; export the collection again"):
        bring(tmp_path / "cut.parquet", store)
    table = pq.read_table(write(tmp_path / "foreign.parquet", manifest, points[:3]))
    pq.write_table(table.replace_schema_metadata(None), tmp_path / "foreign.parquet")
    with pytest.raises(ManifestError, match="has no manifest of lookalike's"):
        bring(tmp_path / "foreign.parquet", store)
    assert manifest.collection not in store


def test_files_that_are_missing_are_refused(embedded: Store, bring: Any, tmp_path: Path) -> None:
    """A folder is no file, and a similar name is suggested."""
    write(tmp_path / "photos.parquet", manifest_for(), [])
    with pytest.raises(
        UsageError, match=r"FILE: .*photo\.parquet does not exist, but .*photos\.parquet does"
    ):
        bring(tmp_path / "photo.parquet", embedded)
    with pytest.raises(UsageError, match=r"FILE: .* is not a file; name one that was exported"):
        bring(tmp_path, embedded)


def test_an_interrupted_import_continues(
    store: Store, bring: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of the images is there, which the same call completes."""
    manifest, points = manifest_for(), some_points(1_100)
    path, stop = write(tmp_path / "a.parquet", manifest, points), StopRequest()
    read_points = ParquetTable.points
    passes = iter((False, True))

    def interrupted(self: ParquetTable) -> Iterator[list[ImagePoint]]:
        is_written = next(passes)
        for batch in read_points(self):
            stop.requested = is_written
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(ParquetTable, "points", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bring(path, store, stop=stop)
    with store.open(manifest.collection) as collection:
        assert collection.count() == 512
    report = bring(path, store)
    assert (report.added, report.replaced, report.points) == (588, 512, 1_100)


def test_collections_keep_their_vector_quantization(embedded: Store, bring: Any, tmp_path: Path) -> None:
    """A new collection is created as the exported one was."""
    manifest = replace(manifest_for(Distance.COSINE), vector_quantization=VectorQuantization.INT8)
    bring(write(tmp_path / "a.parquet", manifest, some_points()), embedded)
    assert embedded.manifest(manifest.collection).vector_quantization is VectorQuantization.INT8


def test_a_missing_head_is_reported(embedded: Store, bring: Any, home: Settings, tmp_path: Path) -> None:
    """Its vectors are imported; new images cannot be embedded without it."""
    manifest = manifest_for(Distance.COSINE)
    identity = manifest.identity.with_head("pets-12345678", dimension=DIMENSION)
    path = write(tmp_path / "a.parquet", replace(manifest, identity=identity), some_points())
    report = bring(path, embedded)
    assert "-pets-" in report.collection
    assert report.missing_head == home.heads_dir / "pets.npz"
    home.heads_dir.mkdir(parents=True)
    report.missing_head.touch()
    assert bring(path, embedded).missing_head is None


def test_an_embedded_collection_has_its_index_and_its_cache(bring: Any, tmp_path: Path) -> None:
    """As after an ingest, which then reads no point again."""
    store = EmbeddedStore(tmp_path / "store", tuning=EngineTuning(indexed_above_kb=1))
    manifest, points = manifest_for(), some_points(200)
    bring(write(tmp_path / "a.parquet", manifest, points), store)
    with ExitStack() as stack:
        collection = stack.enter_context(store.open(manifest.collection))
        assert collection.indexed_count() == 200
        cache = PayloadCache.load_beside(collection)
        assert cache is not None
        stack.callback(cache.close)
        assert cache.find(points[7].payload.dataset, points[7].payload.path) == points[7].payload


def test_a_read_only_store_is_refused(bring: Any, tmp_path: Path) -> None:
    """Before the file is read as a whole; nothing changes."""
    store, manifest = EmbeddedStore(tmp_path / "store"), manifest_for()
    path = write(tmp_path / "a.parquet", manifest, some_points())
    bring(path, store)
    before = read_contents(tmp_path / "store")
    with read_only(tmp_path / "store"), pytest.raises(StoreError, match="read-only"):
        bring(path, store)
    assert read_contents(tmp_path / "store") == before

"""The embedded store's own behaviour: its folder, its index in a child process, a full disk."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import CollectionMissingError, ManifestError, StoreError, StoreLockedError
from lookalike_core.hints import Action, Hint
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.stores import edge_engine, embedded
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, VectorQuantization
from lookalike_core.stores.collection_names import staged_name
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.edge_requests import LINKED_FIELDS
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_core.stores.points import INDEXED_FIELDS, ImagePoint, PointFilter
from refusals import refuses

NewManifest = Callable[..., CollectionManifest]
NewPoint = Callable[..., ImagePoint]
RandomVectors = Callable[[int, int], list[FloatVector]]


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    """Returns a store in a folder that does not exist yet."""
    return EmbeddedStore(tmp_path / "qdrant", lock_timeout_s=0.2)


def test_reading_an_empty_store_makes_no_folder(store: EmbeddedStore, manifest_of: NewManifest) -> None:
    """Reads do not create the store's folder."""
    name = manifest_of().collection
    assert store.names() == []
    assert name not in store
    with pytest.raises(CollectionMissingError):
        store.open(name)
    assert not store.directory.exists()


def test_a_failed_creation_leaves_nothing_behind(
    store: EmbeddedStore, manifest_of: NewManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No partial collection is left, and the next attempt succeeds."""
    manifest = manifest_of()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embedded, "write_json", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.create(manifest)
    assert not [path for path in store.directory.iterdir() if path.is_dir()]
    store.create(manifest)
    assert store.names() == [manifest.collection]


def test_a_file_where_the_folder_should_be_is_a_store_error(tmp_path: Path, manifest_of: NewManifest) -> None:
    """The message names the path and the remedy."""
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    store = EmbeddedStore(tmp_path / "taken")
    with pytest.raises(StoreError, match=r"taken cannot hold collections") as caught:
        store.create(manifest_of())
    assert caught.value.exit_code == 5
    assert (caught.value.path, caught.value.hint) == (tmp_path / "taken", Hint(Action.CHANGE_FOLDER))


def test_a_missing_or_truncated_manifest_is_an_error_with_a_remedy(
    store: EmbeddedStore, manifest_of: NewManifest
) -> None:
    """The remedy is to restore it or remove the folder; a folder that was no collection is to be moved."""
    manifest = manifest_of()
    store.create(manifest)
    file = store.directory / manifest.collection / "manifest.json"
    file.write_text(file.read_text()[:40])
    for say in (
        r"cannot be read: .*; put manifest\.json back",
        r"no manifest of lookalike.s.*put manifest\.json back",
    ):
        with pytest.raises(ManifestError, match=rf"{say} from a backup, or remove .* and ingest again"):
            store.open(manifest.collection)
        file.unlink(missing_ok=True)
    (store.directory / "diary").mkdir()
    with refuses(
        ManifestError, match="it was not changed: move it elsewhere, or use another store with --store"
    ):
        store.open("diary")


def test_a_damaged_shard_is_a_store_error(store: EmbeddedStore, manifest_of: NewManifest) -> None:
    """The message quotes the engine, and the lock is released."""
    manifest = manifest_of()
    store.create(manifest)
    config = store.directory / manifest.collection / "shard" / "edge_config.json"
    whole = config.read_bytes()
    config.write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match=rf"engine failed on .*{manifest.collection}"):
        store.open(manifest.collection)
    config.write_bytes(whole)
    with store.open(manifest.collection) as collection:
        assert collection.count() == 0


def test_a_collection_without_its_shard_says_what_to_do(
    store: EmbeddedStore, manifest_of: NewManifest
) -> None:
    """By a view as well; the lock is released."""
    manifest = manifest_of()
    store.create(manifest)
    folder = store.directory / manifest.collection
    (folder / "shard").rename(folder / "elsewhere")
    for open_it in (store.open, store.open_view):
        with refuses(ManifestError, match="has lost its folder shard, .*restore a backup or ingest again"):
            open_it(manifest.collection)
    (folder / "elsewhere").rename(folder / "shard")
    with store.open(manifest.collection) as collection:
        assert collection.count() == 0


def test_a_collection_is_locked_while_it_is_open(store: EmbeddedStore, manifest_of: NewManifest) -> None:
    """It is locked within one process too, and released after the block, even after an error."""
    manifest = manifest_of()
    store.create(manifest)

    def fail() -> None:
        with store.open(manifest.collection), pytest.raises(StoreLockedError, match="in use by process"):
            store.open(manifest.collection)
        with store.open(manifest.collection):
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    with store.open(manifest.collection) as collection:
        assert collection.count() == 0


def test_a_shard_opened_by_another_program_is_locked(store: EmbeddedStore, manifest_of: NewManifest) -> None:
    """The engine's own lock detects a program that bypasses ours."""
    import qdrant_edge

    manifest = manifest_of()
    store.create(manifest)
    shard = qdrant_edge.EdgeShard.load(str(store.directory / manifest.collection / "shard"))
    with pytest.raises(StoreLockedError, match="another program"):
        store.open(manifest.collection)
    shard.close()
    with store.open(manifest.collection) as collection:
        assert collection.count() == 0


def test_a_full_disk_is_an_error_before_anything_is_written(
    store: EmbeddedStore, manifest_of: NewManifest, point_of: NewPoint
) -> None:
    """The engine would be killed; existing points stay readable."""
    manifest = manifest_of()
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        collection.upsert([point_of("a.jpg", [1, 2, 3, 4])])
    full = EmbeddedStore(store.directory, tuning=EngineTuning(spare_bytes=2**60))
    with full.open(manifest.collection) as collection:
        with pytest.raises(OSError, match=manifest.collection) as caught:
            collection.upsert([point_of("b.jpg", [1, 2, 3, 4])])
        assert caught.value.errno == errno.ENOSPC
        assert [payload.path for payload in collection.scan()] == ["a.jpg"]
    with pytest.raises(OSError, match=str(store.directory)) as caught:
        full.create(manifest_of())
    assert caught.value.errno == errno.ENOSPC


def test_an_interrupted_deletion_frees_the_name(
    store: EmbeddedStore, manifest_of: NewManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collection no longer exists, and creating one of its name clears the remains."""
    manifest = manifest_of()
    store.create(manifest)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embedded.shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.delete(manifest.collection)
    assert store.names() == []
    assert list(store.directory.glob(".*"))
    store.create(manifest)
    assert store.names() == [manifest.collection]
    assert not list(store.directory.glob(".*"))


def test_temporary_folders_of_killed_processes_are_removed(
    store: EmbeddedStore, manifest_of: NewManifest
) -> None:
    """Partial collections and manifests are removed; those of another collection are not changed."""
    manifest = manifest_of()
    for left_over in (f".{manifest.collection}.abcdefgh", f".{manifest.collection}-x.abcdefgh"):
        (store.directory / left_over / "shard").mkdir(parents=True)
    store.create(manifest)
    (store.directory / manifest.collection / ".manifest.json.0123abcd.partial").write_text("{")
    with store.open(manifest.collection):
        left = {path.name for path in store.directory.rglob(".*")}
    assert left == {f".{manifest.collection}-x.abcdefgh"}


@pytest.mark.parametrize("renames", [0, 1])
def test_an_interrupted_replacement_is_completed_by_the_next_process(
    store: EmbeddedStore, manifest_of: NewManifest, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """Before the first rename the old one exists; after it, the new one gets the name."""
    manifest = manifest_of()
    name, new = manifest.collection, replace(manifest, provider="another")
    store.create(manifest)
    store.create(new, name=staged_name(name))
    done: list[Path] = []
    rename = Path.rename

    def killed(path: Path, target: Path) -> Path:
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(path)
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            store.replace(name)
    again = EmbeddedStore(store.directory)
    assert again.names() == [name]
    assert again.manifest(name) == (new if renames else manifest)
    if not renames:
        again.replace(name)
    with again.open(name) as collection:
        assert collection.manifest == new
    assert staged_name(name) not in again


INDEX_DIMENSION = 64
INDEX_SOON = EngineTuning(indexed_above_kb=100)
RECALL = 0.9
"""The least recall@10 on random vectors of an HNSW graph of Qdrant's default size."""


@pytest.fixture
def unindexed(
    store: EmbeddedStore,
    manifest_of: NewManifest,
    point_of: NewPoint,
    random_vectors: RandomVectors,
) -> Callable[..., EmbeddedCollection]:
    """Opens a collection with so many random points, whole or quantized, and a lowered index threshold."""
    store = EmbeddedStore(store.directory, tuning=INDEX_SOON)

    def filled(count: int, quantize: VectorQuantization = VectorQuantization.NONE) -> EmbeddedCollection:
        manifest = replace(manifest_of(Distance.EUCLID, INDEX_DIMENSION), vector_quantization=quantize)
        store.create(manifest)
        vectors = random_vectors(count, INDEX_DIMENSION)
        with store.open(manifest.collection) as collection:
            collection.upsert([point_of(f"{n}.jpg", vector) for n, vector in enumerate(vectors)])
        return store.open(manifest.collection)

    return filled


def ten_nearest(vectors: list[FloatVector], query: FloatVector) -> list[str]:
    """Returns the paths of the ten nearest by numpy."""
    order = np.argsort(np.linalg.norm(np.stack(vectors) - query, axis=1))[:10]
    return [f"{number}.jpg" for number in order]


def test_an_index_is_built_in_a_child_process(
    unindexed: Callable[[int], EmbeddedCollection], random_vectors: RandomVectors
) -> None:
    """The parent keeps running; afterwards no index is needed and results are right."""
    vectors = random_vectors(1000, INDEX_DIMENSION)
    waits: list[None] = []
    with unindexed(1000) as collection:
        assert collection.upkeep.needs_index()
        assert collection.indexed_count() == 0
        collection.upkeep.build_index(lambda: waits.append(None))
        assert waits
        assert not collection.upkeep.needs_index()
        assert collection.indexed_count() == 1000
        assert collection.count() == 1000
        found = 0
        for query in vectors[:20]:
            exact = [hit.payload.path for hit in collection.query(query, limit=10, exact=True)]
            assert exact == ten_nearest(vectors, query)
            nearest = [hit.payload.path for hit in collection.query(query, limit=10)]
            assert nearest[0] == exact[0]
            found += len(set(exact) & set(nearest))
        assert found >= RECALL * 200


@pytest.fixture
def of_widths(
    store: EmbeddedStore, manifest_of: NewManifest, point_of: NewPoint, random_vectors: RandomVectors
) -> Callable[[int], EmbeddedCollection]:
    """Opens a collection with so many random points, of widths from 1 on in a random order."""
    store = EmbeddedStore(store.directory, tuning=replace(INDEX_SOON, exact_below_kb=1))

    def filled(count: int) -> EmbeddedCollection:
        manifest = manifest_of(Distance.EUCLID, INDEX_DIMENSION)
        store.create(manifest)
        widths = np.random.default_rng(0).permutation(count)
        with store.open(manifest.collection) as collection:
            vectors = random_vectors(count, INDEX_DIMENSION)
            points = [point_of(f"{number}.jpg", vector) for number, vector in enumerate(vectors)]
            sized = [
                replace(point, payload=replace(point.payload, width=1 + int(width)))
                for point, width in zip(points, widths, strict=True)
            ]
            collection.upsert(sized)
        return store.open(manifest.collection)

    return filled


@pytest.mark.parametrize("share", [0.6, 0.3, 0.05])
def test_an_index_finds_what_a_range_selects(
    of_widths: Callable[[int], EmbeddedCollection], random_vectors: RandomVectors, share: float
) -> None:
    """Few of a point's links are to points that match, of which none were made for a range."""
    where = PointFilter(min_width=1 + round(2000 * (1 - share)))
    with of_widths(2000) as collection:
        collection.upkeep.build_index(lambda: None)
        found = 0
        for query in random_vectors(20, INDEX_DIMENSION):
            nearest = collection.query(query, limit=10, where=where)
            exact = collection.query(query, limit=10, where=where, exact=True)
            assert all(hit.payload.width >= (where.min_width or 0) for hit in exact)
            found += len({hit.payload.id for hit in exact} & {hit.payload.id for hit in nearest})
    assert found >= RECALL * 200


@pytest.mark.parametrize("matching", [3, 400])
def test_a_search_that_finds_less_than_matches_is_repeated_exactly(
    of_widths: Callable[[int], EmbeddedCollection],
    random_vectors: RandomVectors,
    monkeypatch: pytest.MonkeyPatch,
    matching: int,
) -> None:
    """A search in a graph can begin where no link leads to others that match; here it ends at once."""
    request = EmbeddedCollection._request  # noqa: SLF001

    def request_one(self: EmbeddedCollection, vector: FloatVector, **options: Any) -> Any:
        return request(self, vector, **options | ({} if options["exact"] else {"limit": 1}))

    monkeypatch.setattr(EmbeddedCollection, "_request", request_one)
    queries = np.stack(random_vectors(2, INDEX_DIMENSION))
    where = PointFilter(min_width=1 + 500 - matching)
    with of_widths(500) as collection:
        assert len(collection.query(queries[0], limit=10)) == 1
        hits = collection.query(queries[0], limit=10, where=where)
        assert len(hits) == min(10, matching)
        assert hits == collection.query(queries[0], limit=10, where=where, exact=True)
        many = collection.query_many(queries, limit=10, where=where)
        assert [hit.id for hit in many[0]] == [hit.payload.id for hit in hits]
        assert many == collection.query_many(queries, limit=10, where=where, exact=True)


def test_replaced_points_need_a_new_index(
    unindexed: Callable[[int], EmbeddedCollection], point_of: NewPoint, random_vectors: RandomVectors
) -> None:
    """The engine still counts their former versions as indexed."""
    vectors = [-vector for vector in random_vectors(1000, INDEX_DIMENSION)]
    with unindexed(1000) as collection:
        collection.upkeep.build_index(lambda: None)
        collection.upsert([point_of("0.jpg", vectors[0])])
        assert not collection.upkeep.needs_index()
        collection.upsert([point_of(f"{number}.jpg", vector) for number, vector in enumerate(vectors)])
        assert collection.upkeep.needs_index()
        collection.upkeep.build_index(lambda: None)
        assert not collection.upkeep.needs_index()
        assert collection.query(vectors[7], limit=1)[0].payload.path == "7.jpg"


@pytest.mark.parametrize("quantize", [VectorQuantization.INT8, VectorQuantization.INT4])
def test_an_index_over_quantized_vectors_finds_the_same_neighbours(
    unindexed: Callable[..., EmbeddedCollection], random_vectors: RandomVectors, quantize: VectorQuantization
) -> None:
    """Quantized hits are rescored by whole vectors, so scores are those of an exact search."""
    vectors = random_vectors(1000, INDEX_DIMENSION)
    with unindexed(1000, quantize) as collection:
        collection.upkeep.build_index(lambda: None)
        assert collection.indexed_count() == 1000
        found = 0
        for query in vectors[:20]:
            exact = {hit.payload.path: hit.score for hit in collection.query(query, limit=10, exact=True)}
            assert list(exact) == ten_nearest(vectors, query)
            nearest = {hit.payload.path: hit.score for hit in collection.query(query, limit=10)}
            both = exact.keys() & nearest.keys()
            assert [nearest[path] for path in both] == pytest.approx([exact[path] for path in both])
            found += len(both)
        assert found >= RECALL * 200


def test_an_interrupted_index_build_is_completed_by_the_next(
    unindexed: Callable[[int], EmbeddedCollection], random_vectors: RandomVectors, store: EmbeddedStore
) -> None:
    """After Ctrl-C the collection can be searched, written to, opened and indexed."""
    vectors = random_vectors(4000, INDEX_DIMENSION)
    waits: list[None] = []

    def interrupt_soon() -> None:
        waits.append(None)
        if len(waits) == 3:
            raise KeyboardInterrupt

    with unindexed(4000) as collection:
        with pytest.raises(KeyboardInterrupt):
            collection.upkeep.build_index(interrupt_soon)
        assert collection.upkeep.needs_index()
        found = [hit.payload.path for hit in collection.query(vectors[0], limit=10)]
        assert found == ten_nearest(vectors, vectors[0])
    with EmbeddedStore(store.directory, tuning=INDEX_SOON).open(collection.name) as again:
        left_over = store.directory / again.name / "shard/temp_segments/segment_builder_of_before"
        left_over.mkdir(parents=True)
        again.upkeep.build_index(lambda: None)
        assert not left_over.exists()
        assert not again.upkeep.needs_index()
        assert again.count() == 4000
        assert again.query(vectors[0], limit=1)[0].payload.path == "0.jpg"


def test_a_failed_index_build_leaves_the_collection_open(
    unindexed: Callable[[int], EmbeddedCollection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message quotes the child's last line."""
    monkeypatch.setattr(edge_engine, "_CHILD", "raise SystemExit('out of luck')")
    with unindexed(500) as collection:
        with pytest.raises(StoreError, match=r"not finished \(out of luck\).*ingest again"):
            collection.upkeep.build_index(lambda: None)
        assert collection.count() == 500


def test_a_full_disk_is_an_error_before_a_shard_is_opened(
    store: EmbeddedStore, manifest_of: NewManifest
) -> None:
    """The engine maps sparse files into memory, and is killed if they cannot be filled."""
    manifest = manifest_of()
    store.create(manifest)
    full = EmbeddedStore(store.directory, tuning=EngineTuning(spare_to_open_bytes=2**60))
    with pytest.raises(OSError, match="No space left"):
        full.open(manifest.collection)


def test_a_panic_of_the_engine_is_a_store_error(
    store: EmbeddedStore, manifest_of: NewManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A panic is no `Exception`; other such errors, like an interruption, are raised unchanged."""
    manifest = manifest_of()
    store.create(manifest)
    panic = type("PanicException", (BaseException,), {})("assertion failed")

    def fail_with(error: BaseException) -> Callable[[str], None]:
        def load(_path: str) -> None:
            raise error

        return load

    monkeypatch.setattr("qdrant_edge.EdgeShard.load", fail_with(panic))
    with pytest.raises(StoreError, match=r"assertion failed.*ingest again"):
        store.open(manifest.collection)
    monkeypatch.setattr("qdrant_edge.EdgeShard.load", fail_with(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        store.open(manifest.collection)


@pytest.mark.parametrize("content", ["[" * 100_000, "{}", "[]", "", '{"schema": 1e999}', "\0"])
def test_a_manifest_that_cannot_be_read_is_refused_with_its_path(
    content: str, store: EmbeddedStore, manifest_of: NewManifest
) -> None:
    """The collection is not changed, whatever its manifest contains."""
    manifest = manifest_of()
    store.create(manifest)
    (store.directory / manifest.collection / "manifest.json").write_text(content, encoding="utf-8")
    for look in (store.manifest, store.open):
        with pytest.raises(ManifestError, match=r"manifest\.json"):
            look(manifest.collection)


def test_a_calibration_is_dropped_from_the_disk_before_points_are_written(
    store: EmbeddedStore,
    manifest_of: NewManifest,
    point_of: NewPoint,
    calibration: Calibration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process killed during a write leaves no stale one."""
    manifest = manifest_of()
    store.create(manifest)
    on_disk = []

    class Dying:
        def update(self, _: object) -> None:
            on_disk.append(store.manifest(manifest.collection).calibration)
            raise KeyboardInterrupt

        def close(self) -> None:
            """Does nothing."""

    with store.open(manifest.collection) as collection:
        collection.record_calibration(calibration)
        monkeypatch.setattr(collection._shard, "_edge", Dying())  # noqa: SLF001 - the engine itself
        with pytest.raises(KeyboardInterrupt):
            collection.upsert([point_of("1.jpg", [1, 2, 3, 4])])
    assert on_disk == [None]


def test_a_cache_validated_after_a_flush_has_the_present_count(
    store: EmbeddedStore, manifest_of: NewManifest, point_of: Callable[..., ImagePoint], said: list[str]
) -> None:
    """Its mark has the count after the flush, not the one at the last load."""
    manifest = manifest_of()
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        collection.upsert([point_of("1.jpg", [1, 2, 3, 4])])
        collection.upkeep.cache_file.touch()
        collection.flush()
        collection.upkeep.validate_cache()
    with store.open(manifest.collection) as collection:
        assert collection.upkeep.is_cache_valid
        assert collection.count() == 1
    assert said == []


def test_payload_indexes_stay_in_files(store: EmbeddedStore, manifest_of: NewManifest) -> None:
    """Those in memory are built at each opening, point by point: most of the time of a query's process.

    Fields that the graph does not link are indexed once it is built: before, their indexes would take most of
    the memory.
    """
    import qdrant_edge as edge

    manifest = manifest_of()
    store.create(manifest)

    def read_schema() -> dict[str, Any]:
        shard = edge.EdgeShard.load(str(store.directory / manifest.collection / "shard"))
        try:
            return dict(shard.info().payload_schema)
        finally:
            shard.close()

    assert read_schema().keys() == {*LINKED_FIELDS}
    with store.open(manifest.collection) as collection:
        collection.complete_indexes()
    schema = read_schema()
    assert schema.keys() == INDEXED_FIELDS.keys()
    assert all(index.params.memory == edge.Memory.Cold for index in schema.values())
    linked = {field for field, index in schema.items() if index.params.enable_hnsw is not False}
    assert linked == {*LINKED_FIELDS}


@pytest.mark.parametrize("quantize", VectorQuantization)
def test_opening_a_collection_reads_no_vectors(
    store: EmbeddedStore, unindexed: Callable[..., EmbeddedCollection], quantize: VectorQuantization
) -> None:
    """By the engine's default all would be read; with a graph and without one, they stay in mapped files."""
    with unindexed(1000, quantize) as collection:
        collection.upkeep.build_index(lambda: None)
    segments = store.directory.rglob("segment.json")
    vectors_of = [json.loads(each.read_bytes())["config"]["vector_data"][""] for each in segments]
    assert {each["storage_type"] for each in vectors_of} == {"Mmap", "ChunkedMmap"}
    quantized = [each["quantization_config"] or {} for each in vectors_of]
    placed = {kind["memory"] for each in quantized for kind in each.values()}
    assert placed == (set() if quantize is VectorQuantization.NONE else {"cold"})


def test_a_collection_without_all_indexes_finds_the_same(
    store: EmbeddedStore,
    manifest_of: NewManifest,
    point_of: NewPoint,
    random_vectors: Callable[[int, int], list[FloatVector]],
) -> None:
    """As after an ingest that was interrupted: the engine looks at the payloads themselves."""
    vectors = random_vectors(50, 16)
    manifest = manifest_of(Distance.COSINE, 16)
    store.create(manifest)
    points = [point_of(f"a/{n}.jpg", vector) for n, vector in enumerate(vectors)]
    days = [f"2026-01-{1 + n % 28:02}T00:00:00+00:00" for n in range(50)]
    points = [
        replace(one, payload=replace(one.payload, width=n, taken_at=days[n])) for n, one in enumerate(points)
    ]
    filters = [
        PointFilter(min_width=40),
        PointFilter(since="2026-01-20T00:00:00+00:00"),
        PointFilter(only_sha256=frozenset({points[3].payload.sha256})),
        PointFilter(excluded_sha256=frozenset({points[0].payload.sha256})),
        PointFilter(folders=frozenset({"a"})),
    ]

    def find(collection: EmbeddedCollection) -> list[list[str]]:
        return [
            [hit.payload.path for hit in collection.query(vectors[0], limit=50, where=where)]
            for where in filters
        ]

    with store.open(manifest.collection) as collection:
        collection.upsert(points)
        before = find(collection)
        collection.complete_indexes()
        assert find(collection) == before
        assert [len(found) for found in before] == [10, 12, 1, 49, 50]

"""The contract of stores, tested on both of them.

The server is a real one if `QDRANT_URL` names it. Otherwise a stand-in serves the client's in-memory mode
over REST: it proves requests and semantics, not Qdrant itself.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import CollectionMissingError, LookalikeError, ManifestError
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.models.model_manifest import METADATA_KEY
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, VectorQuantization
from lookalike_core.stores.collection_names import staged_name
from lookalike_core.stores.connection import connect
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint, PointFilter
from lookalike_core.stores.protocol import Collection, Store
from lookalike_core.stores.server import ServerStore
from lookalike_core.stores.server_tuning import DEFAULT_SERVER_TUNING, ServerTuning
from lookalike_core.stores.shared import SharedStore
from qdrant_stand_in import running_stand_in

QDRANT_URL = os.environ.get("QDRANT_URL")
API_KEY = os.environ.get("QDRANT_API_KEY") if QDRANT_URL else None
SERVER = "server" if QDRANT_URL else "server-stand-in"

SCORE_TOLERANCE = 1e-5
"""Rounding of float32 sums over 16 values in another order than numpy's, for scores of about 1 to 10."""

NewManifest = Callable[..., CollectionManifest]
NewPoint = Callable[..., ImagePoint]
RandomVectors = Callable[[int, int], list[FloatVector]]


@contextmanager
def server_store(tuning: ServerTuning = DEFAULT_SERVER_TUNING) -> Iterator[ServerStore]:
    """Yields a store on the real server if there is one, else on a stand-in, over real HTTP."""
    with ExitStack() as stack:
        url = QDRANT_URL or stack.enter_context(running_stand_in()).url
        one = connect(url, api_key=API_KEY, tuning=tuning)
        yield one
        one.close()


@pytest.fixture(scope="module", params=["embedded", "embedded-shared", SERVER])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Yields the store under test."""
    if request.param != SERVER:
        one = EmbeddedStore(tmp_path_factory.mktemp("qdrant"))
        yield SharedStore(one) if request.param == "embedded-shared" else one
        return
    with server_store() as one:
        yield one


@pytest.fixture(params=["embedded", "embedded-shared", SERVER])
def sevens(
    request: pytest.FixtureRequest, tmp_path: Path, manifest_of: NewManifest
) -> Iterator[Callable[..., Collection]]:
    """Returns a factory of collections that are read and searched in batches of seven."""
    with ExitStack() as stack:
        store: Store = EmbeddedStore(tmp_path, tuning=EngineTuning(scan_page=7, queries_at_once=7))
        if request.param == "embedded-shared":
            store = SharedStore(store)
        elif request.param == SERVER:
            store = stack.enter_context(server_store(ServerTuning(scan_page=7, queries_per_request=7)))

        def make(distance: Distance = Distance.COSINE, dimension: int = 4) -> Collection:
            manifest = manifest_of(distance, dimension)
            store.create(manifest)
            stack.callback(store.delete, manifest.collection)
            return stack.enter_context(store.open(manifest.collection))

        yield make


@pytest.fixture(scope="module")
def shelf(store: Store) -> Iterator[dict[tuple[Distance, int], Collection]]:
    """Returns a factory of open collections that tests share, since creating one is slow."""
    collections: dict[tuple[Distance, int], Collection] = {}
    yield collections
    for collection in collections.values():
        with collection:
            pass
        store.delete(collection.name)


@pytest.fixture
def emptied(
    store: Store, shelf: dict[tuple[Distance, int], Collection], manifest_of: NewManifest
) -> Callable[..., Collection]:
    """Returns a factory of empty open collections: `emptied(distance, dimension)`."""

    def empty(distance: Distance = Distance.COSINE, dimension: int = 4) -> Collection:
        if (distance, dimension) not in shelf:
            manifest = manifest_of(distance, dimension)
            store.create(manifest)
            shelf[distance, dimension] = store.open(manifest.collection)
        collection = shelf[distance, dimension]
        collection.delete([payload.id for payload in collection.scan()])
        return collection

    return empty


@pytest.fixture
def made(store: Store, manifest_of: NewManifest) -> Iterator[Callable[..., str]]:
    """Returns a factory of new collections, by name; they are deleted after the test."""
    names: list[str] = []

    def make(distance: Distance = Distance.COSINE, dimension: int = 4) -> str:
        manifest = manifest_of(distance, dimension)
        store.create(manifest)
        names.append(manifest.collection)
        return manifest.collection

    yield make
    for name in names:
        if name in store:
            store.delete(name)


@pytest.fixture
def plant_foreign(store: Store) -> Iterator[Callable[[str], None]]:
    """Creates something without our manifest under a collection's name."""
    planted: list[str] = []

    def plant(name: str) -> None:
        if folder_of(store):
            folder = folder_of(store) / name
            folder.mkdir(parents=True)
            (folder / "diary.txt").write_text("not yours", encoding="utf-8")
            return
        from qdrant_client import models

        vectors = models.VectorParams(size=4, distance=models.Distance.COSINE)
        client(store).create_collection(name, vectors_config=vectors, metadata={"owner": "somebody"})
        planted.append(name)

    yield plant
    for name in planted:
        client(store).delete_collection(name)


def folder_of(store: Store) -> Path | None:
    """Returns the folder of an embedded store's collections; None for a server."""
    one = store.store if isinstance(store, SharedStore) else store
    return one.directory if isinstance(one, EmbeddedStore) else None


def client(store: Store):  # noqa: ANN201 - the client's type takes a second to import
    """Returns the client of a server store."""
    assert isinstance(store, ServerStore)
    return store._client  # noqa: SLF001 - to do what only somebody else would


def test_a_collection_is_listed_from_creation_to_deletion(store: Store, manifest_of: NewManifest) -> None:
    """A collection is listed after `create`, and no longer after `delete`."""
    manifest = manifest_of()
    name = manifest.collection
    assert name not in store
    assert name not in store.names()
    store.create(manifest)
    assert name in store
    assert name in store.names()
    store.delete(name)
    assert name not in store
    assert name not in store.names()


def test_a_manifest_is_read_as_it_was_written(store: Store, made: Callable[..., str]) -> None:
    """All fields are equal, whether the collection is opened or only its manifest is read."""
    name = made(Distance.EUCLID, 8)
    with store.open(name) as collection:
        manifest = collection.manifest
        assert collection.name == name
    assert manifest == store.manifest(name)
    assert manifest.collection == name
    assert manifest.distance is Distance.EUCLID
    assert manifest.identity.dimension == 8
    assert manifest.weights.path == "/weights/own.h5"


@pytest.mark.parametrize("quantize", [VectorQuantization.INT8, VectorQuantization.INT4])
@pytest.mark.parametrize("distance", list(Distance))
def test_quantization_changes_no_vector_score_or_order(
    store: Store,
    manifest_of: NewManifest,
    point_of: NewPoint,
    random_vectors: RandomVectors,
    quantize: VectorQuantization,
    distance: Distance,
) -> None:
    """Quantization is recorded in the manifest, and results are those of whole vectors."""
    manifest = replace(manifest_of(distance, 16), vector_quantization=quantize)
    store.create(manifest)
    try:
        vectors = random_vectors(50, 16)
        with store.open(manifest.collection) as collection:
            assert collection.manifest.vector_quantization is quantize
            points = [point_of(f"{number}.jpg", vector) for number, vector in enumerate(vectors)]
            collection.upsert(points)
            stored = collection.vectors([point.payload.id for point in points])
            rows = np.stack([stored[point.payload.id] for point in points])
            unit = np.stack(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
            whole = unit if distance is Distance.COSINE else np.stack(vectors)
            np.testing.assert_allclose(rows, whole, atol=SCORE_TOLERANCE)
            for exact in (False, True):
                hits = collection.query(vectors[0], limit=5, exact=exact)
                scores = whole @ whole[0] if distance is Distance.COSINE else -dist(whole, whole[0])
                order = np.argsort(-scores)[:5]
                assert [hit.payload.path for hit in hits] == [f"{number}.jpg" for number in order]
                found = [hit.score for hit in hits]
                np.testing.assert_allclose(found, np.abs(scores[order]), atol=SCORE_TOLERANCE)
                [many] = collection.query_many(vectors[0][np.newaxis], limit=5, exact=exact)
                assert [each.id for each in many] == [hit.payload.id for hit in hits]
    finally:
        store.delete(manifest.collection)


def dist(rows: FloatVector, one: FloatVector) -> FloatVector:
    """Returns the Euclidean distance of each row to one vector."""
    return np.asarray(np.linalg.norm(rows - one, axis=1))


def test_a_name_that_is_taken_is_refused(store: Store, manifest_of: NewManifest) -> None:
    """Creating a collection twice fails and does not change the first one."""
    manifest = manifest_of()
    store.create(manifest)
    try:
        with pytest.raises(ManifestError, match="already"):
            store.create(replace(manifest, provider="CUDAExecutionProvider"))
        assert store.manifest(manifest.collection) == manifest
    finally:
        store.delete(manifest.collection)


def test_a_missing_collection_is_an_error_that_names_it(store: Store, manifest_of: NewManifest) -> None:
    """Opening, deleting and reading the manifest of a missing collection raise the same error."""
    name = manifest_of().collection
    for action in (store.open, store.delete, store.manifest):
        with pytest.raises(CollectionMissingError, match=name):
            action(name)


@pytest.mark.parametrize("name", ["", ".", "..", "../elsewhere", "a/b", ".hidden", "nul\0", "x" * 256])
def test_an_invalid_name_names_no_collection(store: Store, name: str) -> None:
    """Names that would be paths to other places are never looked up."""
    assert name not in store
    with pytest.raises(CollectionMissingError):
        store.open(name)
    with pytest.raises(CollectionMissingError):
        store.delete(name)


def test_a_collection_without_our_manifest_is_not_changed(
    store: Store, manifest_of: NewManifest, plant_foreign: Callable[[str], None]
) -> None:
    """A collection without our manifest is not listed, opened, replaced or deleted."""
    manifest = manifest_of()
    name = manifest.collection
    plant_foreign(name)
    assert name not in store
    assert name not in store.names()
    for action in (store.open, store.delete, store.manifest):
        with pytest.raises(ManifestError, match="was not changed") as caught:
            action(name)
        assert caught.value.exit_code == 6
    with pytest.raises(ManifestError, match="was not changed"):
        store.create(manifest)
    if folder_of(store):
        assert (folder_of(store) / name / "diary.txt").read_text(encoding="utf-8") == "not yours"
    else:
        assert client(store).get_collection(name).config.metadata == {"owner": "somebody"}


def test_a_manifest_that_cannot_be_read_is_refused(store: Store, made: Callable[..., str]) -> None:
    """A collection with a damaged manifest is listed, but cannot be opened."""
    name = made()
    if folder_of(store):
        (folder_of(store) / name / "manifest.json").write_text('{"schema": 1}', encoding="utf-8")
    else:
        # what is merged into a collection's metadata replaces each value at the top level
        client(store).update_collection(name, metadata={METADATA_KEY: {"schema": 99}})
    assert name in store
    with pytest.raises(ManifestError, match=name):
        store.open(name)


def test_points_are_read_as_they_were_written(emptied: Callable[..., Collection], point_of: NewPoint) -> None:
    """Payloads keep all fields, with and without a class, in any script."""
    points = [
        point_of("cat/1.jpg", [1, 0, 0, 0]),
        point_of("ohne Klasse/Kätzchen 猫.jpg", [0, 1, 0, 0], class_name=None),
    ]
    collection = emptied()
    collection.upsert(points)
    found = {payload.id: payload for payload in collection.scan()}
    assert found == {point.payload.id: point.payload for point in points}


def test_upsert_replaces_points_with_the_same_id(
    emptied: Callable[..., Collection], point_of: NewPoint
) -> None:
    """After a second upsert the point has the second vector and payload."""
    first = point_of("a.jpg", [1, 2, 3, 4])
    second = point_of("a.jpg", [4, 3, 2, 1], class_name="dog")
    collection = emptied(Distance.EUCLID)
    collection.upsert([first])
    collection.upsert([first])
    assert collection.count() == 1
    collection.upsert([second])
    assert list(collection.scan()) == [second.payload]
    assert collection.vectors([second.payload.id])[second.payload.id].tolist() == [4, 3, 2, 1]


def test_empty_lists_change_nothing(emptied: Callable[..., Collection]) -> None:
    """Reads and writes accept empty lists."""
    collection = emptied()
    collection.upsert([])
    collection.replace_payloads([])
    collection.delete([])
    assert collection.vectors([]) == {}
    assert list(collection.scan()) == []
    assert collection.count() == 0
    assert collection.tally("class") == {}


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param([1, np.nan, 0, 0], id="nan"),
        pytest.param([1, np.inf, 0, 0], id="inf"),
        pytest.param([1, -np.inf, 0, 0], id="minus-inf"),
        pytest.param([0, 0, 0, 0], id="zero"),
        pytest.param([1, 2, 3], id="too-short"),
        pytest.param([1, 2, 3, 4, 5], id="too-long"),
        pytest.param([[1, 2, 3, 4]], id="two-dimensional"),
    ],
)
def test_a_vector_that_cannot_be_searched_is_refused(
    emptied: Callable[..., Collection], point_of: NewPoint, bad: object
) -> None:
    """One invalid vector keeps its whole batch from being written; as a query it is refused too."""
    collection = emptied()
    with pytest.raises(LookalikeError, match=r"bad\.jpg"):
        collection.upsert([point_of("good.jpg", [1, 2, 3, 4]), point_of("bad.jpg", bad)])
    assert collection.count() == 0
    with pytest.raises(LookalikeError, match="query"):
        collection.query(np.asarray(bad, dtype=np.float32), limit=1)


ONE = frozenset({"a" * 64})


@pytest.fixture
def mixed(point_of: NewPoint) -> list[ImagePoint]:
    """Yields a collection with two datasets, two classes, unlabelled points, and a duplicate."""
    return [
        point_of("1.jpg", [1, 0, 0, 0], class_name="cat", sha256="a" * 64),
        point_of("2.jpg", [0.9, 0.1, 0, 0], class_name="cat", sha256="b" * 64),
        point_of("3.jpg", [0, 1, 0, 0], class_name="dog", sha256="c" * 64),
        point_of("4.jpg", [0, 0, 1, 0], class_name=None, sha256="d" * 64),
        point_of("1.jpg", [0, 0, 0, 1], class_name="cat", sha256="a" * 64, dataset="other"),
    ]


def test_ids_are_scanned_in_order_from_one_up_to_before_another(
    sevens: Callable[..., Collection], point_of: NewPoint, random_vectors: RandomVectors
) -> None:
    """Of either bound there need be no point; a filter applies as to payloads."""
    collection = sevens()
    points = [
        point_of(f"{number}.png", vector, dataset="odd" if number % 2 else "even")
        for number, vector in enumerate(random_vectors(40, 4))
    ]
    collection.upsert(points)
    ids = sorted(point.payload.id for point in points)
    assert list(collection.scan_ids()) == ids
    assert list(collection.scan_ids(start=ids[9], stop=ids[30])) == ids[9:30]
    between = f"{ids[9][:-4]}ffff"
    assert list(collection.scan_ids(start=between)) == [each for each in ids if each >= between]
    assert list(collection.scan_ids(stop=between)) == [each for each in ids if each < between]
    odd = {point.payload.id for point in points if point.payload.dataset == "odd"}
    found = list(collection.scan_ids(PointFilter(dataset="odd"), start=ids[9]))
    assert found == [each for each in ids[9:] if each in odd]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (PointFilter(), {"data/1.jpg", "data/2.jpg", "data/3.jpg", "data/4.jpg", "other/1.jpg"}),
        (PointFilter(classes=frozenset({"cat"})), {"data/1.jpg", "data/2.jpg", "other/1.jpg"}),
        (PointFilter(classes=frozenset({""})), {"data/4.jpg"}),
        (PointFilter(labelled=True), {"data/1.jpg", "data/2.jpg", "data/3.jpg", "other/1.jpg"}),
        (PointFilter(labelled=True, excluded_sha256=ONE), {"data/2.jpg", "data/3.jpg"}),
        (PointFilter(classes=frozenset({""}), labelled=True), set()),
        (PointFilter(classes=frozenset({"bird"})), set()),
        (PointFilter(dataset="other"), {"other/1.jpg"}),
        (PointFilter(excluded_sha256=ONE), {"data/2.jpg", "data/3.jpg", "data/4.jpg"}),
        (PointFilter(excluded_sha256=ONE | {"c" * 64, "e" * 64}), {"data/2.jpg", "data/4.jpg"}),
        (PointFilter(classes=frozenset({"cat"}), dataset="data", excluded_sha256=ONE), {"data/2.jpg"}),
        (PointFilter(only_sha256=ONE), {"data/1.jpg", "other/1.jpg"}),
        (PointFilter(only_sha256=ONE | {"c" * 64}, dataset="data"), {"data/1.jpg", "data/3.jpg"}),
    ],
    ids=[
        "all",
        "class",
        "no-class",
        "any-class",
        "any-class-without",
        "nothing",
        "unknown-class",
        "dataset",
        "excluded",
        "several",
        "together",
        "only",
        "only-of-a-dataset",
    ],
)
def test_scan_count_and_query_agree_on_a_filter(
    emptied: Callable[..., Collection], mixed: list[ImagePoint], where: PointFilter, expected: set[str]
) -> None:
    """Scanning, counting and searching select the same points."""
    collection = emptied()
    collection.upsert(mixed)
    scanned = {f"{payload.dataset}/{payload.path}" for payload in collection.scan(where)}
    hits = collection.query(mixed[0].vector, limit=10, where=where)
    assert scanned == expected
    assert {f"{hit.payload.dataset}/{hit.payload.path}" for hit in hits} == expected
    assert collection.count(where) == len(expected)


@pytest.mark.parametrize("excluded", [1, 3, 150], ids=["one", "few", "many"])
@pytest.mark.parametrize("exact", [False, True], ids=["indexed", "exact"])
def test_excluded_bytes_take_no_place_of_others(
    emptied: Callable[..., Collection],
    point_of: NewPoint,
    random_vectors: RandomVectors,
    excluded: int,
    exact: bool,
) -> None:
    """The limit is filled with other points, however many of the nearest have excluded bytes."""
    collection = emptied()
    query, *others = random_vectors(13, 4)
    same = [point_of(f"same/{number}.png", query, sha256="a" * 64) for number in range(excluded)]
    points = [point_of(f"{number}.png", vector) for number, vector in enumerate(others)]
    collection.upsert([*same, *points])
    expected = [hit.payload.id for hit in collection.query(query, limit=excluded + 10, exact=True)[excluded:]]
    where = PointFilter(excluded_sha256=ONE)
    hits = collection.query(query, limit=10, where=where, exact=exact)
    [many] = collection.query_many(query[np.newaxis], limit=10, where=where, exact=exact)
    assert [hit.payload.id for hit in hits] == expected
    assert [hit.id for hit in many] == expected
    assert len(expected) == 10


def test_unicode_forms_of_a_class_count_as_one_class(
    emptied: Callable[..., Collection], point_of: NewPoint
) -> None:
    """Former versions stored other Unicode forms; all are read, counted and filtered as one class."""
    collection, composed, decomposed = emptied(), "K\u00e4fer", "Ka\u0308fer"
    names = {"1.png": composed, "2.png": decomposed, "3.png": "cat"}
    collection.upsert([point_of(path, [1, 0, 0, 1], class_name=name) for path, name in names.items()])
    assert collection.tally("class") == {composed: 2, "cat": 1}
    assert {payload.class_name for payload in collection.scan()} == {composed, "cat"}
    for name in (composed, decomposed):
        where = PointFilter(classes=frozenset({name}))
        assert collection.count(where) == 2
        assert {payload.path for payload in collection.scan(where)} == {"1.png", "2.png"}
        hits = collection.query(np.float32([1, 0, 0, 1]), limit=9, where=where)
        assert {hit.payload.path for hit in hits} == {"1.png", "2.png"}


def test_a_tally_counts_every_value_exactly(emptied: Callable[..., Collection], point_of: NewPoint) -> None:
    """Counts cover more values than a facet returns by default, and unlabelled points under ""."""
    expected = {"": 3} | {f"class {number:02}": number for number in range(1, 16)}
    points = [
        point_of(f"{name}/{number}.jpg", [1, 2, 3, number + 1], class_name=name or None)
        for name, count in expected.items()
        for number in range(count)
    ]
    collection = emptied()
    collection.upsert(points)
    assert collection.tally("class") == expected
    assert list(collection.tally("class")) == sorted(expected)
    assert collection.tally("dataset") == {"data": len(points)}


def test_deleted_points_are_gone(emptied: Callable[..., Collection], mixed: list[ImagePoint]) -> None:
    """Scans, counts and searches omit them; ids that do not exist are ignored."""
    ids = [point.payload.id for point in mixed]
    collection = emptied()
    collection.upsert(mixed[1:])
    collection.delete(ids[:3])
    assert {payload.id for payload in collection.scan()} == set(ids[3:])
    assert collection.count() == 2
    assert collection.tally("class") == {"": 1, "cat": 1}
    assert {hit.payload.id for hit in collection.query(mixed[1].vector, limit=10)} == set(ids[3:])
    assert set(collection.vectors(ids)) == set(ids[3:])


def test_payloads_are_replaced_and_vectors_stay(
    emptied: Callable[..., Collection], mixed: list[ImagePoint]
) -> None:
    """Filters and counts use the new class; a payload without a point is ignored."""
    changed = [replace(mixed[0].payload, class_name=None), replace(mixed[3].payload, class_name="fish")]
    collection = emptied(Distance.EUCLID)
    collection.upsert(mixed[:4])
    collection.replace_payloads([*changed, mixed[4].payload])
    assert collection.count() == 4
    assert collection.tally("class") == {"": 1, "cat": 1, "dog": 1, "fish": 1}
    assert list(collection.scan(PointFilter(classes=frozenset({""})))) == changed[:1]
    assert collection.vectors([changed[0].id])[changed[0].id].tolist() == [1, 0, 0, 0]


def test_payloads_are_read_by_id(emptied: Callable[..., Collection], mixed: list[ImagePoint]) -> None:
    """Only existing ids are returned; an empty list of ids returns nothing."""
    collection = emptied()
    collection.upsert(mixed[1:])
    ids = [point.payload.id for point in mixed[:3]]
    assert collection.payloads(ids) == {point.payload.id: point.payload for point in mixed[1:3]}
    assert collection.payloads([]) == {}


def test_euclid_stores_vectors_unchanged(emptied: Callable[..., Collection], point_of: NewPoint) -> None:
    """Vectors are equal bit by bit, and returned for existing ids only."""
    point = point_of("a.jpg", [0.1, -20000.25, 3e-7, 1 / 3])
    collection = emptied(Distance.EUCLID)
    collection.upsert([point])
    vectors = collection.vectors([point.payload.id, point_of("b.jpg", [1, 1, 1, 1]).payload.id])
    assert list(vectors) == [point.payload.id]
    assert vectors[point.payload.id].dtype == np.float32
    assert vectors[point.payload.id].tolist() == point.vector.tolist()


def test_cosine_stores_vectors_normalised(emptied: Callable[..., Collection], point_of: NewPoint) -> None:
    """Returned vectors have length 1."""
    point = point_of("a.jpg", [3, 0, 0, 4])
    collection = emptied()
    collection.upsert([point])
    vector = collection.vectors([point.payload.id])[point.payload.id]
    assert vector == pytest.approx([0.6, 0, 0, 0.8], abs=1e-6)


def test_cosine_scores_are_similarities_highest_first(
    emptied: Callable[..., Collection], point_of: NewPoint
) -> None:
    """The score is 1 for the same direction at any length, 0 for a right angle, -1 for the opposite."""
    points = [
        point_of("opposite.jpg", [-1, 0, 0, 0]),
        point_of("same.jpg", [5, 0, 0, 0]),
        point_of("right angle.jpg", [0, 1, 0, 0]),
    ]
    collection = emptied(Distance.COSINE)
    collection.upsert(points)
    hits = collection.query(np.array([2, 0, 0, 0], dtype=np.float32), limit=3)
    assert [hit.payload.path for hit in hits] == ["same.jpg", "right angle.jpg", "opposite.jpg"]
    assert [hit.score for hit in hits] == pytest.approx([1, 0, -1], abs=SCORE_TOLERANCE)


def test_euclid_scores_are_distances_lowest_first(
    emptied: Callable[..., Collection], point_of: NewPoint
) -> None:
    """The score is 0 for the same vector, and grows with the distance."""
    points = [
        point_of("five.jpg", [4, 4, 0, 0]),
        point_of("none.jpg", [1, 0, 0, 0]),
        point_of("one.jpg", [1, 1, 0, 0]),
    ]
    collection = emptied(Distance.EUCLID)
    collection.upsert(points)
    hits = collection.query(np.array([1, 0, 0, 0], dtype=np.float32), limit=3)
    assert [hit.payload.path for hit in hits] == ["none.jpg", "one.jpg", "five.jpg"]
    assert [hit.score for hit in hits] == pytest.approx([0, 1, 5], abs=SCORE_TOLERANCE)


def test_a_limit_larger_than_the_collection_gives_all_of_it(
    emptied: Callable[..., Collection], mixed: list[ImagePoint]
) -> None:
    """Each point is returned once."""
    collection = emptied()
    collection.upsert(mixed)
    hits = collection.query(mixed[0].vector, limit=1000)
    assert sorted(hit.payload.id for hit in hits) == sorted(point.payload.id for point in mixed)


@pytest.mark.parametrize("distance", list(Distance))
@pytest.mark.parametrize("exact", [False, True])
def test_search_agrees_with_brute_force(
    emptied: Callable[..., Collection],
    point_of: NewPoint,
    random_vectors: RandomVectors,
    distance: Distance,
    exact: bool,
) -> None:
    """The ten nearest of 300 have numpy's order and scores; without an index all searches are exact."""
    *vectors, query = random_vectors(301, 16)
    points = [point_of(f"{number}.jpg", vector) for number, vector in enumerate(vectors)]
    scores = brute_force(np.stack(vectors), query, distance)
    order = np.argsort(-scores if distance.higher_is_nearer else scores)[:10]
    collection = emptied(distance, 16)
    collection.upsert(points)
    hits = collection.query(query, limit=10, exact=exact)
    assert [hit.payload.path for hit in hits] == [f"{number}.jpg" for number in order]
    assert [hit.score for hit in hits] == pytest.approx(scores[order], abs=SCORE_TOLERANCE)


def test_no_similarity_is_above_one(
    emptied: Callable[..., Collection], point_of: NewPoint, random_vectors: RandomVectors
) -> None:
    """Float32 rounding takes some similarities of an image to itself past 1; they are clipped."""
    vectors = random_vectors(100, 16)
    collection = emptied(Distance.COSINE, 16)
    collection.upsert([point_of(f"{number}.jpg", vector) for number, vector in enumerate(vectors)])
    alone = [collection.query(vector, limit=1)[0].score for vector in vectors]
    together = [found[0].score for found in collection.query_many(np.stack(vectors), limit=1)]
    for scores in (alone, together):
        assert max(scores) <= 1
        assert min(scores) == pytest.approx(1, abs=SCORE_TOLERANCE)


@pytest.mark.parametrize("distance", list(Distance))
@pytest.mark.parametrize("exact", [False, True])
def test_many_queries_find_what_each_one_finds(
    sevens: Callable[..., Collection],
    point_of: NewPoint,
    random_vectors: RandomVectors,
    distance: Distance,
    exact: bool,
) -> None:
    """`query_many` returns the ids and scores of single queries, for any batch size."""
    vectors = random_vectors(60, 16)
    points = [
        point_of(f"{number}.jpg", vector, class_name="cat" if number % 2 else None)
        for number, vector in enumerate(vectors)
    ]
    collection, where = sevens(distance, 16), PointFilter(classes=frozenset({"cat"}))
    collection.upsert(points)
    queries = np.stack(vectors[:20])
    found = collection.query_many(queries, limit=10, where=where, exact=exact)
    each = [collection.query(query, limit=10, where=where, exact=exact) for query in queries]
    assert [[hit.id for hit in hits] for hits in found] == [[hit.payload.id for hit in hits] for hits in each]
    for some, others in zip(found, each, strict=True):
        assert [hit.score for hit in some] == pytest.approx(
            [hit.score for hit in others], abs=SCORE_TOLERANCE
        )


def test_no_queries_find_nothing(emptied: Callable[..., Collection]) -> None:
    """No queries give no results; in an empty collection each query has no hits."""
    collection = emptied()
    assert collection.query_many(np.empty((0, 4), dtype=np.float32), limit=3) == []
    assert collection.query_many(np.ones((2, 4), dtype=np.float32), limit=3) == [[], []]


@pytest.mark.parametrize(
    "bad", [[[1, 0, 0, 0], [0, 0, 0, 0]], [[np.nan, 0, 0, 0]], [[1, 2, 3]], [1, 2, 3, 4]]
)
def test_many_queries_with_one_invalid_vector_are_refused(
    emptied: Callable[..., Collection], bad: object
) -> None:
    """Zero, infinite and too short vectors, and a single vector, are refused."""
    with pytest.raises(LookalikeError, match="query"):
        emptied().query_many(np.asarray(bad, dtype=np.float32), limit=1)


def brute_force(vectors: FloatVector, query: FloatVector, distance: Distance) -> FloatVector:
    """Returns Qdrant's scores, computed by brute force."""
    if distance is Distance.EUCLID:
        return np.linalg.norm(vectors - query, axis=1)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    return (vectors @ query) / lengths


def test_recorded_datasets_persist(store: Store, made: Callable[..., str]) -> None:
    """The manifest has the folder immediately and after reopening; a new root replaces it."""
    name = made()
    with store.open(name) as collection:
        collection.record_dataset("data", "/old/data")
        collection.record_dataset("data", "/new/data")
        collection.record_dataset("other", "/other")
        assert collection.manifest.datasets == {"data": "/new/data", "other": "/other"}
    with store.open(name) as collection:
        assert collection.manifest.datasets == {"data": "/new/data", "other": "/other"}
        collection.forget_dataset("other")
        collection.forget_dataset("never there")
        assert collection.manifest.datasets == {"data": "/new/data"}
    assert store.manifest(name).datasets == {"data": "/new/data"}
    assert store.manifest(name).collection == name


def test_recorded_rules_of_a_dataset_persist(store: Store, made: Callable[..., str]) -> None:
    """Rules persist after reopening, stay if none are given, and are removed with the dataset."""
    name, rules = made(), FolderRules(exclude=("a/*", "!\u00e9"), class_level=-1)
    with store.open(name) as collection:
        collection.record_dataset("data", "/data", rules)
        collection.record_dataset("other", "/other")
        assert collection.manifest.rules_of("data") == rules
    assert store.manifest(name).folder_rules == {"data": rules}
    with store.open(name) as collection:
        collection.record_dataset("data", "/new")
        assert collection.manifest.rules_of("data") == rules
        collection.record_dataset("data", "/new", FolderRules(follow_links=True))
    assert store.manifest(name).folder_rules == {"data": FolderRules(follow_links=True)}
    with store.open(name) as collection:
        collection.forget_dataset("data")
    assert store.manifest(name).folder_rules == {}


def test_a_recorded_calibration_persists(
    store: Store, made: Callable[..., str], calibration: Calibration
) -> None:
    """It is in the manifest immediately and after reopening, and stays when datasets change."""
    name = made()
    bare = store.manifest(name)
    assert bare.calibration is None
    with store.open(name) as collection:
        collection.record_calibration(calibration)
        assert collection.manifest.calibration == calibration
    with store.open(name) as collection:
        assert collection.manifest.calibration == calibration
        collection.record_dataset("data", "/data")
        collection.forget_dataset("data")
    assert store.manifest(name) == replace(bare, calibration=calibration)


WRITES: dict[str, Callable[[Collection, list[ImagePoint]], None]] = {
    "upsert": lambda collection, points: collection.upsert(points[1:2]),
    "delete": lambda collection, points: collection.delete([points[0].payload.id]),
    "another class": lambda collection, points: collection.replace_payloads(
        [replace(points[0].payload, class_name="dog")]
    ),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_write_that_changes_neighbours_or_classes_drops_the_calibration(
    store: Store,
    made: Callable[..., str],
    mixed: list[ImagePoint],
    calibration: Calibration,
    write: Callable[[Collection, list[ImagePoint]], None],
) -> None:
    """The calibration no longer applies; one made afterwards persists."""
    name = made()
    with store.open(name) as collection:
        collection.upsert(mixed[:1])
        collection.record_calibration(calibration)
    with store.open(name) as collection:
        write(collection, mixed)
        assert collection.manifest.calibration is None
        assert store.manifest(name).calibration is None
        collection.record_calibration(calibration)
    assert store.manifest(name).calibration == calibration


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_calibration_learned_before_a_write_is_refused(
    store: Store,
    made: Callable[..., str],
    mixed: list[ImagePoint],
    calibration: Calibration,
    write: Callable[[Collection, list[ImagePoint]], None],
) -> None:
    """A calibration is refused if the points were written to after they were read."""
    name = made()
    with store.open(name) as collection:
        collection.upsert(mixed[:1])
        revision = collection.mark_revision()
    with store.open(name) as writer:
        write(writer, mixed)
    with store.open(name) as collection:
        with pytest.raises(LookalikeError, match=f"{name} changed while it was being calibrated"):
            collection.record_calibration(replace(calibration, revision=revision))
        assert collection.mark_revision() != revision
    assert store.manifest(name).calibration is None


def test_a_revision_lasts_until_vectors_or_classes_change(
    store: Store, made: Callable[..., str], mixed: list[ImagePoint], calibration: Calibration
) -> None:
    """Several processes may calibrate on the same points, one after the other."""
    name = made()
    with store.open(name) as collection:
        collection.upsert(mixed[:2])
        revision = collection.mark_revision()
        collection.record_dataset("data", "/data")
        collection.replace_payloads([replace(mixed[0].payload, mtime_ns=5)], same_classes=True)
        assert collection.mark_revision() == revision
    learned = replace(calibration, revision=revision)
    with store.open(name) as collection:
        collection.record_calibration(learned)
        collection.record_calibration(learned)
        assert collection.mark_revision() == revision
    assert store.manifest(name).calibration == learned


def test_a_calibration_of_another_revision_is_not_current(
    store: Store, made: Callable[..., str], calibration: Calibration
) -> None:
    """It may have been written during another's write, or by an older version."""
    name = made()
    with store.open(name) as collection:
        learned = replace(calibration, revision=collection.mark_revision())
        collection.record_calibration(learned)
    for revision, current in (("another", None), (None, None), (learned.revision, learned)):
        write_revision(store, name, revision)
        assert store.manifest(name).calibration == current


def test_a_calibration_of_an_older_version_is_current_until_a_write(
    store: Store, made: Callable[..., str], mixed: list[ImagePoint], calibration: Calibration
) -> None:
    """It has no revision; that version dropped it at every write of its own."""
    name = made()
    with store.open(name) as collection:
        collection.upsert(mixed[:1])
        collection.record_calibration(calibration)
    assert "revision" not in read_data(store, name)
    assert store.manifest(name).calibration == calibration
    with store.open(name) as collection:
        collection.upsert(mixed[1:2])
    assert store.manifest(name).calibration is None


def test_a_write_that_changes_no_neighbour_or_class_keeps_the_calibration(
    store: Store, made: Callable[..., str], mixed: list[ImagePoint], calibration: Calibration
) -> None:
    """Empty writes, and payloads with the same classes, keep it."""
    name = made()
    with store.open(name) as collection:
        collection.upsert(mixed[:1])
        collection.record_calibration(calibration)
    with store.open(name) as collection:
        collection.upsert([])
        collection.delete([])
        collection.replace_payloads([])
        collection.replace_payloads([replace(mixed[0].payload, mtime_ns=5)], same_classes=True)
        assert [payload.mtime_ns for payload in collection.scan()] == [5]
    assert store.manifest(name).calibration == calibration


def test_a_refused_point_keeps_the_calibration(
    store: Store, made: Callable[..., str], point_of: NewPoint, calibration: Calibration
) -> None:
    """A batch that is refused writes nothing, so the calibration stays."""
    name = made()
    with store.open(name) as collection:
        collection.record_calibration(calibration)
        with pytest.raises(LookalikeError):
            collection.upsert([point_of("bad.jpg", [0, 0, 0, 0])])
    assert store.manifest(name).calibration == calibration


def test_a_new_collection_has_no_calibration(
    store: Store, manifest_of: NewManifest, calibration: Calibration
) -> None:
    """The calibration in the manifest that it was created from is dropped."""
    manifest = manifest_of()
    store.create(replace(manifest, calibration=calibration))
    assert store.manifest(manifest.collection) == manifest
    store.delete(manifest.collection)


def test_a_collection_that_replaces_a_calibrated_one_is_not_calibrated(
    store: Store, manifest_of: NewManifest, point_of: NewPoint, calibration: Calibration
) -> None:
    """The old collection's calibration is deleted with it."""
    manifest = manifest_of()
    name = manifest.collection
    for each in (name, staged_name(name)):
        store.create(manifest, name=each)
        with store.open(each) as collection:
            collection.upsert([point_of("1.jpg", [1, 2, 3, 4])])
    with store.open(name) as collection:
        collection.record_calibration(calibration)
    store.replace(name)
    assert store.manifest(name).calibration is None
    store.delete(name)


def test_a_malformed_calibration_is_ignored(
    store: Store, made: Callable[..., str], point_of: NewPoint, calibration: Calibration
) -> None:
    """The collection can still be searched, written to, and calibrated again."""
    name = made()
    bad = calibration.to_json() | {"points": "many"}
    if folder_of(store):
        path = folder_of(store) / name / "manifest.json"
        path.write_text(json.dumps(store.manifest(name).to_json() | {"calibration": bad}), encoding="utf-8")
    else:
        client(store).update_collection(name, metadata={"lookalike-calibration": bad})
    with store.open(name) as collection:
        assert collection.manifest.calibration is None
        collection.upsert([point_of("1.jpg", [1, 2, 3, 4])])
        collection.record_calibration(calibration)
    assert store.manifest(name).calibration == calibration


def test_recording_a_dataset_does_not_restore_a_dropped_calibration(
    made: Callable[..., str], store: Store, point_of: NewPoint, calibration: Calibration
) -> None:
    """Of two processes with an open collection on a server, one still has the old calibration in memory."""
    if folder_of(store):
        pytest.skip("an embedded collection is open once")
    name = made()
    with store.open(name) as collection:
        collection.record_calibration(calibration)
    with store.open(name) as one, store.open(name) as other:
        one.upsert([point_of("1.jpg", [1, 2, 3, 4])])
        assert other.manifest.calibration == calibration
        other.record_dataset("data", "/data")
        assert other.manifest.calibration is None
    assert store.manifest(name).calibration is None
    assert store.manifest(name).datasets == {"data": "/data"}


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_calibration_made_in_the_middle_of_an_ingest_is_dropped(
    made: Callable[..., str], store: Store, point_of: NewPoint, calibration: Calibration, goes_on: bool
) -> None:
    """The next write drops it, or at the latest the release of the collection."""
    if folder_of(store):
        pytest.skip("an embedded collection is open once")
    name = made()
    with store.open(name) as writing:
        writing.upsert([point_of("1.jpg", [1, 2, 3, 4])])
        with store.open(name) as calibrating:
            calibrating.record_calibration(calibration)
        if goes_on:
            writing.upsert([point_of("2.jpg", [4, 3, 2, 1])])
            assert store.manifest(name).calibration is None
    assert store.manifest(name).calibration is None


def test_a_write_in_progress_when_a_revision_is_set_ends_it(
    made: Callable[..., str],
    store: Store,
    point_of: NewPoint,
    calibration: Calibration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A write that checks before the revision is set and arrives after it ends the revision later."""
    if folder_of(store):
        pytest.skip("an embedded collection is open once")
    name, marked = made(), []
    with store.open(name) as writing, store.open(name) as calibrating:
        send = client(store).upsert

        def send_late(*words: Any, **named: Any) -> Any:
            marked.append(calibrating.mark_revision())
            return send(*words, **named)

        with monkeypatch.context() as patch:
            patch.setattr(client(store), "upsert", send_late)
            writing.upsert([point_of("1.jpg", [1, 2, 3, 4])])
        calibrating.record_calibration(replace(calibration, revision=marked[0]))
    assert store.manifest(name).calibration is None


def test_only_the_first_write_to_a_calibrated_collection_takes_an_extra_request(
    made: Callable[..., str],
    store: Store,
    point_of: NewPoint,
    calibration: Calibration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Further writes take one check and the upsert; the first one drops the calibration in between."""
    if folder_of(store):
        pytest.skip("it makes no requests")
    name, requests = made(), []

    def count(request: str) -> None:
        send = getattr(client(store), request)
        monkeypatch.setattr(
            client(store),
            request,
            lambda *words, **named: (requests.append(request), send(*words, **named))[1],
        )

    for request in ("get_collection", "update_collection", "upsert"):
        count(request)
    taken = []
    with store.open(name) as collection:
        for learned in (None, calibration, None):
            if learned is not None:
                collection.record_calibration(replace(learned, revision=collection.mark_revision()))
            requests.clear()
            collection.upsert([point_of("1.jpg", [1, 2, 3, 4])])
            taken.append(list(requests))
    plain = ["get_collection", "upsert"]
    assert taken == [plain, ["get_collection", "update_collection", "upsert"], plain]


def test_a_staged_collection_replaces_the_old_one(
    store: Store, manifest_of: NewManifest, point_of: NewPoint
) -> None:
    """Before, only the old one is listed and unchanged; afterwards only the new one."""
    old = manifest_of()
    name, new = old.collection, replace(old, created_at="2027-01-01T00:00:00+00:00", datasets={"new": "/new"})
    with pytest.raises(CollectionMissingError):
        store.replace(name)
    store.create(old)
    store.create(new, name=staged_name(name))
    points = [point_of(f"{number}.jpg", [number + 1, 1, 0, 0]) for number in range(5)]
    with store.open(name) as collection:
        collection.upsert([point_of("old.jpg", [1, 2, 3, 4])])
    with store.open(staged_name(name)) as collection:
        collection.upsert(points)
    assert (name in store.names(), staged_name(name) in store.names()) == (True, False)
    assert store.manifest(name) == old
    store.replace(name)
    assert staged_name(name) not in store
    assert store.manifest(name) == new
    with store.open(name) as collection:
        assert {payload.path for payload in collection.scan()} == {point.payload.path for point in points}
        assert collection.query(points[0].vector, limit=1)[0].payload == points[0].payload
        collection.record_dataset("more", "/more")
    assert store.manifest(name).datasets == {"new": "/new", "more": "/more"}
    store.delete(name)


def test_a_staged_collection_is_renamed_where_there_is_no_old_one(
    store: Store, manifest_of: NewManifest
) -> None:
    """The old one may have been deleted by an earlier call that was interrupted."""
    manifest = manifest_of()
    store.create(manifest, name=staged_name(manifest.collection))
    store.replace(manifest.collection)
    assert store.manifest(manifest.collection) == manifest
    store.delete(manifest.collection)


def test_deleting_a_collection_deletes_its_points(
    store: Store, manifest_of: NewManifest, mixed: list[ImagePoint]
) -> None:
    """A new collection of the same name is empty."""
    manifest = manifest_of()
    for _ in range(2):
        store.create(manifest)
        with store.open(manifest.collection) as collection:
            assert collection.count() == 0
            collection.upsert(mixed)
        store.delete(manifest.collection)


def test_a_small_collection_needs_no_index(
    emptied: Callable[..., Collection], mixed: list[ImagePoint]
) -> None:
    """It is searched exactly; on a server, the server decides."""
    collection = emptied()
    collection.upsert(mixed)
    assert collection.upkeep is None or not collection.upkeep.needs_index()
    assert collection.indexed_count() == 0


@pytest.mark.parametrize("count", [300, 301])
def test_many_points_are_read_in_pages(
    sevens: Callable[..., Collection], point_of: NewPoint, count: int
) -> None:
    """Each point is read once, for any page size, even if points are deleted in between."""
    points = [point_of(f"{number}.jpg", [1, 2, 3, number + 1]) for number in range(count)]
    collection = sevens()
    collection.upsert(points)
    seen = []
    for payload in collection.scan():
        seen.append(payload.id)
        if len(seen) == 1:
            collection.delete([payload.id])
    assert len(seen) == len(set(seen)) == len(points)
    assert collection.count() == len(points) - 1


def test_swapped_manifests_are_refused(store: Store, manifest_of: NewManifest, point_of: NewPoint) -> None:
    """Two collections of one dimension with each other's manifest are refused, and work after a repair."""
    if isinstance(store, SharedStore):
        pytest.skip("it holds collections open, with their manifests")
    manifests = [manifest_of(), manifest_of()]
    names = [manifest.collection for manifest in manifests]
    for manifest in manifests:
        store.create(manifest)
        with store.open(manifest.collection) as collection:
            collection.upsert([point_of("1.jpg", [1, 2, 3, 4])])
    swap_manifests(store, *names)
    for name, other in (names, names[::-1]):
        for refused in (store.open, store.manifest):
            with pytest.raises(
                ManifestError, match=f"{name} .*has the manifest of {other} and not that of {name}"
            ):
                refused(name)
    swap_manifests(store, *names)
    for name, manifest in zip(names, manifests, strict=True):
        assert store.manifest(name) == manifest
        with store.open(name) as collection:
            collection.record_dataset("more", "/more")
        assert store.manifest(name).name == name
        store.delete(name)


def test_a_collection_that_was_staged_has_its_own_manifest(
    store: Store, manifest_of: NewManifest, point_of: NewPoint
) -> None:
    """It has it before and after it replaces the old one, which has a manifest of its own."""
    if isinstance(store, SharedStore):
        pytest.skip("it holds collections open, with their manifests")
    manifest = manifest_of()
    name = manifest.collection
    for each in (name, staged_name(name)):
        store.create(manifest, name=each)
        with store.open(each) as collection:
            collection.upsert([point_of("1.jpg", [1, 2, 3, 4])])
    swap_manifests(store, name, staged_name(name))
    with pytest.raises(ManifestError, match=f"has the manifest of {name} and not that of {name}.rebuild"):
        store.open(staged_name(name))
    swap_manifests(store, name, staged_name(name))
    store.replace(name)
    with store.open(name) as collection:
        assert collection.count() == 1
    store.delete(name)


def test_a_manifest_without_a_name_is_matched_by_its_space(store: Store, manifest_of: NewManifest) -> None:
    """Older manifests have no name; the name is derived from their identity."""
    manifests = [manifest_of(), manifest_of()]
    names = [manifest.collection for manifest in manifests]
    for manifest in manifests:
        store.create(manifest)
        write_manifest(store, manifest.collection, manifest.to_json())
    assert [store.manifest(name) for name in names] == manifests
    swap_manifests(store, *names)
    with pytest.raises(ManifestError, match=f"has the manifest of {names[1]} and not that of {names[0]}"):
        store.open(names[0])
    for name in names:
        write_manifest(store, name, manifests[names.index(name)].to_json())
        store.delete(name)


def swap_manifests(store: Store, one: str, other: str) -> None:
    """Swaps the manifests of two collections, as a faulty restore would."""
    kept = [read_data(store, name) for name in (one, other)]
    for name, data in zip((other, one), kept, strict=True):
        write_manifest(store, name, data)


def read_data(store: Store, name: str) -> Any:
    """Returns the manifest's JSON as stored."""
    if folder_of(store):
        return json.loads((folder_of(store) / name / "manifest.json").read_text(encoding="utf-8"))
    info = store._client.get_collection(called(store, name))  # type: ignore[attr-defined]  # noqa: SLF001 - past our checks
    return info.config.metadata[METADATA_KEY]


def called(store: Store, name: str) -> str:
    """Returns what a server calls a collection."""
    return store._names.find(name).asked_as  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001


def write_manifest(store: Store, name: str, data: Any) -> None:
    """Writes any JSON as a collection's manifest."""
    if folder_of(store):
        (folder_of(store) / name / "manifest.json").write_text(json.dumps(data), encoding="utf-8")
    else:
        store._client.update_collection(called(store, name), metadata={METADATA_KEY: data})  # type: ignore[attr-defined]  # noqa: SLF001


def write_revision(store: Store, name: str, revision: str | None) -> None:
    """Sets the points' revision without any check."""
    if folder_of(store):
        write_manifest(store, name, read_data(store, name) | {"revision": revision})
    else:
        store._client.update_collection(name, metadata={"lookalike-revision": revision or ""})  # type: ignore[attr-defined]  # noqa: SLF001


def test_a_writable_folder_passes_the_check_for_writing(store: Store, made: Callable[..., str]) -> None:
    """It passes for existing and new collections, and the whole store; a server has no folder."""
    name = made()
    assert (store.local is None) == (folder_of(store) is None)
    if store.local is None:
        return
    for asked in (None, name, "not-there"):
        store.local.require_writable(asked)
    with store.local.ingesting():
        assert name in store.names()
    assert store.local.ingest_under_way() is None


def test_resolving_a_name_that_is_no_alias_returns_it(store: Store, made: Callable[..., str]) -> None:
    """`resolve` returns the name itself, whether or not a collection has it."""
    name = made()
    assert [store.resolve(name), store.resolve("not-there")] == [name, "not-there"]

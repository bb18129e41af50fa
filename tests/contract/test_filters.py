"""Conditions on folders, times and sizes, and points that lack a field, in both stores."""

from collections.abc import Iterator
from dataclasses import replace

import made_collections
import numpy as np
import pytest
import qdrant_edge as edge
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_core.stores.points import FOLDERS, INDEXED_FIELDS, TAKEN_AT, ImagePoint, PointFilter
from lookalike_core.stores.protocol import Collection
from lookalike_core.stores.server_collection import ServerCollection
from made_collections import STORES, collection_of, point_of, store_of

KAEFER = "Ka\u0308fer"  # decomposed, as old disks of macOS have it
NOON = "2021-06-15T12:00:00+00:00"

POINTS: list[ImagePoint] = [
    point_of("top.jpg", [1, 0], class_name=None, taken_at="2019-12-31T23:59:59+00:00", width=100),
    point_of("a/1.jpg", [1, 1], class_name="cat", taken_at="2020-01-01T00:00:00+00:00", width=640),
    point_of("a/b/2.jpg", [0, 1], class_name="dog", taken_at=NOON, width=641),
    point_of("a/b/c/3.jpg", [2, 1], class_name="cat", taken_at="0001-01-01T00:00:00+00:00", width=1),
    point_of("a/bc/4.jpg", [1, 2], class_name="bird", taken_at="9999-12-31T23:59:59+00:00", width=70_000),
    point_of(f"{KAEFER}/5.jpg", [1, 3], class_name="cat", taken_at=NOON, dataset="other"),
]


@pytest.fixture(scope="module", params=STORES)
def collection(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Collection]:
    """Yields a collection of these points."""
    with (
        store_of(request.param, tmp_path_factory.mktemp("qdrant")) as store,
        collection_of(store, POINTS, datasets={"data": "/data", "other": "/other"}) as opened,
    ):
        yield opened


def names(*each: str) -> frozenset[str]:
    """Returns names as a filter has them."""
    return frozenset(each)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        pytest.param(PointFilter(classes=names("cat", "dog")), "1235", id="classes"),
        pytest.param(PointFilter(classes=names("cat", "")), "t135", id="a-class-or-none"),
        pytest.param(PointFilter(not_classes=names("cat")), "t24", id="not-a-class"),
        pytest.param(PointFilter(not_classes=names("cat", "")), "24", id="not-a-class-nor-none"),
        pytest.param(PointFilter(classes=names("cat", "dog"), not_classes=names("dog")), "135", id="both"),
        pytest.param(PointFilter(folders=names("a/b")), "23", id="folder-without-its-longer-sibling"),
        pytest.param(PointFilter(folders=names("a")), "1234", id="folder"),
        pytest.param(PointFilter(folders=names("b")), "", id="not-an-inner-folder"),
        pytest.param(PointFilter(folders=names("a/b/c/3.jpg")), "", id="no-file"),
        pytest.param(PointFilter(folders=names("a/bc", "a/b/c")), "34", id="folders"),
        pytest.param(PointFilter(folders=names(".")), "t12345", id="root"),
        pytest.param(PointFilter(folders=names("K\u00e4fer")), "5", id="composed-folder"),
        pytest.param(PointFilter(since=NOON), "245", id="since"),
        pytest.param(PointFilter(until="2020-01-01T00:00:00+00:00"), "t13", id="until"),
        pytest.param(PointFilter(since=NOON, until=NOON), "25", id="one-second"),
        pytest.param(PointFilter(since="2020-01-01T00:00:01+00:00", until=NOON), "25", id="between"),
        pytest.param(PointFilter(since="0001-01-01T00:00:00+00:00"), "t12345", id="since-the-first"),
        pytest.param(PointFilter(until="9999-12-31T23:59:59+00:00"), "t12345", id="until-the-last"),
        pytest.param(PointFilter(min_width=641), "24", id="width"),
        pytest.param(PointFilter(min_width=70_001), "", id="wider-than-all"),
        pytest.param(
            PointFilter(
                classes=names("cat", "dog"),
                not_classes=names("dog"),
                dataset="data",
                folders=names("a"),
                since="2020-01-01T00:00:00+00:00",
                until=NOON,
                min_width=640,
                labelled=True,
            ),
            "1",
            id="all",
        ),
    ],
)
def test_every_way_to_select_agrees_on_a_filter(
    collection: Collection, where: PointFilter, expected: str
) -> None:
    """Scanning, counting, both searches and the filter itself select the same points."""
    vector = np.float32([1, 1])
    many = collection.query_many(vector[np.newaxis], limit=10, where=where)[0]
    ids = {each.payload.id for each in POINTS if each.payload.path.split("/")[-1][0] in expected}
    assert {payload.id for payload in collection.scan(where)} == ids
    assert {each.payload.id for each in POINTS if where.matches(each.payload)} == ids
    assert {hit.payload.id for hit in collection.query(vector, limit=10, where=where)} == ids
    assert {hit.payload.id for hit in collection.query(vector, limit=10, where=where, exact=True)} == ids
    assert {hit.id for hit in many} == ids
    assert collection.count(where) == len(ids)


def test_a_point_is_in_every_folder_above_it(collection: Collection) -> None:
    """A tally counts it once for each of them, from the root (`.`) inwards."""
    assert collection.tally("folders") == {
        ".": 6,
        "K\u00e4fer": 1,
        "a": 4,
        "a/b": 2,
        "a/b/c": 1,
        "a/bc": 1,
    }


def test_points_that_lack_a_field_are_counted(collection: Collection) -> None:
    """Those of older versions have no folders and no time; nothing is found by them, and widths are known."""
    old = replace(POINTS[1], payload=replace(POINTS[1].payload, path="old/9.jpg", taken_at=None))
    collection.upsert([old])
    try:
        assert collection.count_without(TAKEN_AT) == 1
        assert collection.count_without(TAKEN_AT, PointFilter(dataset="other")) == 0
        assert collection.count_without(TAKEN_AT, PointFilter(classes=names("cat"), dataset="data")) == 1
        assert collection.count_without(FOLDERS) == 0
        assert collection.count(PointFilter(since="0001-01-01T00:00:00+00:00")) == len(POINTS)
        assert collection.count(PointFilter(until="9999-12-31T23:59:59+00:00")) == len(POINTS)
        assert not PointFilter(since="0001-01-01T00:00:00+00:00").matches(old.payload)
        assert not PointFilter(until="9999-12-31T23:59:59+00:00").matches(old.payload)
    finally:
        collection.delete([old.payload.id])
    assert collection.count_without(TAKEN_AT) == 0


def test_a_moved_image_has_new_folders(collection: Collection) -> None:
    """A payload that is replaced takes its folders along."""
    moved = made_collections.point_of("from/6.jpg", [3, 1], taken_at=NOON)
    collection.upsert([moved])
    fresh = replace(moved.payload, path="to/6.jpg")
    collection.upsert([ImagePoint(payload=fresh, vector=moved.vector)])
    collection.delete([moved.payload.id])
    assert [each.path for each in collection.scan(PointFilter(folders=names("to")))] == ["to/6.jpg"]
    assert collection.count(PointFilter(folders=names("from"))) == 0
    collection.delete([fresh.id])


def test_an_older_collection_gets_its_indexes(collection: Collection) -> None:
    """Completing them changes no point, and nothing if there is nothing to complete; filters work without."""
    where = PointFilter(folders=names("a"), since=NOON, min_width=641)
    found = {payload.id for payload in collection.scan(where)}
    collection.mark_revision()
    revision = collection.manifest.revision
    drop_indexes(collection, [FOLDERS, TAKEN_AT, "width"])
    assert {payload.id for payload in collection.scan(where)} == found
    assert {FOLDERS, TAKEN_AT, "width"} & indexed_fields(collection) == set()
    for _ in range(2):
        collection.complete_indexes()
        assert indexed_fields(collection) == set(INDEXED_FIELDS)
    assert collection.manifest.revision == revision
    assert {payload.id for payload in collection.scan(where)} == found != set()


def indexed_fields(collection: Collection) -> set[str]:
    """Returns the payload fields that are indexed."""
    if isinstance(collection, EmbeddedCollection):
        return set(collection._shard.ask(lambda shard: shard.info().payload_schema))  # noqa: SLF001 - past the protocol
    assert isinstance(collection, ServerCollection)
    return set(collection._client.get_collection(collection.name).payload_schema)  # noqa: SLF001 - past the protocol


def drop_indexes(collection: Collection, fields: list[str]) -> None:
    """Removes indexes, as an older version made none."""
    for field in fields:
        if isinstance(collection, EmbeddedCollection):
            collection._shard.update(edge.UpdateOperation.delete_field_index(field))  # noqa: SLF001 - past the protocol
        else:
            assert isinstance(collection, ServerCollection)
            collection._client.delete_payload_index(collection.name, field)  # noqa: SLF001 - past the protocol

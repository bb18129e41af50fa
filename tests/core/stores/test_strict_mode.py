"""A collection with a strict server: requests stay within its limits, and results are complete.

The server is a real one if `QDRANT_URL` names it, else a stand-in with Qdrant's limits and messages.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from faulty_proxy import FaultyProxy
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import StoreError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.connection import connect
from lookalike_core.stores.points import ImagePoint, PointFilter
from lookalike_core.stores.server import ServerCollection, ServerStore
from quick_retries import QUICK_RETRIES

Limit = Callable[..., None]

KEY = os.environ.get("QDRANT_API_KEY")
LIMITS: dict[str, dict[str, Any]] = {
    "upsert_max_batchsize": {"upsert_max_batchsize": 4},
    "max_query_limit": {"max_query_limit": 7},
    "search_max_hnsw_ef": {"search_max_hnsw_ef": 16},
    "search_max_batchsize": {"search_max_batchsize": 3},
    "search_allow_exact": {"search_allow_exact": False},
    "search_max_oversampling": {"search_max_oversampling": 1.5},
    "condition_max_size": {"condition_max_size": 2},
    "read_rate_limit": {"read_rate_limit": 12},
    "write_rate_limit": {"write_rate_limit": 12},
    "unindexed": {"unindexed_filtering_retrieve": False, "unindexed_filtering_update": False},
}
EVERY_LIMIT = {name: value for limits in LIMITS.values() for name, value in limits.items()}
RATES = ("read_rate_limit", "write_rate_limit")


@pytest.fixture
def store(proxy: FaultyProxy) -> Iterator[ServerStore]:
    """Yields a store behind the proxy, which records requests."""
    one = connect(proxy.url, api_key=KEY, tuning=QUICK_RETRIES)
    yield one
    one.close()


@pytest.fixture
def manifest(
    store: ServerStore, manifest_of: Callable[..., CollectionManifest]
) -> Iterator[CollectionManifest]:
    """Returns the manifest of an existing collection."""
    one = manifest_of(Distance.EUCLID, 4)
    store.create(one)
    yield one
    store.delete(one.collection)


@pytest.fixture
def limit(qdrant: Any, manifest: CollectionManifest) -> Iterator[Limit]:
    """Returns a function that sets limits: `limit(max_query_limit=7)`; a real server gets none per minute."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(url=f"http://{qdrant.host}:{qdrant.port}", api_key=KEY, check_compatibility=False)

    def put(**limits: Any) -> None:
        kept = {name: value for name, value in limits.items() if name not in RATES or not qdrant.is_real}
        strict = models.StrictModeConfig(**{"enabled": True, **kept})
        client.update_collection(manifest.collection, strict_mode_config=strict)

    yield put
    client.close()


@pytest.fixture
def points(
    point_of: Callable[..., ImagePoint], random_vectors: Callable[[int, int], list[FloatVector]]
) -> list[ImagePoint]:
    """Returns thirty points of three classes."""
    return [
        point_of(f"{i}.jpg", vector, class_name=("cat", "dog", None)[i % 3], sha256=f"{i:064}")
        for i, vector in enumerate(random_vectors(30, 4))
    ]


@pytest.mark.parametrize("limits", [*LIMITS.values(), EVERY_LIMIT], ids=[*LIMITS, "all of them"])
def test_a_collection_is_used_within_its_limits(
    store: ServerStore,
    manifest: CollectionManifest,
    limit: Limit,
    points: list[ImagePoint],
    limits: dict[str, Any],
) -> None:
    """Writing, reading, counting and searching give the same results as without limits."""
    limit(**limits)
    with store.open(manifest.collection) as collection:
        collection.upsert(points)
        ids = [point.payload.id for point in points]
        assert {payload.id for payload in collection.scan()} == set(ids)
        assert set(collection.vectors(ids)) == set(collection.payloads(ids)) == set(ids)
        assert collection.count() == 30
        assert collection.count(PointFilter(classes=frozenset({"dog"}))) == 10
        assert collection.tally("class") == {"": 10, "cat": 10, "dog": 10}
        assert collection.tally("sha256") == {f"{i:064}": 1 for i in range(30)}
        without = PointFilter(excluded_sha256=frozenset(f"{i:064}" for i in range(5)))
        assert [hit.payload.path for hit in collection.query(points[9].vector, limit=1, where=without)] == [
            "9.jpg"
        ]
        only = PointFilter(only_sha256=frozenset(f"{i:064}" for i in range(5)), classes=frozenset({"cat"}))
        of_cats = {point.payload.path for point in points[:5] if point.payload.class_name == "cat"}
        assert {payload.path for payload in collection.scan(only)} == of_cats != set()
        found = collection.query(points[0].vector, limit=25)
        assert found[0].payload == points[0].payload
        assert len({hit.payload.id for hit in found}) == 25
        assert [hit.score for hit in found] == sorted(hit.score for hit in found)
        many = collection.query_many(np.array([point.vector for point in points]), limit=25)
        assert [hits[0].id for hits in many] == ids
        assert [hit.id for hit in many[0]] == [hit.payload.id for hit in found]
        collection.replace_payloads([replace(point.payload, class_name="cat") for point in points])
        assert collection.tally("class") == {"cat": 30}
        collection.delete(ids)
        assert collection.count() == 0


def test_limits_set_later_are_learned_from_refusals(
    store: ServerStore, manifest: CollectionManifest, limit: Limit, points: list[ImagePoint]
) -> None:
    """Later requests are smaller, and counts are computed by the client."""
    with store.open(manifest.collection) as collection:
        collection.upsert(points)
        limit(max_query_limit=7, search_max_batchsize=3, read_rate_limit=12)
        ids = [point.payload.id for point in points]
        assert {payload.id for payload in collection.scan()} == set(ids)
        assert collection.tally("sha256") == {f"{i:064}": 1 for i in range(30)}
        assert set(collection.vectors(ids)) == set(ids)
        many = collection.query_many(np.array([point.vector for point in points]), limit=5)
        assert [hits[0].id for hits in many] == ids


def test_an_exact_search_that_strict_mode_forbids_is_an_error(
    store: ServerStore, manifest: CollectionManifest, limit: Limit, points: list[ImagePoint]
) -> None:
    """There is no way around the limit; the message names the setting and the remedy."""
    limit(search_allow_exact=False)
    with store.open(manifest.collection) as collection:
        collection.upsert(points)
        for search in (
            lambda: collection.query(points[0].vector, limit=1, exact=True),
            lambda: collection.query_many(points[0].vector[np.newaxis], limit=1, exact=True),
        ):
            with pytest.raises(StoreError, match=r"not allowed.*search_allow_exact") as caught:
                search()
            assert caught.value.exit_code == 5
            assert caught.value.hint == Hint(Action.LEAVE_OUT_INSTEAD, {Argument.EXACT: None})


def test_a_limit_that_cannot_be_met_is_named(
    store: ServerStore, manifest: CollectionManifest, limit: Limit, points: list[ImagePoint]
) -> None:
    """A filter of two conditions cannot be expressed in one."""
    limit(filter_max_conditions=1)
    with store.open(manifest.collection) as collection:
        collection.upsert(points)
        with pytest.raises(StoreError, match=r"condition limit reached \(2 > 1\)"):
            collection.count(PointFilter(classes=frozenset({"dog"}), dataset="data"))


def test_disabled_limits_are_ignored(
    store: ServerStore, manifest: CollectionManifest, limit: Limit, points: list[ImagePoint]
) -> None:
    """The server may report limits of a strict mode that is disabled."""
    limit(enabled=False, search_allow_exact=False, upsert_max_batchsize=1)
    with store.open(manifest.collection) as collection:
        collection.upsert(points)
        assert len(collection.query(points[0].vector, limit=20, exact=True)) == 20


def test_an_exact_search_sends_no_hnsw_ef(
    grpc_collection: ServerCollection, grpc_responder: Any, points: list[ImagePoint]
) -> None:
    """`hnsw_ef` is sent with index searches only, and within the server's limit."""
    from qdrant_client import grpc as messages

    for exact in (False, True):
        grpc_collection.query(points[0].vector, limit=3, exact=exact)
    said = [
        messages.QueryPoints.FromString(body).params
        for method, body, _ in grpc_responder.seen
        if method == "Query"
    ]
    assert [(params.exact, params.HasField("hnsw_ef")) for params in said] == [(False, True), (True, False)]

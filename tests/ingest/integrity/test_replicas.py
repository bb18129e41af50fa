"""Replicas on a server that differ; the stand-in pretends to have some."""

from collections.abc import Iterator

import pytest
from faulty_proxy import running_proxy
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.connection import connect
from lookalike_core.stores.protocol import Store
from lookalike_core.stores.server_collection import ServerCollection
from lookalike_core.stores.shared import SharedStore
from lookalike_ingest.integrity.faults import Fault, Findings
from lookalike_ingest.integrity.stored_points import Counts, check_stored_points
from made_collections import manifest_of, point_of, random_vectors
from qdrant_stand_in import QdrantStandIn, running_stand_in

COUNT, DIMENSION = 12, 8


@pytest.fixture
def server() -> Iterator[QdrantStandIn]:
    """Yields a stand-in whose collections have two replicas."""
    with running_stand_in() as one:
        one.replicas = 2
        yield one


@pytest.fixture
def manifest(server: QdrantStandIn) -> CollectionManifest:
    """Makes a collection on the server, of files that are not on this machine; returns its manifest."""
    made, store = manifest_of(Distance.EUCLID, DIMENSION), connect(server.url, api_key=None)
    store.create(made)
    with store.open(made.collection) as collection:
        vectors = random_vectors(COUNT, DIMENSION)
        collection.upsert([point_of(f"{number}.png", vector) for number, vector in enumerate(vectors)])
    store.close()
    return made


def verify(store: Store, name: str) -> Findings:
    """Returns what is found of all points."""
    findings = Findings()
    with store.open(name) as collection:
        list(check_stored_points(collection, None, Counts(), findings))
    return findings


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_point_whose_replicas_differ_is_found(
    server: QdrantStandIn, manifest: CollectionManifest, *, is_shared: bool
) -> None:
    """A plain read has it, a read of what all replicas have alike has not."""
    point = point_of("3.png", random_vectors(1, DIMENSION)[0]).payload.id
    server.unlike = {point}
    store = connect(server.url, api_key=None)
    findings = verify(SharedStore(store) if is_shared else store, manifest.collection)
    assert findings.counts == {Fault.REPLICAS_DIFFER: 1}
    assert [(one.id, one.path) for one in findings.listed] == [(point, "3.png")]
    store.close()


def test_equal_replicas_are_sound_and_single_ones_are_not_compared(
    server: QdrantStandIn, manifest: CollectionManifest
) -> None:
    """Without a replication factor over 1 nothing is asked for twice."""
    store = connect(server.url, api_key=None)
    assert not verify(store, manifest.collection).counts
    server.replicas, server.unlike = 1, {point_of("3.png", random_vectors(1, DIMENSION)[0]).payload.id}
    assert not verify(store, manifest.collection).counts
    store.close()


def test_a_page_of_points_is_compared_in_one_request(
    server: QdrantStandIn, manifest: CollectionManifest
) -> None:
    """A request for each point would read the whole page as often."""
    with running_proxy(("127.0.0.1", server.port)) as proxy:
        store = connect(proxy.url, api_key=None)
        assert not verify(store, manifest.collection).counts
        assert proxy.count(r"POST /collections/[^/]+/points\?.*consistency=all") == 1
        store.close()


def test_a_point_that_is_deleted_meanwhile_is_not_unlike(
    server: QdrantStandIn, manifest: CollectionManifest
) -> None:
    """All replicas have lost it."""
    store = connect(server.url, api_key=None)
    gone = point_of("none.png", random_vectors(1, DIMENSION)[0]).payload.id
    with store.open(manifest.collection) as collection:
        assert isinstance(collection, ServerCollection)
        assert collection.find_unlike_replicas([gone]) == []
    store.close()

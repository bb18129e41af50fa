"""Listing a store that other processes change, or of which an API key may read only a part."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import faulty_proxy as wire
import made_collections
import pytest
from faulty_proxy import FaultyProxy
from lookalike_core.errors import PeersMissingError, StoreError
from lookalike_core.hints import Action, Hint
from lookalike_core.stores.cluster_layout import ClusterLayout
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.collection_names import staged_name
from lookalike_core.stores.connection import connect
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.server import ServerStore
from lookalike_core.stores.server_cluster import Peer, Replica, Sharding
from lookalike_ingest.commands.status import describe_collection
from lookalike_ingest.removal import Selection, find_holdings
from lookalike_ingest.status import CollectionStatus, find_peers, read_statuses
from qdrant_stand_in import QdrantStandIn, running_stand_in
from quick_retries import QUICK_RETRIES

NAMES = ("a-first", "b-second", "c-third")
REFUSED = wire.answer(403, "Forbidden: Access to collection is required")


@pytest.fixture
def server() -> Iterator[QdrantStandIn]:
    """Starts a stand-in for a server, with no other collections."""
    with running_stand_in() as one:
        yield one


@pytest.fixture
def proxy(server: QdrantStandIn) -> Iterator[FaultyProxy]:
    """Starts a proxy in front of the server."""
    with wire.running_proxy(("127.0.0.1", server.port)) as one:
        yield one


@pytest.fixture
def store(proxy: FaultyProxy) -> Iterator[ServerStore]:
    """Creates three collections, with a point of the dataset `data` each."""
    one = connect(proxy.url, api_key=None, tuning=QUICK_RETRIES)
    for name in NAMES:
        manifest = made_collections.manifest_of(Distance.COSINE, 4, {"data": "/data"})
        one.create(manifest, name=name)
        with one.open(name) as collection:
            collection.upsert([made_collections.point_of("1.jpg", [1, 2, 3, 4])])
    proxy.seen.clear()
    yield one
    one.close()


def statuses(store: ServerStore) -> list[CollectionStatus]:
    """Returns the listed collections."""
    return list(read_statuses(store))


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /collections/b-second/exists",
        r"GET /collections/b-second\s*$",
        "POST /collections/b-second/points/count",
        "POST /collections/b-second/facet",
        r"GET /collections/b-second\.rebuild/exists",
    ],
)
def test_a_collection_deleted_during_a_listing_is_left_out(
    store: ServerStore, server: QdrantStandIn, proxy: FaultyProxy, request_line: str, said: list[str]
) -> None:
    """No message is logged; the others are listed."""
    proxy.plan(request_line, wire.after(lambda: server.client.delete_collection("b-second")))
    listed = statuses(store)
    names = [status.name for status in listed]
    assert [name for name in names if name != "b-second"] == ["a-first", "c-third"]
    assert ("b-second" in names) == request_line.endswith(r"\.rebuild/exists"), "it was read by then"
    assert said == []


def test_a_key_for_one_collection_lists_it(store: ServerStore, proxy: FaultyProxy, said: list[str]) -> None:
    """Collections that the key may not see are left out."""
    proxy.plan(r"/collections/[^/]*\.rebuild", *[REFUSED] * 9)
    proxy.plan("/collections/[ac]-", *[REFUSED] * 9)
    listed = statuses(store)
    assert [(status.name, status.points, status.rebuild_begun) for status in listed] == [
        ("b-second", 1, False)
    ]
    assert said == []


def test_a_collection_that_may_not_be_read_is_logged(
    store: ServerStore, proxy: FaultyProxy, said: list[str]
) -> None:
    """The key may see the collection, but not its points."""
    proxy.plan("POST /collections/b-second/points", *[REFUSED] * 9)
    listed = statuses(store)
    assert [status.name for status in listed] == ["a-first", "c-third"]
    assert len(said) == 1
    assert said[0].startswith("warning: collection b-second is skipped: ")


def test_a_key_that_may_read_no_collection_is_an_error(store: ServerStore, proxy: FaultyProxy) -> None:
    """An empty listing would be wrong, because the store is not empty."""
    proxy.plan("/collections/", *[REFUSED] * 9)
    with pytest.raises(StoreError) as refused:
        statuses(store)
    assert refused.value.hint == Hint(Action.SET_KEY)


def test_an_unfinished_rebuild_is_reported(store: ServerStore) -> None:
    """It is detected by the staged collection, which is not listed itself."""
    manifest = replace(store.manifest("b-second"), datasets={})
    store.create(manifest, name=staged_name("b-second"))
    listed = statuses(store)
    assert [(status.name, status.rebuild_begun) for status in listed] == [
        ("a-first", False),
        ("b-second", True),
        ("c-third", False),
    ]


@pytest.mark.parametrize(
    "request_line", [r"GET /collections/b-second\s*$", "POST /collections/b-second/points/count"]
)
def test_finding_a_dataset_ignores_collections_deleted_in_between(
    store: ServerStore, server: QdrantStandIn, proxy: FaultyProxy, request_line: str
) -> None:
    """A deleted collection that was named is an error."""
    proxy.plan(request_line, wire.after(lambda: server.client.delete_collection("b-second")))
    found = find_holdings(Selection(dataset="data"), store=store)
    assert [holding.collection for holding in found.found] == ["a-first", "c-third"]


def test_the_replicas_of_a_cluster_are_listed(server: QdrantStandIn, store: ServerStore) -> None:
    """Each shard's, with their peers and states; a shard that has too few active ones is told apart."""
    server.peers, server.down = [1, 2], {2}
    manifest = made_collections.manifest_of(Distance.COSINE, 4, {})
    store.create(manifest, name="d-fourth", layout=ClusterLayout(shards=2, replicas=2))
    peers = find_peers(store)
    assert peers == [
        Peer(id=1, address="http://node-1:6335/", fault=None),
        Peer(id=2, address="http://node-2:6335/", fault="Failed to connect"),
    ]
    *others, new = statuses(store)
    assert [one.sharding.shards for one in others if one.sharding] == [1, 1, 1]
    placed = [(0, 1, "Active"), (0, 2, "Dead"), (1, 1, "Active"), (1, 2, "Dead")]
    assert new.sharding == Sharding(
        shards=2,
        replicas=2,
        write_consistency=1,
        placed=[Replica(shard=shard, peer=peer, state=state) for shard, peer, state in placed],
        transfers=0,
    )
    assert new.sharding.lacking == {0: 1, 1: 1}


@pytest.mark.parametrize(
    "fault", [REFUSED, wire.answer(404, "Not found"), wire.answer(502), wire.cut_answer(30)]
)
def test_a_server_that_does_not_tell_of_its_cluster_is_listed_without(
    server: QdrantStandIn, store: ServerStore, proxy: FaultyProxy, fault: wire.Fault
) -> None:
    """The key may lack the rights, or a proxy the route; that is no error, and no reason to wait."""
    server.peers = [1, 2]
    proxy.plan(r"GET /cluster", *[fault] * 9)
    assert find_peers(store) == []
    assert [(one.name, one.sharding) for one in statuses(store)] == [(name, None) for name in NAMES]


def test_a_collection_whose_shards_are_not_told_is_listed_without(
    server: QdrantStandIn, store: ServerStore, proxy: FaultyProxy
) -> None:
    """The others are listed with theirs."""
    server.peers = [1, 2]
    proxy.plan(rf"GET /collections/{NAMES[1]}/cluster", REFUSED)
    assert [one.sharding is None for one in statuses(store)] == [False, True, False]


def test_a_server_alone_has_no_peers(store: ServerStore) -> None:
    """Nor are its shards listed."""
    assert find_peers(store) == []
    assert {one.sharding for one in statuses(store)} == {None}


def test_a_collection_that_lacks_peers_is_left_out(
    server: QdrantStandIn, store: ServerStore, said: list[str]
) -> None:
    """With its peers and shards in a line, and an error if there is no other."""
    server.peers = [1, 2]
    store.create(
        made_collections.manifest_of(Distance.COSINE, 4, {}), name="d-fourth", layout=ClusterLayout(shards=2)
    )
    server.down = {2}
    assert [one.name for one in statuses(store)] == [*NAMES]
    [line] = [each for each in said if each.startswith("warning: collection d-fourth is skipped")]
    assert "peer 2 at http://node-2:6335/ cannot be reached; shard 1 has 0 of 1 active replicas" in line
    for name in NAMES:
        server.client.delete_collection(name)
    with pytest.raises(PeersMissingError, match=r"shard 1 has 0 of 1 active replicas; start it again$"):
        statuses(store)


def test_a_collection_that_loses_its_peer_while_it_is_read_is_left_out(
    server: QdrantStandIn, store: ServerStore, proxy: FaultyProxy, said: list[str]
) -> None:
    """The others are listed."""
    server.peers = [1, 2]
    store.create(
        made_collections.manifest_of(Distance.COSINE, 4, {}), name="d-fourth", layout=ClusterLayout(shards=2)
    )
    proxy.plan(r"POST /collections/a-first/points/count", wire.after(lambda: server.down.add(2)))
    assert [one.name for one in statuses(store)] == [*NAMES]
    assert any("collection d-fourth is skipped" in each for each in said)


@pytest.mark.parametrize(
    ("indexed", "lacks_index", "is_local", "said"),
    [
        (0, False, True, "no index: so few points are compared one by one"),
        (1, False, False, "index of 1 point"),
        (0, True, True, "index of 0 of 1 point, the next ingest adds 1"),
        (0, True, False, "index of 0 of 1 point, the server is adding 1"),
    ],
)
def test_status_says_how_many_points_the_index_has(
    store: ServerStore, indexed: int, lacks_index: bool, is_local: bool, said: str
) -> None:
    """And who adds those that it lacks."""
    first = replace(statuses(store)[0], indexed=indexed, lacks_index=lacks_index)
    assert f"  {said}" in describe_collection(first, [], is_local=is_local)


def test_an_embedded_collection_lacks_its_index_until_an_ingest_builds_it(tmp_path: Path) -> None:
    """As after a copy that was interrupted."""
    embedded = EmbeddedStore(tmp_path / "qdrant", tuning=EngineTuning(indexed_above_kb=1))
    manifest = made_collections.manifest_of(Distance.COSINE, 16, {"data": "/data"})
    embedded.create(manifest)
    with embedded.open(manifest.collection) as collection:
        points = enumerate(made_collections.random_vectors(100, 16))
        collection.upsert([made_collections.point_of(f"{n}.jpg", vector) for n, vector in points])
    [before] = read_statuses(embedded)
    with embedded.open(manifest.collection) as collection:
        collection.upkeep.build_index(lambda: None)
    [after] = read_statuses(embedded)
    assert (before.indexed, before.lacks_index) == (0, True)
    assert (after.indexed, after.lacks_index) == (100, False)

"""Errors of a cluster that lacks peers name them, what they have, and what to do.

The cluster is a stand-in that pretends to have lost peers; a real one is not ours to stop.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import faulty_proxy as wire
import pytest
from clusters import PEERS
from faulty_proxy import FaultyProxy, running_proxy
from grpc_responder import GrpcResponder, grpc_info
from lookalike_core.errors import StoreError
from lookalike_core.hints import Action, Hint
from lookalike_core.stores import missing_peers, retries
from lookalike_core.stores.cluster_layout import ClusterLayout
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.collection_names import staged_name
from lookalike_core.stores.connection import connect
from lookalike_core.stores.peer_faults import PeerFault, find_peer_fault
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.server import ServerCollection, ServerStore
from qdrant_stand_in import QdrantStandIn, running_stand_in
from quick_retries import SHORT_RETRIES

NewManifest = Callable[..., CollectionManifest]
NewPoint = Callable[..., ImagePoint]
Responder = Any  # conftest's; tests are no package to import it from

REFUSED = (
    'status: Unavailable, message: "Failed to connect to http://node-102:6335/, error: transport error", '
    "details: [], metadata: MetadataMap { headers: {} }"
)
NODE_102 = frozenset({"http://node-102:6335"})
ADDRESS = "http://node-102:6335/"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"1 of 1 read operations failed:\n  Service internal error: Tonic status error: {REFUSED}",
            PeerFault(addresses=NODE_102),
        ),
        (
            (
                "Service internal error: 1 out of 3 shards failed to apply operation. First error captured: "
                f"Service internal error: Tonic status error: {REFUSED}"
            ),
            PeerFault(addresses=NODE_102, is_write=True),
        ),
        (
            "The replica set for shard 2 on peer 101 does not have enough active replicas",
            PeerFault(),
        ),
        (
            "Service internal error: The replica set for shard 2 on peer 101 has no active replica",
            PeerFault(is_write=True),
        ),
        (
            (
                "Service internal error: Failed to apply operation to at least one `Active` replica. "
                "Please retry. Failed peer: 102, error: Service internal error: some reason"
            ),
            PeerFault(peers=frozenset({102}), is_write=True),
        ),
        (
            (
                "Some replica of shard 0 failed to apply operation and deactivation timed "
                f"out after 30s. Please retry. Failed peer: 102, error: {REFUSED}"
            ),
            PeerFault(addresses=NODE_102, peers=frozenset({102}), is_write=True),
        ),
        (
            "Service internal error: no address found for peer 103",
            PeerFault(peers=frozenset({103}), is_write=True),
        ),
        (
            "Service internal error: Waiting for consensus operation commit failed. Timeout set at: 10 s",
            PeerFault(lacks_majority=True),
        ),
        ("Wrong input: Vector dimension error: expected dim: 4, got 3", None),
        ("Rate limiting exceeded: Write rate limit exceeded", None),
        (
            (
                "failed to connect to all addresses; last error: UNKNOWN: ipv4:[::1]:1: Failed to connect "
                "to remote host: connect: Connection refused (111)"
            ),
            None,
        ),
    ],
)
def test_messages_about_peers_are_recognized(text: str, expected: PeerFault | None) -> None:
    """The texts are of Qdrant's source; the last is gRPC's own, of a server that is not there."""
    assert find_peer_fault(text) == expected


@pytest.fixture
def server() -> Iterator[QdrantStandIn]:
    """Yields a stand-in that pretends to be a cluster of three."""
    with running_stand_in() as one:
        one.peers = list(PEERS)
        yield one


@pytest.fixture
def store(server: QdrantStandIn) -> Iterator[ServerStore]:
    """Yields the store through the first peer."""
    one = connect(server.url, api_key=None, tuning=SHORT_RETRIES)
    yield one
    one.close()


def make(store: ServerStore, manifest: CollectionManifest, **layout: int) -> ServerCollection:
    """Returns a new collection, open."""
    store.create(manifest, layout=ClusterLayout(**layout))
    return store.open(manifest.collection)


def test_reads_go_on_and_writes_as_their_consistency_allows(
    server: QdrantStandIn, store: ServerStore, manifest_of: NewManifest, point_of: NewPoint
) -> None:
    """With two replicas one peer may be down; a write that both must confirm says what it lacks."""
    point = point_of("a.jpg", [1, 0, 0, 0])
    loose = make(store, manifest_of(), shards=3, replicas=2, write_consistency=1)
    strict = make(store, manifest_of(), shards=3, replicas=2, write_consistency=2)
    strict.upsert([point])
    server.down = {102}
    loose.upsert([point])
    assert loose.count() == strict.count() == 1
    with pytest.raises(StoreError, match="writing points to") as caught:
        strict.upsert([point])
    assert str(caught.value).endswith(
        f"(5 tries); peer 102 at {ADDRESS} cannot be reached; shards 0 and 1 have 1 of 2 active replicas; "
        "writes must be confirmed by 2 replicas, and with a write consistency of 1 go on; start it again"
    )
    assert caught.value.hint == Hint(Action.REPEAT)
    server.down = set()
    strict.upsert([point])


def test_a_read_of_a_shard_without_replicas_names_the_peer(
    server: QdrantStandIn, store: ServerStore, manifest_of: NewManifest
) -> None:
    """Of one replica each, a third of the shards is away; the server's own words come first."""
    collection = make(store, manifest_of(), shards=6, replicas=1)
    server.down = {102}
    with pytest.raises(StoreError, match="1 of 1 read operations failed") as caught:
        collection.count()
    assert str(caught.value).endswith(
        f"peer 102 at {ADDRESS} cannot be reached; shards 1 and 4 have 0 of 1 active replicas; start it again"
    )


def test_a_staged_collection_is_looked_for_by_its_real_name(
    server: QdrantStandIn, store: ServerStore, manifest_of: NewManifest, point_of: NewPoint
) -> None:
    """A rebuild writes to a collection that the server knows under another name."""
    manifest = manifest_of()
    make(store, manifest, shards=3, replicas=2, write_consistency=2)
    store.create(manifest, name=staged_name(manifest.collection))
    staged = store.open(staged_name(manifest.collection))
    server.down = {101, 103}
    with pytest.raises(StoreError) as caught:
        staged.upsert([point_of("a.jpg", [1, 0, 0, 0])])
    assert "peer 101 at http://node-101:6335/ and peer 103 at http://node-103:6335/ cannot" in str(
        caught.value
    )
    assert "shard 2 has 0 of 2 active replicas" in str(caught.value)
    assert str(caught.value).endswith("start them again")


def test_a_write_goes_on_once_the_peer_is_back(
    server: QdrantStandIn,
    store: ServerStore,
    manifest_of: NewManifest,
    point_of: NewPoint,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may only restart, so that the write is retried as after other passing faults."""
    collection = make(store, manifest_of(), shards=3, replicas=1)
    server.down = {102}
    monkeypatch.setattr(retries.time, "sleep", lambda _: server.down.clear())
    collection.upsert([point_of("a.jpg", [1, 0, 0, 0])])
    assert len(said) == 1
    assert f"Failed to connect to {ADDRESS}" in said[0]
    assert "try 2 of 5" in said[0]


@pytest.fixture
def failing(
    server: QdrantStandIn, manifest_of: NewManifest, point_of: NewPoint
) -> Iterator[tuple[FaultyProxy, Callable[[], object]]]:
    """Yields a proxy before a cluster that has lost a peer, and a write through it that fails."""
    with running_proxy(("127.0.0.1", server.port)) as proxy:
        store = connect(proxy.url, api_key=None, tuning=SHORT_RETRIES)
        collection = make(store, manifest_of(), shards=3, replicas=2, write_consistency=2)
        server.down = {102}
        yield proxy, lambda: collection.upsert([point_of("a.jpg", [1, 0, 0, 0])])
        store.close()


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/cluster", "; a peer at http://node-102:6335 cannot be reached; "),
        (r"/collections/[^/]+/cluster", f"; peer 102 at {ADDRESS} cannot be reached; start it again"),
    ],
)
@pytest.mark.parametrize(
    "fault", [wire.answer(403, "forbidden"), wire.cut_answer(30), wire.answer(200), wire.reset]
)
def test_a_question_without_an_answer_leaves_the_rest(
    failing: tuple[FaultyProxy, Callable[[], object]], path: str, known: str, fault: wire.Fault
) -> None:
    """A key may be limited to a collection; the peer's URI is in the server's own words, too."""
    proxy, write = failing
    proxy.plan(rf"GET {path} ?$", *[fault] * 2)
    with pytest.raises(StoreError, match=r"writing points to .* transport error") as caught:
        write()
    assert known in str(caught.value)
    assert str(caught.value).endswith("; start it again")


def test_questions_that_are_not_answered_delay_the_error_for_a_few_seconds_at_most(
    failing: tuple[FaultyProxy, Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer would come when the proxy closes, which is after this test."""
    proxy, write = failing
    monkeypatch.setattr(missing_peers, "TIMEOUT_S", 0.1)
    proxy.plan(r"GET /cluster ?$", wire.stall(threading.TIMEOUT_MAX))
    with pytest.raises(StoreError, match=r"a peer at http://node-102:6335 cannot be reached; start it again"):
        write()


def test_an_error_of_no_peer_asks_for_none(failing: tuple[FaultyProxy, Callable[[], object]]) -> None:
    """Its message is as on a server alone."""
    proxy, write = failing
    proxy.plan("PUT .*/points", *[wire.answer(503, "overloaded")] * 5)
    with pytest.raises(StoreError, match=r"503 \(overloaded\) \(5 tries\); check what runs at this address"):
        write()
    assert proxy.count("GET /cluster") == 1, "the one of its creation, for the replicas"


def test_a_failure_over_grpc_names_the_peer(
    responder: Responder,
    grpc_responder: GrpcResponder,
    enveloped: Callable[[Any], Any],
    manifest_of: NewManifest,
) -> None:
    """The cluster is asked over HTTP, where the interface for it is."""
    responder.be_qdrant()
    manifest = manifest_of()
    peers = {"101": {"uri": "http://node-101:6335/"}, "102": {"uri": ADDRESS}}
    responder.answers["GET /cluster"] = (200, enveloped({"status": "enabled", "peers": peers}))
    store = connect(responder.url, api_key=None, grpc_port=grpc_responder.port, tuning=SHORT_RETRIES)
    collection = ServerCollection(store._client, "any", manifest, requests=store._requests)  # noqa: SLF001
    said = f"Service internal error: 1 of 1 read operations failed:\n  {REFUSED}"
    for code in ("INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"):
        grpc_responder.failing["Collections/Get"] = []
        grpc_responder.failing["Count"] = [(code, said, {})] * 5
        grpc_responder.answers["Collections/Get"] = grpc_info(manifest)
        with pytest.raises(StoreError, match=r"read operations failed") as caught:
            collection.count()
        assert str(caught.value).endswith(f"; peer 102 at {ADDRESS} cannot be reached; start it again")
    store.close()

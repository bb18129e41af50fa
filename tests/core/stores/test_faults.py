"""The server store behind a proxy that resets, stalls, cuts and refuses connections.

Behind the proxy is the real server that `QDRANT_URL` names, else a stand-in that serves Qdrant's REST
interface from the client's in-memory mode; see `tests/support`.
"""

import os
import signal
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import faulty_proxy as wire
import numpy as np
import pytest
from faulty_proxy import FaultyProxy, running_proxy
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import CollectionMissingError, LookalikeError, ManifestError, StoreError
from lookalike_core.hints import Action, Hint
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.models.model_manifest import METADATA_KEY
from lookalike_core.stores import retries
from lookalike_core.stores.address import Secrets, ServerAddress
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.connection import connect
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.retries import RetryPolicy
from lookalike_core.stores.server import ServerCollection, ServerStore
from lookalike_core.stores.server_tuning import ServerTuning
from qdrant_stand_in import running_stand_in
from quick_retries import QUICK_RETRIES
from waiting import wait_until

NewManifest = Callable[..., CollectionManifest]
NewPoint = Callable[..., ImagePoint]
RandomVectors = Callable[[int, int], list[FloatVector]]
Backend = Any  # conftest's; tests are no package to import it from

KEY = "s3cret-key/+with=all sorts"
API_KEY = os.environ.get("QDRANT_API_KEY")
IMPATIENT = replace(QUICK_RETRIES, timeout_s=1)
"""Tuning with a timeout of one second."""

WRITES = r"PUT .*/points\b"


@pytest.fixture
def store(proxy: FaultyProxy) -> Iterator[ServerStore]:
    """Yields a store behind the proxy."""
    one = connect(proxy.url, api_key=API_KEY, tuning=QUICK_RETRIES)
    yield one
    one.close()


@pytest.fixture
def manifest(qdrant: Backend, manifest_of: NewManifest) -> Iterator[CollectionManifest]:
    """Returns the manifest of a collection that is deleted after the test."""
    one = manifest_of(Distance.EUCLID, 4)
    yield one
    qdrant.client.delete_collection(one.collection)


@pytest.fixture
def collection(store: ServerStore, proxy: FaultyProxy, manifest: CollectionManifest) -> ServerCollection:
    """Yields an open, empty collection behind the proxy."""
    store.create(manifest)
    opened = store.open(manifest.collection)
    proxy.seen.clear()
    return opened


@pytest.fixture
def points(point_of: NewPoint, random_vectors: RandomVectors) -> list[ImagePoint]:
    """Returns forty points."""
    return [point_of(f"cat/{i}.jpg", vector) for i, vector in enumerate(random_vectors(40, 4))]


def assert_all_there(collection: ServerCollection, points: list[ImagePoint]) -> None:
    """Asserts that each point is stored once, with its payload and its vector."""
    assert collection.count() == len(points)
    assert {payload.id: payload for payload in collection.scan()} == {p.payload.id: p.payload for p in points}
    found = collection.vectors([point.payload.id for point in points])
    assert all(np.array_equal(found[point.payload.id], point.vector) for point in points)


PASSING = {
    "reset before the server has it": wire.reset,
    "answer lost": wire.lost_answer,
    "answer cut": wire.cut_answer(40),
    "408": wire.answer(408),
    "429": wire.answer(429),
    "429 with Retry-After": wire.answer(429, Retry_After="0"),
    "429 with a date": wire.answer(429, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"),
    "500": wire.answer(500),
    "502": wire.answer(502),
    "503": wire.answer(503, Retry_After="0"),
    "504": wire.answer(504),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_failed_write_is_retried(
    collection: ServerCollection,
    proxy: FaultyProxy,
    points: list[ImagePoint],
    said: list[str],
    fault: wire.Fault,
) -> None:
    """Two failures in a row are logged as one line each, and every point is stored once."""
    proxy.plan(WRITES, fault, fault)
    collection.upsert(points)
    assert proxy.count(WRITES) == 3
    assert len(said) == 2
    for line, number in zip(said, ("2", "3"), strict=True):
        assert line.startswith(f"writing points to {collection.name} failed on {proxy.url}: ")
        assert line.endswith(f" s (try {number} of 5)")
        assert "again in " in line
        assert "\n" not in line
    assert_all_there(collection, points)


@pytest.mark.parametrize(
    "pattern",
    [
        r"GET /collections ?$",
        r"GET /collections/.*/exists",
        r"GET /collections/[^/]*$",
        r"PUT /collections/[^/]*$",
        r"PUT /collections/.*/index",
        r"PUT /collections/.*/points",
        r"PATCH /collections/",
        r"POST .*/points/batch",
        r"POST .*/points/delete",
        r"POST .*/points/scroll",
        r"POST .*/points$",
        r"POST .*/points/count",
        r"POST .*/facet",
        r"POST .*/points/query",
        r"DELETE /collections/",
    ],
)
@pytest.mark.parametrize("fault", [wire.reset, wire.lost_answer, wire.answer(503)])
def test_every_request_is_retried(
    store: ServerStore,
    proxy: FaultyProxy,
    manifest: CollectionManifest,
    points: list[ImagePoint],
    said: list[str],
    pattern: str,
    fault: wire.Fault,
) -> None:
    """All operations on a collection succeed while one kind of request fails repeatedly."""
    proxy.plan(pattern, fault)
    name = manifest.collection
    store.create(manifest)
    assert name in store.names()
    with store.open(name) as collection:
        collection.record_dataset("data", "/data")
        collection.upsert(points)
        collection.replace_payloads([replace(points[0].payload, class_name="dog")])
        collection.delete([points[1].payload.id])
        assert collection.count() == 39
        assert collection.tally("class") == {"cat": 38, "dog": 1}
        assert collection.query(points[2].vector, limit=1)[0].payload == points[2].payload
        assert len(list(collection.scan())) == 39
        assert len(collection.vectors([point.payload.id for point in points])) == 39
    assert store.manifest(name).datasets == {"data": "/data"}
    store.delete(name)
    assert name not in store
    assert len(said) == 1
    assert "try 2 of 5" in said[0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 501])
def test_a_permanent_fault_is_not_retried(
    collection: ServerCollection, proxy: FaultyProxy, points: list[ImagePoint], said: list[str], status: int
) -> None:
    """A request with the same answer every time is sent once."""
    proxy.plan(WRITES, wire.answer(status, "no"))
    with pytest.raises(LookalikeError, match=rf"{status} \(no\)") as caught:
        collection.upsert(points)
    assert caught.value.exit_code in (5, 6)
    assert proxy.count(WRITES) == 1
    assert said == []


def test_a_server_that_comes_back_is_waited_for(
    collection: ServerCollection,
    proxy: FaultyProxy,
    points: list[ImagePoint],
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server is down between two batches; the second succeeds once it is back."""
    collection.upsert(points[:20])
    proxy.refuse()
    monkeypatch.setattr(retries.time, "sleep", lambda _: proxy.open())
    collection.upsert(points[20:])
    assert said
    assert "refused" in said[0]
    assert_all_there(collection, points)


def test_a_server_that_restarts_is_waited_for(
    manifest_of: NewManifest, points: list[ImagePoint], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in itself closes its port and opens it again with its data, without a proxy."""
    with running_stand_in() as server:
        store = connect(server.url, api_key=None, tuning=QUICK_RETRIES)
        manifest = manifest_of(Distance.EUCLID, 4)
        store.create(manifest)
        collection = store.open(manifest.collection)
        collection.upsert(points[:20])
        server.stop()
        monkeypatch.setattr(retries.time, "sleep", lambda _: server.start())
        collection.upsert(points[20:])
        assert said
        assert_all_there(collection, points)
        store.close()


def test_an_unreachable_server_is_given_up_after_all_attempts(
    collection: ServerCollection, proxy: FaultyProxy, points: list[ImagePoint], said: list[str]
) -> None:
    """The message has the number of attempts and the remedy."""
    proxy.refuse()
    with pytest.raises(StoreError, match=r"refused.*\(5 tries\).*docker compose up qdrant") as caught:
        collection.upsert(points)
    assert caught.value.exit_code == 5
    assert [line[-len("(try 2 of 5)") :] for line in said] == [f"(try {n} of 5)" for n in (2, 3, 4, 5)]


def test_connecting_is_tried_once(qdrant: Backend, proxy: FaultyProxy, said: list[str]) -> None:
    """A wrong URL is reported immediately."""
    proxy.plan("GET /", wire.answer(503))
    with pytest.raises(StoreError, match="503"):
        connect(proxy.url, api_key=None)
    assert len(proxy.seen) == 1
    assert said == []


def test_a_request_that_times_out_is_retried(
    proxy: FaultyProxy, manifest: CollectionManifest, points: list[ImagePoint], said: list[str]
) -> None:
    """The request is idempotent, so its late arrival does no harm; a busy machine may be late with others."""
    store = connect(proxy.url, api_key=API_KEY, tuning=IMPATIENT)
    store.create(manifest)
    collection = store.open(manifest.collection)
    proxy.plan(WRITES, wire.stall(1.5))
    collection.upsert(points)
    assert {"no answer in time" in line for line in said} == {True}
    assert_all_there(collection, points)
    store.close()


def test_an_answer_after_30_s_is_awaited(
    request: pytest.FixtureRequest,
    collection: ServerCollection,
    proxy: FaultyProxy,
    points: list[ImagePoint],
    said: list[str],
) -> None:
    """The timeout is a minute, so the request is sent once."""
    if not request.config.getoption("--torture", default=False):
        pytest.skip("takes half a minute; runs with --torture")
    proxy.plan(WRITES, wire.stall(30))
    collection.upsert(points)
    assert proxy.count(WRITES) == 1
    assert said == []
    assert_all_there(collection, points)


@pytest.mark.parametrize(
    ("fault", "wait"),
    [
        (wire.answer(429, Retry_After="7"), "7.0"),
        (wire.answer(503, Retry_After="7"), "7.0"),
        (wire.answer(429, Retry_After="86400"), "60.0"),
        (wire.answer(429, Retry_After="-1"), "0.0"),
    ],
)
def test_retry_after_is_honoured(
    collection: ServerCollection,
    proxy: FaultyProxy,
    points: list[ImagePoint],
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    fault: wire.Fault,
    wait: str,
) -> None:
    """The wait is that of `Retry-After`, up to a minute."""
    waited: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", waited.append)
    proxy.plan(WRITES, fault)
    collection.upsert(points)
    assert waited == [float(wait)]
    assert f"again in {wait} s" in said[0]


def test_waits_grow_exponentially_with_jitter(
    manifest: CollectionManifest, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They grow from half a second to about fifteen, and processes that fail together retry apart."""
    waited: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", waited.append)
    store = connect(proxy.url, api_key=API_KEY)
    store.create(manifest)
    collection = store.open(manifest.collection)
    proxy.refuse()
    for _ in range(2):
        with pytest.raises(StoreError):
            collection.count()
    first, second = waited[:4], waited[4:]
    for wait, least in zip(first, (0.5, 1.5, 4.5, 13.5), strict=True):
        assert least <= wait <= least + 0.25
    assert first != second
    store.close()


def test_ctrl_c_ends_a_wait_at_once(
    manifest: CollectionManifest,
    proxy: FaultyProxy,
    stopwatch: Callable[[], float],
) -> None:
    """A signal handler can see that no batch is in progress; the handler stays installed."""

    def patient(_signal: int, _frame: object) -> None:
        """Ends a wait, but not a batch in progress."""
        if retries.is_waiting():
            assert signal.getsignal(signal.SIGINT) is patient
            raise KeyboardInterrupt

    long_waits = ServerTuning(retries=RetryPolicy(first_wait_s=600.0, longest_wait_s=600.0))
    store = connect(proxy.url, api_key=API_KEY, tuning=long_waits)
    store.create(manifest)
    collection = store.open(manifest.collection)
    waiting = retries._waiting_threads  # noqa: SLF001 - `is_waiting` tells of its own thread only

    def press() -> None:
        wait_until(lambda: threading.main_thread().ident in waiting)
        os.kill(os.getpid(), signal.SIGINT)

    before, pressing = signal.signal(signal.SIGINT, patient), threading.Thread(target=press)
    try:
        proxy.refuse()
        pressing.start()
        with pytest.raises(KeyboardInterrupt):
            collection.count()
        assert stopwatch() < 300
        assert not retries.is_waiting()
    finally:
        signal.signal(signal.SIGINT, before)
        pressing.join()
    store.close()


def test_another_thread_can_wait_too(
    collection: ServerCollection, proxy: FaultyProxy, points: list[ImagePoint]
) -> None:
    """Signal handlers belong to the main thread; a wait in another one leaves them unchanged."""
    proxy.plan(WRITES, wire.reset)
    writer = threading.Thread(target=collection.upsert, args=(points,))
    writer.start()
    writer.join()
    assert_all_there(collection, points)


def test_a_write_that_is_too_large_is_split(
    collection: ServerCollection, proxy: FaultyProxy, points: list[ImagePoint], said: list[str]
) -> None:
    """Points and payloads are halved until they fit, without a log line or a wait."""
    proxy.body_limit = 2000
    collection.upsert(points)
    changed = [replace(point.payload, class_name="dog") for point in points]
    collection.replace_payloads(changed)
    assert proxy.count(WRITES) > 8
    assert said == []
    before = proxy.count("POST .*/points/batch")
    collection.replace_payloads(changed[:4])
    assert proxy.count("POST .*/points/batch") == before + 2, "the size that fits is remembered"
    proxy.body_limit = None
    assert_all_there(
        collection, [replace(point, payload=p) for point, p in zip(points, changed, strict=True)]
    )


def test_a_read_that_is_too_large_is_split(
    collection: ServerCollection, proxy: FaultyProxy, points: list[ImagePoint], said: list[str]
) -> None:
    """Searches and lists of ids keep their order; the accepted size is remembered."""
    collection.upsert(points)
    vectors = np.array([point.vector for point in points])
    ids = [point.payload.id for point in points]
    whole = collection.query_many(vectors, limit=3)
    asked = proxy.count("POST")
    proxy.body_limit = 1000
    assert collection.query_many(vectors, limit=3) == whole
    assert [first.id for first, *_ in whole] == ids, "each is nearest to itself"
    assert list(collection.vectors(ids)) == ids
    assert list(collection.payloads(ids)) == ids
    assert proxy.count("POST") > asked + 6
    assert said == []
    before = proxy.count("POST .*/query/batch")
    collection.query_many(vectors[:2], limit=3)
    assert proxy.count("POST .*/query/batch") == before + 1


def test_a_single_query_that_is_too_large_is_an_error(
    collection: ServerCollection, proxy: FaultyProxy, points: list[ImagePoint]
) -> None:
    """A single search cannot be split."""
    collection.upsert(points)
    proxy.body_limit = 200
    with pytest.raises(StoreError, match=r"searching .*413 \(the limit is 200 bytes\)"):
        collection.query_many(np.array([points[0].vector]), limit=3)


def test_qdrant_messages_about_too_large_requests_are_recognised(
    collection: ServerCollection, proxy: FaultyProxy, points: list[ImagePoint]
) -> None:
    """Qdrant answers 400 with a message where others answer 413."""
    text = "Payload error: JSON payload (49200000 bytes) is larger than allowed (limit: 33554432 bytes)."
    proxy.plan(WRITES, wire.answer(400, text))
    collection.upsert(points)
    assert proxy.count(WRITES) == 3
    assert_all_there(collection, points)


def test_a_server_that_stops_reading_is_sent_smaller_requests(
    proxy: FaultyProxy, manifest_of: NewManifest, point_of: NewPoint, random_vectors: RandomVectors
) -> None:
    """Qdrant answers before it has read a body over its limit, which a writing client does not see."""
    manifest = manifest_of(Distance.EUCLID, 4096)
    store = connect(proxy.url, api_key=API_KEY, tuning=IMPATIENT)
    store.create(manifest)
    collection = store.open(manifest.collection)
    proxy.deaf_above = 2**20
    points = [point_of(f"{i}.jpg", vector) for i, vector in enumerate(random_vectors(60, 4096))]
    collection.upsert(points)
    assert collection.count() == len(points)
    for point in (points[0], points[-1]):
        found = collection.vectors([point.payload.id])
        assert np.array_equal(found[point.payload.id], point.vector)
    store.delete(manifest.collection)
    store.close()


def test_one_row_that_is_too_large_is_an_error(
    collection: ServerCollection, proxy: FaultyProxy, points: list[ImagePoint]
) -> None:
    """The message has the limit, if the server reports it, and what set it."""
    proxy.body_limit = 300
    with pytest.raises(StoreError, match=r"413 \(the limit is 300 bytes\).*proxy in front") as caught:
        collection.upsert(points)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("fault", [wire.lost_answer, wire.cut_answer(10)])
def test_a_creation_whose_answer_was_lost_is_recognised_by_its_manifest(
    store: ServerStore, proxy: FaultyProxy, manifest: CollectionManifest, fault: wire.Fault
) -> None:
    """The retry finds the collection, and its manifest identifies it as created by this call."""
    proxy.plan(r"PUT /collections/[^/]*$", fault)
    store.create(manifest)
    assert store.manifest(manifest.collection) == manifest
    assert proxy.count(r"PUT /collections/[^/]*$") == 2


def make(qdrant: Backend, manifest: CollectionManifest, *, size: int = 4, metadata: Any = None) -> None:
    """Creates a collection under the manifest's name, bypassing the proxy."""
    from qdrant_client import models

    vectors = models.VectorParams(size=size, distance=models.Distance.EUCLID)
    qdrant.client.create_collection(manifest.collection, vectors, metadata=metadata)


def test_a_collection_created_by_others_between_two_attempts_is_not_changed(
    store: ServerStore, qdrant: Backend, proxy: FaultyProxy, manifest: CollectionManifest
) -> None:
    """The first attempt does not reach the server, and another process creates one before the second."""

    def snatch(server: FaultyProxy, client: socket.socket, request: wire.Request) -> None:
        make(qdrant, manifest, metadata={"owner": "somebody"})
        wire.reset(server, client, request)

    proxy.plan(r"PUT /collections/[^/]*$", snatch)
    with pytest.raises(ManifestError, match="was not changed"):
        store.create(manifest)
    info = qdrant.client.get_collection(manifest.collection)
    assert info.config.metadata == {"owner": "somebody"}


def replaced(manifest: CollectionManifest, **changes: Any) -> dict[str, Any]:
    """Returns metadata with the manifest of another identity."""
    other = replace(manifest, identity=replace(manifest.identity, **changes))
    return {METADATA_KEY: other.to_json()}


def deleted(qdrant: Backend, manifest: CollectionManifest) -> None:
    """Deletes the collection."""
    qdrant.client.delete_collection(manifest.collection)


def of_another_size(qdrant: Backend, manifest: CollectionManifest) -> None:
    """Replaces the collection by one of ours, for vectors of 8 values."""
    deleted(qdrant, manifest)
    make(qdrant, manifest, size=8, metadata=replaced(manifest, dimension=8))


def of_another_size_with_our_manifest(qdrant: Backend, manifest: CollectionManifest) -> None:
    """Replaces the collection by one with our manifest, for vectors of 8 values."""
    deleted(qdrant, manifest)
    make(qdrant, manifest, size=8, metadata={METADATA_KEY: manifest.to_json()})


def of_another_layer(qdrant: Backend, manifest: CollectionManifest) -> None:
    """Replaces the collection by one of another layer with vectors of the same size."""
    deleted(qdrant, manifest)
    make(qdrant, manifest, metadata=replaced(manifest, layer="conv5_block3_out"))


def of_somebody_else(qdrant: Backend, manifest: CollectionManifest) -> None:
    """Replaces the collection by one of the same size, without a manifest."""
    deleted(qdrant, manifest)
    make(qdrant, manifest)


def made_anew(qdrant: Backend, manifest: CollectionManifest) -> None:
    """Replaces the collection by an empty one of the same space."""
    deleted(qdrant, manifest)
    anew = replace(manifest, created_at="2026-06-01T00:00:00+00:00")
    make(qdrant, manifest, metadata={METADATA_KEY: anew.to_json()})


REPLACED = [
    (deleted, CollectionMissingError, "deleted in the meantime$"),
    (of_another_size, ManifestError, "it has 8 values a vector and a manifest, not 4 values"),
    (of_another_size_with_our_manifest, ManifestError, "it has 8 values a vector and a manifest, not 4"),
    (of_another_layer, ManifestError, "layer is conv5_block3_out there and block5_pool here"),
    (of_somebody_else, ManifestError, "it has 4 values a vector and no manifest, not 4 values"),
    (made_anew, CollectionMissingError, "created again in the meantime"),
]


@pytest.mark.parametrize(
    ("happens", "kind", "message"), REPLACED, ids=lambda value: getattr(value, "__name__", "")
)
@pytest.mark.parametrize("when", ["between writes", "while a write is tried again", "after the last write"])
def test_a_replaced_collection_is_not_written_to(
    collection: ServerCollection,
    qdrant: Backend,
    proxy: FaultyProxy,
    points: list[ImagePoint],
    happens: Callable[[Backend, CollectionManifest], None],
    kind: type[LookalikeError],
    message: str,
    when: str,
) -> None:
    """Writing ends with exit code 6, a message with both collections, and no point in the new one."""

    def snatch(server: FaultyProxy, client: socket.socket, request: wire.Request) -> None:
        happens(qdrant, collection.manifest)
        wire.reset(server, client, request)

    def write() -> None:
        with collection:
            collection.upsert(points[:20])
            if when == "while a write is tried again":
                proxy.plan(WRITES, snatch)
            else:
                happens(qdrant, collection.manifest)
            if when != "after the last write":
                collection.upsert(points[20:])

    with pytest.raises(kind, match=message) as caught:
        write()
    assert type(caught.value) is kind
    assert caught.value.exit_code == 6
    assert collection.name in str(caught.value)
    if happens is not deleted:
        assert qdrant.client.count(collection.name).count == 0


def test_a_search_in_another_size_is_explained(
    collection: ServerCollection, qdrant: Backend, proxy: FaultyProxy, points: list[ImagePoint]
) -> None:
    """The message compares the two manifests, which tell more than the server's refusal."""
    of_another_size(qdrant, collection.manifest)
    proxy.plan("POST .*/points/query", wire.answer(400, "Wrong input: Vector dimension error"))
    with pytest.raises(ManifestError, match="it has 8 values a vector"):
        collection.query(points[0].vector, limit=1)


def test_a_refusal_is_reported_if_the_manifest_cannot_be_read(
    collection: ServerCollection, proxy: FaultyProxy, points: list[ImagePoint]
) -> None:
    """The manifest cannot be read either, so the refusal is reported."""
    proxy.plan("POST .*/points/query", wire.answer(400, "no such thing"))
    proxy.plan("GET /collections/", wire.answer(503))
    with pytest.raises(StoreError, match=r"400 \(no such thing\)"):
        collection.query(points[0].vector, limit=1)


def test_a_dataset_overwritten_by_another_writer_is_recorded_again(
    collection: ServerCollection, qdrant: Backend, proxy: FaultyProxy, store: ServerStore
) -> None:
    """Both read and then write the manifest; the overwritten one notices and adds its own again."""

    def undo() -> None:
        theirs = collection.manifest.with_dataset("theirs", "/theirs")
        qdrant.client.update_collection(collection.name, metadata={METADATA_KEY: theirs.to_json()})

    proxy.plan("PATCH", wire.before_answer(undo))
    collection.record_dataset("ours", "/ours")
    both = {"ours": "/ours", "theirs": "/theirs"}
    assert collection.manifest.datasets == store.manifest(collection.name).datasets == both


@pytest.mark.parametrize("later", ["at the next write", "when it is released"])
def test_a_dataset_overwritten_later_is_recorded_again(
    collection: ServerCollection,
    qdrant: Backend,
    points: list[ImagePoint],
    store: ServerStore,
    later: str,
) -> None:
    """A slow writer may write an old manifest; a root that was changed on purpose stays."""
    with collection:
        collection.record_dataset("ours", "/ours", FolderRules(class_level=2))
        collection.record_dataset("moved", "/old")
        stale = replace(collection.manifest, datasets={"theirs": "/theirs", "moved": "/new"})
        qdrant.client.update_collection(collection.name, metadata={METADATA_KEY: stale.to_json()})
        if later == "at the next write":
            collection.upsert(points)
            assert "ours" in store.manifest(collection.name).datasets
    expected = {"ours": "/ours", "theirs": "/theirs", "moved": "/new"}
    assert store.manifest(collection.name).datasets == expected
    assert store.manifest(collection.name).folder_rules == {"ours": FolderRules(class_level=2)}


def test_a_dataset_overwritten_twice_is_recorded_twice_more(
    collection: ServerCollection, qdrant: Backend, proxy: FaultyProxy, store: ServerStore
) -> None:
    """Two processes that release the collection at the same time may overwrite each other once more."""
    stale = {METADATA_KEY: collection.manifest.to_json()}

    def undo() -> None:
        qdrant.client.update_collection(collection.name, metadata=stale)

    with collection:
        collection.record_dataset("ours", "/ours")
        undo()
        proxy.plan("PATCH", wire.before_answer(undo))
    assert store.manifest(collection.name).datasets == {"ours": "/ours"}


def test_a_dataset_that_is_always_overwritten_is_an_error(
    collection: ServerCollection, qdrant: Backend, proxy: FaultyProxy
) -> None:
    """Retries are bounded; another process that writes after each of ours wins with an error here."""
    empty = {METADATA_KEY: collection.manifest.to_json()}

    def undo() -> None:
        qdrant.client.update_collection(collection.name, metadata=empty)

    proxy.plan("PATCH", *[wire.before_answer(undo)] * 20)
    with pytest.raises(StoreError, match="cannot be recorded"):
        collection.record_dataset("ours", "/ours")
    assert proxy.count("PATCH") == 5


def serve_tls() -> tuple[int, Callable[[], None]]:
    """Yields a port with Python's TLS and no certificate, which refuses every handshake with an alert."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
                with client, context.wrap_socket(client, server_side=True):
                    pass
            except ssl.SSLError:
                continue
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def stop() -> None:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()

    return listener.getsockname()[1], stop


def test_https_to_a_plain_port_is_an_error_with_the_right_url(proxy: FaultyProxy) -> None:
    """The port may answer with an error or hang up; the message has the right URL."""
    with running_stand_in() as server:
        for url in (proxy.url, server.url):
            with pytest.raises(StoreError, match=f"does not speak TLS; write {url}$") as caught:
                connect(url.replace("http:", "https:"), api_key=None)
            assert caught.value.exit_code == 5


def test_http_to_a_tls_port_is_an_error_with_the_right_url() -> None:
    """The port answers with a TLS alert, or not at all."""
    port, stop = serve_tls()
    try:
        with pytest.raises(StoreError, match=f"speaks TLS; write https://127.0.0.1:{port}$") as caught:
            connect(f"http://127.0.0.1:{port}", api_key=None)
        assert caught.value.exit_code == 5
    finally:
        stop()


def test_a_failing_tls_port_is_not_reported_as_plain() -> None:
    """The scheme is right, so the TLS error is reported."""
    port, stop = serve_tls()
    try:
        with pytest.raises(StoreError) as caught:
            connect(f"https://127.0.0.1:{port}", api_key=None)
        assert "write http" not in str(caught.value)
        assert "SSL" in str(caught.value)
    finally:
        stop()


def test_a_wrong_key_is_refused_and_not_shown() -> None:
    """No key and a wrong key are refused, the right one is accepted, by a stand-in."""
    with running_stand_in(api_key=KEY) as server:
        for key in (None, "wrong-key"):
            with pytest.raises(StoreError) as caught:
                connect(server.url, api_key=key)
            assert caught.value.hint == Hint(Action.SET_KEY)
            assert caught.value.exit_code == 5
            assert "wrong-key" not in str(caught.value)
        connect(server.url, api_key=KEY).close()


def test_a_server_two_minor_versions_away_is_warned_of(said: list[str]) -> None:
    """It is used all the same."""
    with running_stand_in(version="1.2.3") as server:
        connect(server.url, api_key=None, tuning=QUICK_RETRIES).close()
    assert "1.2.3" in said[0]


ECHOES = [
    wire.answer(400, f"who are you, {KEY}?"),
    wire.answer(403, f"key {KEY.upper()} of me may not; {'x' * 170}{KEY}"),
    wire.answer(429, f"{KEY} asks too much", Retry_After="0"),
    wire.answer(500, f"{KEY} p4ss w0rd p4ss%20w0rd bWU6cDRzcyB3MHJk me"),
    wire.reset,
]


@pytest.fixture
def guarded() -> Iterator[FaultyProxy]:
    """Yields a proxy before a stand-in that requires a key."""
    with running_stand_in(api_key=KEY) as server, running_proxy(("127.0.0.1", server.port)) as one:
        yield one


@pytest.mark.parametrize("fault", ECHOES)
def test_secrets_appear_in_no_message_log_or_traceback(
    guarded: FaultyProxy, manifest_of: NewManifest, said: list[str], fault: wire.Fault
) -> None:
    """This holds even if the server's answers contain them."""
    manifest = manifest_of()
    store = connect(guarded.url.replace("//", "//me:p4ss%20w0rd@"), api_key=KEY, tuning=QUICK_RETRIES)
    store.create(manifest)
    guarded.plan("POST", *[fault] * 10)
    with pytest.raises(LookalikeError) as caught:
        store.open(manifest.collection).count()
    shown = "".join([*said, store.label, *traceback.format_exception(caught.value)])
    store.close()
    assert "s3cret" not in shown.lower()
    assert "p4ss" not in shown
    assert "bWU6" not in shown
    assert "count" in shown


def test_an_unreadable_answer_leaks_no_secret(guarded: FaultyProxy, said: list[str]) -> None:
    """The client's error quotes the answer; the traceback shows its type only."""
    store = connect(guarded.url, api_key=KEY, tuning=QUICK_RETRIES)

    def confuse(server: FaultyProxy, client: socket.socket, request: wire.Request) -> None:
        body = f'{{"result": {{"collections": "{KEY}"}}}}'
        client.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    guarded.plan("GET /collections", confuse)
    with pytest.raises(StoreError, match="the answer is not Qdrant's") as caught:
        store.names()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert "get_collections" in "".join(traceback.format_exception(caught.value))
    store.close()


def test_a_user_name_is_redacted_as_a_whole_word() -> None:
    """The user `me` is part of many words."""
    secrets = Secrets.of(ServerAddress.parse("http://me:pass@host"), None)
    assert secrets.redact("some time for me: pass") == "some time for ***: ***"
    assert repr(secrets) == "Secrets()"

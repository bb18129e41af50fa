"""Requests to a server and the handling of its faults, observed at the other end of the connection.

The other end is a small HTTP or gRPC responder, a stand-in that proves what is sent and how answers are
handled, not what Qdrant does. The contract suite proves that on a real server.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import faulty_proxy as wire
import numpy as np
import pytest
from grpc_responder import GrpcResponder, grpc_info
from lookalike_core.arrays import FloatVector
from lookalike_core.cli.hint_words import full_message
from lookalike_core.errors import (
    CollectionMissingError,
    LookalikeError,
    ManifestError,
    StoreError,
    StoreRefusedError,
    UsageError,
)
from lookalike_core.hints import Action, Hint
from lookalike_core.models.model_manifest import METADATA_KEY
from lookalike_core.stores import connection, retries
from lookalike_core.stores.address import ServerAddress
from lookalike_core.stores.cluster_layout import ClusterLayout
from lookalike_core.stores.collection_manifest import CollectionManifest, VectorQuantization
from lookalike_core.stores.connection import connect
from lookalike_core.stores.points import INDEXED_FIELDS, OVERSAMPLING, ImagePoint, PointFilter
from lookalike_core.stores.retries import RetryPolicy
from lookalike_core.stores.server import ServerCollection, ServerStore
from lookalike_core.stores.server_requests import make_index
from lookalike_core.stores.server_tuning import ServerTuning
from qdrant_stand_in import running_stand_in
from quick_retries import QUICK_RETRIES

NewManifest = Callable[..., CollectionManifest]
NewPoint = Callable[..., ImagePoint]
RandomVectors = Callable[[int, int], list[FloatVector]]
Envelope = Callable[[Any], dict[str, Any]]
Responder = Any  # conftest's; tests are no package to import it from

QDRANT_LIMIT_BYTES = 32 * 2**20
KEY = "s3cret-key"


@pytest.mark.parametrize(
    ("url", "label", "grpc"),
    [
        ("http://localhost", "http://localhost:6333", True),
        ("https://cloud.example", "https://cloud.example:6333", True),
        ("https://cloud.example:443", "https://cloud.example:443", False),
        ("http://127.0.0.1:7333", "http://127.0.0.1:7333", False),
        ("http://[::1]:6333", "http://[::1]:6333", True),
        ("http://host:6333/qdrant/", "http://host:6333/qdrant", False),
        ("http://me:s3cret@host", "http://host:6333", False),
        ("http://me@host:6333", "http://host:6333", False),
    ],
)
def test_the_ports_of_an_address(url: str, label: str, grpc: bool) -> None:
    """6333 unless the URL has a port, as in qdrant-client; gRPC with that port only; no credentials."""
    parsed = ServerAddress.parse(url)
    assert parsed.label == label
    assert parsed.may_speak_grpc is grpc
    assert "s3cret" not in repr(parsed)


def test_a_password_in_the_url_is_sent_and_not_shown(responder: Responder) -> None:
    """It is sent decoded, as basic authentication, with each request."""
    responder.be_qdrant()
    url = responder.url.replace("http://", "http://me:p%40ss@")
    store = connect(url, api_key=None)
    assert store.label == responder.url
    assert {seen.headers.get("Authorization") for seen in responder.seen} == {"Basic bWU6cEBzcw=="}
    store.close()


@pytest.mark.parametrize("key", ["with\nbreak", "trailing\n", " space", "schlüssel", "nul\0"])
def test_a_key_that_cannot_be_sent_is_not_quoted(responder: Responder, key: str) -> None:
    """HTTP libraries quote a header that they cannot send, so the key is checked before."""
    with pytest.raises(UsageError, match="the API key contains characters") as caught:
        connect(responder.url, api_key=key)
    assert caught.value.hint == Hint(Action.CORRECT_KEY)
    assert key not in str(caught.value)
    assert not responder.seen


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, "Must provide an API key", r"connecting failed on {url}.*401.*; set QDRANT_API_KEY"),
        (403, {"status": {"error": "Forbidden: read-only"}}, r"403 \(Forbidden: read-only\).*QDRANT_API_KEY"),
        (404, "no such page", r"404.*check what runs at this address"),
        (500, {"status": {"error": "disk\nis   broken"}}, r"500 \(disk is broken\)"),
        (502, "x" * 5000, r"502 \(x{{200}}\.\.\.\)"),
        (200, "<html>hello</html>", r"the answer is not Qdrant's.*check what runs at this address"),
        (200, {"result": {}}, r"the answer is not Qdrant's"),
    ],
)
def test_a_refused_connection_is_a_store_error(
    responder: Responder, status: int, body: object, said: str
) -> None:
    """The message is one line with fault, address, reason and remedy, without the key."""
    responder.be_qdrant()
    responder.answers["GET /collections"] = (status, body)
    with pytest.raises(StoreError) as caught:
        connect(responder.url, api_key=KEY)
    assert re.search(said.format(url=responder.url), full_message(caught.value))
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_connecting_to_a_silent_server_times_out(responder: Responder) -> None:
    """Connecting has its own timeout."""
    responder.be_qdrant()
    responder.delay_s = 5
    with pytest.raises(StoreError, match=r"no answer in time.*docker compose up qdrant"):
        connect(responder.url, api_key=None, tuning=ServerTuning(connect_timeout_s=1))


@pytest.mark.parametrize(
    ("version", "told"),
    [("1.19.3", False), ("1.20.0", False), ("1.12.4", True), ("2.0.0", True), ("dev", False)],
)
def test_an_incompatible_server_version_is_warned_of(
    responder: Responder, monkeypatch: pytest.MonkeyPatch, said: list[str], version: str, told: bool
) -> None:
    """A warning is logged once if minor versions are more than one apart."""
    monkeypatch.setattr("importlib.metadata.version", lambda _: "1.20.0")
    responder.be_qdrant(version)
    connect(responder.url, api_key=None).close()
    assert len(said) == told
    assert all(version in line and "1.20.0" in line for line in said)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_key_is_not_sent_to_a_redirect_target(
    responder: Responder, elsewhere: Responder, status: int
) -> None:
    """The user has not named the redirect's target."""
    elsewhere.be_qdrant()
    responder.location = elsewhere.url
    responder.answers["GET /"] = (status, "")
    with pytest.raises(StoreError, match=rf"{status}.*check what runs at this address"):
        connect(responder.url.replace("//", "//me:pass@"), api_key=KEY)
    assert not elsewhere.seen


def test_sending_a_key_unencrypted_is_warned_of() -> None:
    """The warning is for plain HTTP to another machine, not for this one or TLS."""

    def notices(url: str, api_key: str | None) -> tuple[str, ...]:
        ours = version("qdrant-client")
        return connection._notices(ServerAddress.parse(url), ours, api_key=api_key)  # noqa: SLF001 - no such host

    assert "unencrypted" in notices("http://db.example", KEY)[0]
    assert KEY not in notices("http://db.example", KEY)[0]
    assert notices("http://db.example", None) == ()
    assert notices("https://db.example", KEY) == notices("https://me:pass@db.example", None) == ()
    (both,) = notices("http://me:passw0rd@db.example", None)
    assert "unencrypted" in both
    assert "passw0rd" not in both
    assert len(notices("http://me:passw0rd@db.example", KEY)) == 2
    assert notices("http://localhost", KEY) == notices("http://127.0.0.1", KEY) == ()


@pytest.fixture
def store(responder: Responder) -> Iterator[ServerStore]:
    """Yields a store on the responder."""
    responder.be_qdrant()
    one = connect(responder.url, api_key=KEY, tuning=QUICK_RETRIES)
    responder.seen.clear()
    yield one
    one.close()


def describe(manifest: CollectionManifest, metadata: dict[str, Any] | None) -> dict[str, Any]:
    """Returns the description of a collection with all payload indexes."""
    keyword = {"data_type": "keyword", "points": 0}
    return {
        "status": "green",
        "optimizer_status": "ok",
        "segments_count": 1,
        "points_count": 0,
        "config": {
            "params": {"vectors": {"size": manifest.identity.dimension, "distance": "Cosine"}},
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "default_segment_number": 0,
                "flush_interval_sec": 5,
            },
            "metadata": metadata,
        },
        "payload_schema": {"class": keyword, "dataset": keyword, "sha256": keyword},
    }


@pytest.fixture
def there(
    responder: Responder, enveloped: Envelope
) -> Callable[[CollectionManifest, dict[str, Any] | None], str]:
    """Returns a function that adds a collection with this metadata to the responder, and returns its path."""

    def put(manifest: CollectionManifest, metadata: dict[str, Any] | None) -> str:
        path = f"/collections/{manifest.collection}"
        responder.answers[f"GET {path}/exists"] = (200, enveloped({"exists": True}))
        responder.answers[f"GET {path}"] = (200, enveloped(describe(manifest, metadata)))
        return path

    return put


@pytest.fixture
def collection(
    store: ServerStore, responder: Responder, manifest_of: NewManifest, there: Callable[..., str]
) -> ServerCollection:
    """Yields an open collection on the responder."""
    manifest = manifest_of()
    there(manifest, {METADATA_KEY: manifest.to_json()})
    one = store.open(manifest.collection)
    assert {seen.method for seen in responder.seen} == {"GET"}
    responder.seen.clear()
    return one


UPDATED = {"operation_id": 1, "status": "completed"}


def test_a_large_upsert_is_split_into_requests(
    store: ServerStore,
    responder: Responder,
    manifest_of: NewManifest,
    there: Callable[..., str],
    enveloped: Envelope,
    point_of: NewPoint,
    random_vectors: RandomVectors,
) -> None:
    """Each request waits until it is written and stays well below 32 MB, and no point is omitted."""
    manifest = manifest_of(dimension=25_088)
    path = there(manifest, {METADATA_KEY: manifest.to_json()})
    responder.answers[f"PUT {path}/points"] = (200, enveloped(UPDATED))
    vectors = random_vectors(40, 25_088)
    store.open(manifest.collection).upsert(
        [point_of(f"{number}.jpg", vector * 1e-7) for number, vector in enumerate(vectors)]
    )
    writes = [seen for seen in responder.seen if seen.method == "PUT"]
    assert all(seen.path == f"{path}/points?wait=true" for seen in writes)
    assert max(len(seen.body) for seen in writes) < QDRANT_LIMIT_BYTES / 1.5
    assert 1 < len(writes) < 6
    written = [point["payload"]["path"] for seen in writes for point in json.loads(seen.body)["points"]]
    assert written == [f"{number}.jpg" for number in range(40)]


def test_every_change_is_awaited(
    collection: ServerCollection, responder: Responder, enveloped: Envelope, point_of: NewPoint
) -> None:
    """A change that was only queued would be missing from the next answer."""
    path = f"/collections/{collection.name}/points"
    responder.answers |= {
        f"PUT {path}": (200, enveloped(UPDATED)),
        f"POST {path}/batch": (200, enveloped([UPDATED])),
        f"POST {path}/delete": (200, enveloped(UPDATED)),
    }
    point = point_of("a.jpg", [1, 2, 3, 4], class_name=None)
    collection.upsert([point])
    collection.replace_payloads([point.payload])
    collection.delete([point.payload.id])
    changes = [seen for seen in responder.seen if seen.method != "GET"]
    assert [seen.path.partition("?")[2] for seen in changes] == ["wait=true"] * 3
    assert json.loads(changes[0].body)["points"][0]["payload"] == point.payload.to_json()


def test_payloads_are_written_by_id_and_the_last_by_an_awaited_filter(
    collection: ServerCollection, responder: Responder, enveloped: Envelope, point_of: NewPoint
) -> None:
    """An operation by a filter goes to every shard, which executes earlier operations first.

    Waiting for an id would fail if its point is deleted; without waiting, it is skipped.
    """
    batch = f"POST /collections/{collection.name}/points/batch"
    responder.answers[batch] = (200, enveloped([UPDATED]))
    payloads = [point_of(f"{number}.jpg", [1, 2, 3, 4]).payload for number in range(501)]
    collection.replace_payloads(payloads)
    sent = [seen for seen in responder.seen if seen.method == "POST"]
    assert [seen.path.partition("?")[2] for seen in sent] == ["wait=false", "wait=true", "wait=true"]
    said = [[one["overwrite_payload"] for one in json.loads(seen.body)["operations"]] for seen in sent]
    assert [one["points"] for one in said[0]] == [[payload.id] for payload in payloads[:499]]
    assert [one["payload"] for part in said for one in part] == [payload.to_json() for payload in payloads]
    for one, payload in zip((said[1][0], said[2][0]), payloads[499:], strict=True):
        assert one["filter"]["must"] == [{"has_id": [payload.id]}]
        assert "points" not in one


@pytest.mark.parametrize("status", ["acknowledged", "wait_timeout"])
def test_a_change_that_is_only_acknowledged_is_retried(
    collection: ServerCollection, responder: Responder, enveloped: Envelope, point_of: NewPoint, status: str
) -> None:
    """An overloaded server answers early; a change that is not complete is not reported as done."""
    path = f"/collections/{collection.name}/points"
    noted = {"operation_id": 1, "status": status}
    responder.answers |= {
        f"PUT {path}": (200, enveloped(noted)),
        f"POST {path}/batch": (200, enveloped([UPDATED, noted])),
        f"POST {path}/delete": (200, enveloped(noted)),
    }
    point = point_of("a.jpg", [1, 2, 3, 4])
    for change in (
        lambda: collection.upsert([point]),
        lambda: collection.replace_payloads([point.payload] * 2),
        lambda: collection.delete([point.payload.id]),
    ):
        with pytest.raises(StoreError, match=rf"not made the change yet \({status}\)"):
            change()


def test_an_error_names_collection_and_server(collection: ServerCollection, responder: Responder) -> None:
    """Faults are a read-only key, a deleted collection, and a server that stops."""
    query = f"POST /collections/{collection.name}/points/count"
    responder.answers[query] = (403, {"status": {"error": "Forbidden"}})
    with pytest.raises(StoreError, match=rf"{collection.name} failed on {responder.url}") as caught:
        collection.count()
    assert caught.value.hint == Hint(Action.SET_KEY)
    responder.answers[query] = (404, {"status": {"error": f"Not found: Collection {collection.name}"}})
    with pytest.raises(CollectionMissingError, match=collection.name):
        collection.count()
    responder.answers[query] = (500, "")
    with pytest.raises(StoreError, match=r"500 \(Internal Server Error\)"):
        collection.count()


@pytest.mark.parametrize("fault", [RuntimeError("no room"), KeyboardInterrupt()])
def test_a_creation_that_ends_halfway_leaves_what_others_may_use(
    manifest_of: NewManifest, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    """Another part of the dataset may have written to the collection by then; opening it completes it."""
    manifest = manifest_of()
    made = []

    def make_some(client: Any, name: str, field: str) -> None:
        if len(made) == 2:
            raise fault
        made.append(field)
        make_index(client, name, field)

    with running_stand_in() as one:
        store = connect(one.url, api_key=None)
        with monkeypatch.context() as patched:
            patched.setattr("lookalike_core.stores.server.make_index", make_some)
            with pytest.raises((StoreError, KeyboardInterrupt)):
                store.create(manifest)
        assert store.names() == [manifest.collection]
        info = one.client.get_collection(manifest.collection)
        assert info.config.metadata == {METADATA_KEY: manifest.named(manifest.collection).to_json()}
        for module in ("server", "server_collection"):
            note = f"lookalike_core.stores.{module}.make_index"
            monkeypatch.setattr(note, lambda *words: made.append(words[-1]))
        store.open(manifest.collection).complete_indexes()
        assert set(made) == INDEXED_FIELDS.keys()
        store.close()


def test_a_creation_that_another_process_wins_deletes_nothing(
    manifest_of: NewManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts that begin in the same second make the same collection; the slower one deletes none."""
    manifest = manifest_of()
    with running_stand_in() as one, wire.running_proxy(("127.0.0.1", one.port)) as proxy:
        faster, slower = connect(one.url, api_key=None), connect(proxy.url, api_key=None)
        proxy.plan(r"PUT /collections/[^/?]+(\?|$)", wire.after(lambda: faster.create(manifest)))
        with pytest.raises(StoreError, match="not 2 shards"):
            slower.create(manifest, layout=ClusterLayout(shards=2))
        assert faster.names() == [manifest.collection]
        for store in (faster, slower):
            store.close()


def test_a_collection_created_first_by_others_is_not_deleted(
    store: ServerStore, responder: Responder, manifest_of: NewManifest, enveloped: Envelope
) -> None:
    """Another process created it between the check and the creation; it is not deleted."""
    manifest = manifest_of()
    path = f"/collections/{manifest.collection}"
    responder.answers[f"GET {path}/exists"] = (200, enveloped({"exists": False}))
    responder.answers[f"PUT {path}"] = (409, {"status": {"error": "already exists!"}})
    with pytest.raises(ManifestError, match="already exists"):
        store.create(manifest)
    assert "DELETE" not in {seen.method for seen in responder.seen}


def test_a_server_that_drops_metadata_is_too_old(
    store: ServerStore, responder: Responder, manifest_of: NewManifest, enveloped: Envelope
) -> None:
    """The collection, which could not be recognised later, is deleted immediately."""
    manifest = manifest_of()
    path = f"/collections/{manifest.collection}"

    class Existence(dict[str, Any]):
        """Answers that the collection does not exist at first, and then that it does."""

        def get(self, key: str, default: object = None) -> Any:
            if key == f"GET {path}/exists":
                return 200, enveloped({"exists": len(responder.seen) > 1})
            return super().get(key, default)

    responder.answers = Existence(
        {
            "GET /collections": (200, enveloped({"collections": []})),
            f"GET {path}": (200, enveloped(describe(manifest, None))),
            f"PUT {path}": (200, enveloped(True)),
            f"POST {path}/points/count": (200, enveloped({"count": 0})),
            f"DELETE {path}": (200, enveloped(True)),
        }
    )
    with pytest.raises(StoreError, match=r"Qdrant 1\.16 or newer"):
        store.create(manifest)
    assert responder.seen[-1].method == "DELETE"


@pytest.mark.parametrize(("status", "lacks"), [("green", False), ("yellow", True), ("grey", True)])
def test_a_server_says_whether_it_still_builds_its_index(
    store: ServerStore,
    responder: Responder,
    manifest_of: NewManifest,
    there: Callable[..., str],
    enveloped: Envelope,
    status: str,
    lacks: bool,
) -> None:
    """A green collection may have points in segments that are too small for an index."""
    manifest = manifest_of()
    there(manifest, {METADATA_KEY: manifest.to_json()})
    described = describe(manifest, {METADATA_KEY: manifest.to_json()})
    described |= {"status": status, "points_count": 9, "indexed_vectors_count": 4}
    responder.answers[f"GET /collections/{manifest.collection}"] = (200, enveloped(described))
    with store.open(manifest.collection) as collection:
        assert (collection.indexed_count(), collection.lacks_index()) == (4, lacks)


def test_an_incomplete_collection_is_completed_when_opened(
    store: ServerStore,
    responder: Responder,
    manifest_of: NewManifest,
    enveloped: Envelope,
) -> None:
    """A process may have died between writing the manifest and creating the indexes."""
    manifest = manifest_of()
    path = f"/collections/{manifest.collection}"
    half = describe(manifest, {METADATA_KEY: manifest.to_json()})
    del half["payload_schema"]["dataset"]
    responder.answers |= {
        f"GET {path}/exists": (200, enveloped({"exists": True})),
        f"GET {path}": (200, enveloped(half)),
        f"PUT {path}/index": (200, enveloped(UPDATED)),
    }
    store.open(manifest.collection)
    made = [json.loads(seen.body)["field_name"] for seen in responder.seen if seen.method == "PUT"]
    assert made == ["dataset"]


def test_grpc_is_used_if_its_port_answers(responder: Responder, grpc_responder: GrpcResponder) -> None:
    """The key is sent along, and no HTTP request is made after connecting."""
    store = connect(responder.url, api_key=KEY, grpc_port=grpc_responder.port)
    assert store.names() == []
    store.close()
    assert [method for method, _, _ in grpc_responder.seen] == [
        "Qdrant/HealthCheck",
        "Collections/List",
        "Collections/List",
    ]
    assert {metadata.get("api-key") for _, _, metadata in grpc_responder.seen} == {KEY}
    assert not responder.seen


def test_http_is_used_if_grpc_does_not_work(responder: Responder, grpc_responder: GrpcResponder) -> None:
    """Something listens at the port, but it is no usable gRPC server."""
    import grpc

    responder.be_qdrant()
    grpc_responder.code = grpc.StatusCode.UNIMPLEMENTED
    store = connect(responder.url, api_key=None, grpc_port=grpc_responder.port)
    asked = len(grpc_responder.seen)
    assert store.names() == []
    assert len(grpc_responder.seen) == asked
    store.close()


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("UNAUTHENTICATED", StoreRefusedError, "QDRANT_API_KEY"),
        ("PERMISSION_DENIED", StoreRefusedError, "QDRANT_API_KEY"),
        ("UNAVAILABLE", StoreError, "docker compose up qdrant"),
        ("DEADLINE_EXCEEDED", StoreError, "docker compose up qdrant"),
        ("INTERNAL", StoreError, "INTERNAL"),
    ],
)
def test_grpc_faults_become_library_errors(
    grpc_collection: ServerCollection,
    grpc_responder: GrpcResponder,
    code: str,
    kind: type[LookalikeError],
    said: str,
) -> None:
    """The kinds and remedies are those over HTTP, and the key is never shown."""
    import grpc

    grpc_responder.code = grpc.StatusCode[code]
    with pytest.raises(kind) as caught:
        grpc_collection.count()
    message = full_message(caught.value)
    assert re.search(rf"(?s){grpc_collection.name}.*said so.*{said}|{said}.*said so", message)
    assert type(caught.value) is kind
    assert KEY not in str(caught.value)


def test_a_collection_that_grpc_does_not_find_was_deleted(
    grpc_collection: ServerCollection, grpc_responder: GrpcResponder
) -> None:
    """It existed when it was opened."""
    import grpc

    grpc_responder.code = grpc.StatusCode.NOT_FOUND
    with pytest.raises(CollectionMissingError, match=f"{grpc_collection.name}.*deleted in the meantime"):
        grpc_collection.count()


def test_grpc_requests_are_retried(
    grpc_collection: ServerCollection, grpc_responder: GrpcResponder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transient faults are retried, after the wait that the server asks for."""
    waited: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", waited.append)
    info = grpc_info(grpc_collection.manifest)
    grpc_responder.answers["Collections/Get"] = info
    for code, trailing in (
        ("UNAVAILABLE", {}),
        ("DEADLINE_EXCEEDED", {}),
        ("RESOURCE_EXHAUSTED", {}),
        ("RESOURCE_EXHAUSTED", {"retry-after": "7"}),
    ):
        grpc_responder.failing = {"Count": [(code, "later", trailing)]}
        assert grpc_collection.count() == 0
    assert len(waited) == 4
    assert waited[-1] == 7.0


def test_a_grpc_server_that_restarts_is_waited_for(
    open_over_grpc: Callable[[ServerTuning], ServerCollection], grpc_responder: GrpcResponder
) -> None:
    """The channel reconnects within our retries; by default it would back off longer each time."""
    grpc_collection = open_over_grpc(ServerTuning(retries=RetryPolicy(first_wait_s=0.2)))
    grpc_responder.answers["Collections/Get"] = grpc_info(grpc_collection.manifest)
    assert grpc_collection.count() == 0
    grpc_responder.stop()
    threading.Timer(0.5, grpc_responder.start).start()
    assert grpc_collection.count() == 0


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (40 vs. 30)"),
        ("OUT_OF_RANGE", "Error, decoded message length too large: found 40 bytes, the limit is: 30 bytes"),
    ],
)
def test_a_write_that_is_too_large_for_grpc_is_split(
    grpc_collection: ServerCollection,
    grpc_responder: GrpcResponder,
    point_of: NewPoint,
    code: str,
    text: str,
) -> None:
    """The messages are those of gRPC's own library and of the one that Qdrant is built with."""
    from qdrant_client import grpc as messages

    completed = messages.UpdateResult(operation_id=1, status=messages.UpdateStatus.Completed)
    done = messages.PointsOperationResponse(result=completed).SerializeToString()
    info = grpc_info(grpc_collection.manifest)
    grpc_responder.answers = {"Upsert": done, "Collections/Get": info}
    grpc_responder.failing = {"Upsert": [(code, text, {})]}
    grpc_collection.upsert([point_of(f"{i}.jpg", [1, 2, 3, i]) for i in range(4)])
    sizes = [
        len(messages.UpsertPoints.FromString(body).points)
        for method, body, _ in grpc_responder.seen
        if method == "Upsert"
    ]
    assert sizes == [4, 2, 2]


def test_every_request_works_over_grpc(
    grpc_collection: ServerCollection, grpc_responder: GrpcResponder, point_of: NewPoint
) -> None:
    """Each request arrives as the right message, and changes are awaited."""
    from qdrant_client import grpc as messages

    completed = messages.UpdateResult(operation_id=1, status=messages.UpdateStatus.Completed)
    one = messages.PointsOperationResponse(result=completed).SerializeToString()
    many = messages.UpdateBatchResponse(result=[completed]).SerializeToString()
    info = grpc_info(grpc_collection.manifest)
    grpc_responder.answers = {"Upsert": one, "Delete": one, "UpdateBatch": many, "Collections/Get": info}
    point = point_of("猫.jpg", [1, 2, 3, 4], class_name=None)
    where = PointFilter(
        classes=frozenset({""}), dataset="data", excluded_sha256=frozenset({"a" * 64, "b" * 64})
    )
    grpc_collection.upsert([point])
    grpc_collection.replace_payloads([point.payload])
    grpc_collection.delete([point.payload.id])
    assert list(grpc_collection.scan(where)) == []
    assert grpc_collection.vectors([point.payload.id]) == {}
    assert grpc_collection.payloads([point.payload.id]) == {}
    assert grpc_collection.count(where) == 0
    assert grpc_collection.tally("class") == {}
    assert grpc_collection.query(point.vector, limit=10, where=where, exact=True) == []

    kinds = {
        "Upsert": messages.UpsertPoints,
        "UpdateBatch": messages.UpdateBatchPoints,
        "Delete": messages.DeletePoints,
        "Scroll": messages.ScrollPoints,
        "Get": messages.GetPoints,
        "Count": messages.CountPoints,
        "Facet": messages.FacetCounts,
        "Query": messages.QueryPoints,
    }
    seen = [(method, body) for method, body, _ in grpc_responder.seen if method != "Collections/Get"]
    said = {method: kinds[method].FromString(body) for method, body in seen}
    assert set(said) == set(kinds)
    assert {request.collection_name for request in said.values()} == {grpc_collection.name}
    assert all(said[method].wait for method in ("Upsert", "UpdateBatch", "Delete"))
    payload = said["Upsert"].points[0].payload
    assert payload["path"].string_value == "猫.jpg"
    assert payload["class"].WhichOneof("kind") == "null_value"
    assert payload["mtime_ns"].integer_value == point.payload.mtime_ns
    assert said["Facet"].exact
    assert said["Facet"].limit > 1_000_000
    assert said["Query"].params.exact
    assert said["Query"].limit == 10
    assert len(said["Query"].filter.must) == 2
    assert list(said["Query"].filter.must_not[0].field.match.keywords.strings) == ["a" * 64, "b" * 64]


@pytest.mark.parametrize(
    ("quantize", "said"),
    [
        (VectorQuantization.NONE, None),
        (VectorQuantization.INT8, {"scalar": {"type": "int8", "always_ram": True}}),
        (VectorQuantization.INT4, {"turbo": {"bits": "bits4", "always_ram": True}}),
    ],
)
def test_quantization_is_configured_as_qdrant_documents_it(
    store: ServerStore,
    responder: Responder,
    manifest_of: NewManifest,
    there: Callable[..., str],
    enveloped: Envelope,
    quantize: VectorQuantization,
    said: dict[str, Any] | None,
) -> None:
    """Quantized vectors stay in memory, whole ones on the disk; searches rescore by the whole ones."""
    manifest = replace(manifest_of(), vector_quantization=quantize)
    path = f"/collections/{manifest.collection}"
    responder.answers |= {
        f"GET {path}/exists": (200, enveloped({"exists": False})),
        f"PUT {path}": (403, {"status": {"error": "far enough"}}),
    }
    with pytest.raises(StoreError, match="far enough"):
        store.create(manifest)
    made = json.loads(next(seen.body for seen in responder.seen if seen.method == "PUT"))
    assert made.get("quantization_config") == said
    assert made["vectors"].get("on_disk") == (True if said else None)

    there(manifest, {METADATA_KEY: manifest.to_json()})
    responder.answers[f"POST {path}/points/query"] = (200, enveloped({"points": []}))
    vector = np.ones(manifest.identity.dimension, dtype=np.float32)
    with store.open(manifest.collection) as collection:
        for exact in (False, True):
            collection.query(vector, limit=10, exact=exact)
            asked = json.loads(responder.seen[-1].body)["params"].get("quantization")
            more = {"ignore": exact, "rescore": True, "oversampling": OVERSAMPLING.get(quantize)}
            assert asked == (more if said else None)

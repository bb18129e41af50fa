"""The same fault over HTTP and over gRPC is handled equally.

The messages are those of Qdrant 1.19 and of proxies. Stand-ins send them, so the tests prove only the
handling.
"""

from collections.abc import Callable
from typing import Any

import pytest
from faulty_proxy import FaultyProxy, answer, running_proxy
from grpc_responder import GrpcResponder, grpc_info
from lookalike_core.cli.hint_words import full_message
from lookalike_core.errors import LookalikeError
from lookalike_core.stores import retries
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.connection import connect
from lookalike_core.stores.faults import TooLargeError
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.server import ServerCollection
from qdrant_stand_in import running_stand_in
from quick_retries import SHORT_RETRIES

SAID_ALIKE = {
    "a node that restarts": (500, "INTERNAL", "Service internal error: 1 of 1 read operations failed", 5),
    "a full disk": (500, "INTERNAL", "Service internal error: No space left on device: WAL buffer size", 5),
    "a quota": (507, "RESOURCE_EXHAUSTED", "Insufficient storage: disk usage limit reached", 5),
    "a shard that is moved": (503, "UNAVAILABLE", "Shard temporarily unavailable: 2", 5),
    "its own timeout": (408, "DEADLINE_EXCEEDED", "Timeout: Operation 'Count' timed out after 60s", 5),
    "not ready": (500, "FAILED_PRECONDITION", "Pre-condition failure: No target shard 0 found", 5),
    "a rate limit": (429, "RESOURCE_EXHAUSTED", "Rate limiting exceeded: Read rate limit exceeded", 5),
    "a stream that was cut": (500, "UNKNOWN", "Stream removed", 5),
    "a transaction that was stopped": (500, "ABORTED", "aborted", 5),
    "a client that went away": (499, "CANCELLED", "cancelled", 5),
    "a proxy without its server": (502, "UNAVAILABLE", "Received http2 header with status: 502", 5),
    "a proxy that is out of time": (504, "UNAVAILABLE", "Received http2 header with status: 504", 5),
    "the wrong machine": (421, "UNKNOWN", "Received http2 header with status: 421", 5),
    "a cloud's edge": (521, "UNKNOWN", "Received http2 header with status: 521", 5),
    "a locked server": (403, "FAILED_PRECONDITION", "Storage locked: maintenance", 1),
    "a key that may not": (403, "PERMISSION_DENIED", "Forbidden: Global access is required", 1),
    "a request that does not fit": (400, "INVALID_ARGUMENT", "Wrong input: no such field", 1),
    "a damaged snapshot": (400, "DATA_LOSS", "Checksum mismatch: expected 1, actual 2", 1),
    "what it cannot do": (405, "UNIMPLEMENTED", "Qdrant is running in standalone mode", 1),
    "too large for a proxy": (413, "UNKNOWN", "Received http2 header with status: 413", 1),
    "a request over the rate": (
        429,
        "RESOURCE_EXHAUSTED",
        "request larger than rate limiter capacity, please try to split your request",
        1,
    ),
    "a limit of strict mode": (400, "INVALID_ARGUMENT", 'Bad request: Limit exceeded 9 > 4 for "limit"', 1),
}
"""Status, code, message, and the expected number of attempts."""


@pytest.mark.parametrize(("status", "code", "text", "tries"), SAID_ALIKE.values(), ids=SAID_ALIKE.keys())
def test_http_and_grpc_faults_of_one_kind_become_one_error(
    grpc_collection: ServerCollection,
    grpc_responder: GrpcResponder,
    manifest_of: Callable[..., CollectionManifest],
    status: int,
    code: str,
    text: str,
    tries: int,
) -> None:
    """The number of attempts, the kind of error and the remedy are equal."""
    grpc_responder.answers["Collections/Get"] = grpc_info(grpc_collection.manifest)
    grpc_responder.failing = {"Count": [(code, text, {})] * 9}
    over_grpc = failure(grpc_collection)
    with running_stand_in() as server, running_proxy(("127.0.0.1", server.port)) as proxy:
        over_http = failure(planned(proxy, manifest_of(), answer(status, text)))
        assert proxy.count(r"POST .*/count") == tries
    assert sum(method == "Count" for method, _, _ in grpc_responder.seen) == tries
    assert type(over_grpc) is type(over_http)
    messages = [full_message(error) for error in (over_grpc, over_http)]
    assert messages[0].rpartition("; ")[2] == messages[1].rpartition("; ")[2]
    assert text in str(over_grpc)
    assert text in str(over_http)


def planned(proxy: FaultyProxy, manifest: CollectionManifest, fault: Any) -> ServerCollection:
    """Yields a collection behind a proxy, whose count requests fail."""
    store = connect(proxy.url, api_key=None, tuning=SHORT_RETRIES)
    store.create(manifest)
    proxy.plan(r"POST .*/count", *[fault] * 9)
    return store.open(manifest.collection)


def failure(collection: ServerCollection) -> LookalikeError:
    """Returns the error that counting raises."""
    with pytest.raises(LookalikeError) as caught:
        collection.count()
    return caught.value


@pytest.mark.parametrize(
    ("said", "way_on"),
    [
        (("INTERNAL", "No space left on device: WAL buffer size", {}), "has no room for more"),
        (("RESOURCE_EXHAUSTED", "said", {"qdrant-insufficient-storage": "1"}), "has no room for more"),
        (("RESOURCE_EXHAUSTED", "said", {}), "what runs at this address"),
        (("UNAVAILABLE", "failed to connect to all addresses", {}), "docker compose up qdrant"),
        (("UNAVAILABLE", "Shard temporarily unavailable: 2", {}), "what runs at this address"),
        (("DEADLINE_EXCEEDED", "Deadline Exceeded", {}), "docker compose up qdrant"),
        (
            ("DEADLINE_EXCEEDED", "Timeout: Operation 'Count' timed out", {}),
            "what runs at this address",
        ),
    ],
)
def test_an_ambiguous_grpc_code_is_classified_by_its_details(
    grpc_collection: ServerCollection,
    grpc_responder: GrpcResponder,
    said: tuple[str, str, dict[str, str]],
    way_on: str,
) -> None:
    """A full disk is told from a rate limit, and a server that answers UNAVAILABLE is reachable."""
    grpc_responder.answers["Collections/Get"] = grpc_info(grpc_collection.manifest)
    grpc_responder.failing = {"Count": [said] * 9}
    assert way_on in str(failure(grpc_collection)).rpartition("; ")[2]


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE"])
def test_retry_after_is_honoured_over_grpc(
    grpc_collection: ServerCollection,
    grpc_responder: GrpcResponder,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
) -> None:
    """Qdrant and proxies send it in the trailing metadata."""
    waited: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", waited.append)
    grpc_responder.answers["Collections/Get"] = grpc_info(grpc_collection.manifest)
    grpc_responder.failing = {"Count": [(code, "later", {"retry-after": "7"})]}
    assert grpc_collection.count() == 0
    assert waited == [7.0]


def test_a_grpc_write_survives_a_node_that_restarts(
    grpc_collection: ServerCollection, grpc_responder: GrpcResponder, point_of: Callable[..., ImagePoint]
) -> None:
    """Two refused attempts are followed by one that succeeds."""
    from qdrant_client import grpc as messages

    completed = messages.UpdateResult(operation_id=1, status=messages.UpdateStatus.Completed)
    grpc_responder.answers = {
        "Upsert": messages.PointsOperationResponse(result=completed).SerializeToString(),
        "Collections/Get": grpc_info(grpc_collection.manifest),
    }
    grpc_responder.failing = {"Upsert": [("INTERNAL", "Service internal error: Failed to connect", {})] * 2}
    grpc_collection.upsert([point_of("a.jpg", [1, 2, 3, 4])])
    assert sum(method == "Upsert" for method, _, _ in grpc_responder.seen) == 3


def test_a_request_over_the_rate_limit_is_split(
    grpc_collection: ServerCollection, grpc_responder: GrpcResponder
) -> None:
    """It would always be refused, so it is split without a wait."""
    split = "request larger than rate limiter capacity, please try to split your request"
    grpc_responder.answers["Collections/Get"] = grpc_info(grpc_collection.manifest)
    grpc_responder.failing = {"Get": [("RESOURCE_EXHAUSTED", split, {})]}
    ids = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(4)]
    assert grpc_collection.payloads(ids) == {}
    assert sum(method == "Get" for method, _, _ in grpc_responder.seen) == 3
    grpc_responder.failing = {"Get": [("RESOURCE_EXHAUSTED", split, {})] * 9}
    with pytest.raises(TooLargeError, match="split your request"):
        grpc_collection.payloads(ids[:1])

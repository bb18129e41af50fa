"""Manifests and points, and stand-ins for a server."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import made_collections
import pytest
from clusters import ClusterOfThree, running_cluster
from grpc_responder import GrpcResponder
from lookalike_core.arrays import FloatVector
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.connection import connect
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.retries import Requests
from lookalike_core.stores.server import ServerCollection
from lookalike_core.stores.server_tuning import ServerTuning
from quick_retries import SHORT_RETRIES

DIMENSION = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request that a responder received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class Responder:
    """An HTTP server on its own port: a stand-in that proves only how faults are handled.

    `answers` maps `METHOD PATH` to a status and a body, JSON unless it is text; all else is a 404. `delay_s`
    passes before an answer begins, and `drip_s` after each of its bytes. `location` is the target of a
    redirect.
    """

    port: int
    location: str = ""
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    delay_s: float = 0.0
    drip_s: float = 0.0
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """The responder's URL."""
        return f"http://127.0.0.1:{self.port}"

    def be_qdrant(self, version: str | None = None) -> None:
        """Adds the two answers that identify a Qdrant server of the client's own version."""
        told = version or installed("qdrant-client")
        self.answers["GET /"] = (200, {"title": "qdrant - vector search engine", "version": told})
        self.answers["GET /collections"] = (200, result({"collections": []}))


def result(value: Any) -> dict[str, Any]:
    """Returns an answer in Qdrant's envelope."""
    return {"time": 0.0, "status": "ok", "result": value}


@contextmanager
def running_responder() -> Iterator[Responder]:
    """Yields a responder that answers until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            responder.seen.append(
                Seen(method=self.command, path=self.path, headers=dict(self.headers.items()), body=body)
            )
            key = f"{self.command} {self.path.partition('?')[0]}"
            status, data = responder.answers.get(key, (404, {"status": {"error": "Not found"}}))
            sent = (data if isinstance(data, str) else json.dumps(data)).encode()
            responder.closing.wait(responder.delay_s)
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            if responder.location:
                self.send_header("Location", responder.location + self.path)
            self.end_headers()
            for start in range(len(sent)) if responder.drip_s else ():
                self.wfile.write(sent[start : start + 1])
                if responder.closing.wait(responder.drip_s):
                    return
            if not responder.drip_s:
                self.wfile.write(sent)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server's names

        def handle(self) -> None:
            with suppress_hangup():
                super().handle()

        def log_message(self, *_: Any) -> None:
            """Logs nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    responder = Responder(port=server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield responder
    finally:
        responder.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def suppress_hangup() -> Iterator[None]:
    """Ignores that a client whose timeout has passed disconnects."""
    try:
        yield
    except (BrokenPipeError, ConnectionResetError):
        return


@pytest.fixture
def responder() -> Iterator[Responder]:
    """Yields a responder."""
    with running_responder() as one:
        yield one


@pytest.fixture
def cluster() -> Iterator[ClusterOfThree]:
    """Yields a cluster of three peers: see `support/clusters.py`."""
    with running_cluster() as one:
        yield one


@pytest.fixture
def elsewhere() -> Iterator[Responder]:
    """Yields another responder."""
    with running_responder() as one:
        yield one


@pytest.fixture
def unused_port() -> int:
    """Returns a port on this machine that nothing listens on."""
    with ExitStack() as stack:
        return stack.enter_context(running_responder()).port


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Returns settings with only the home set."""
    return Settings(home=tmp_path / "home", provider="cpu")


@pytest.fixture
def manifest_of() -> Callable[..., CollectionManifest]:
    """Returns a factory of manifests: `manifest_of(distance, dimension)`."""

    def make(distance: Distance = Distance.COSINE, dimension: int = DIMENSION) -> CollectionManifest:
        return made_collections.manifest_of(distance, dimension, {})

    return make


@pytest.fixture
def point_of() -> Callable[..., ImagePoint]:
    """Returns a factory of points: `point_of(path, vector, class_name=..., dataset=..., sha256=...)`."""
    return made_collections.point_of


@pytest.fixture
def enveloped() -> Callable[[Any], dict[str, Any]]:
    """Returns a function that puts a value into the envelope of Qdrant's answers."""
    return result


@pytest.fixture
def random_vectors() -> Callable[[int, int], list[FloatVector]]:
    """See `made_collections.random_vectors`."""
    return made_collections.random_vectors


@pytest.fixture
def stopwatch() -> Callable[[], float]:
    """Returns a function for the seconds since the fixture was created."""
    start = time.monotonic()
    return lambda: time.monotonic() - start


@pytest.fixture
def grpc_responder() -> Iterator[GrpcResponder]:
    """Yields a gRPC responder."""
    one = GrpcResponder()
    one.start()
    yield one
    one.stop()


@pytest.fixture
def open_over_grpc(
    responder: Responder, grpc_responder: GrpcResponder, manifest_of: Callable[..., CollectionManifest]
) -> Iterator[Callable[[ServerTuning], ServerCollection]]:
    """Returns a function that opens a collection over gRPC: `open_over_grpc(tuning)`."""
    with ExitStack() as stores:

        def open_one(tuning: ServerTuning) -> ServerCollection:
            store = connect(responder.url, api_key="s3cret-key", grpc_port=grpc_responder.port, tuning=tuning)
            stores.callback(store.close)
            manifest = manifest_of()
            grpc_responder.seen.clear()
            return ServerCollection(
                store._client,  # noqa: SLF001
                manifest.collection,
                manifest,
                requests=Requests(store.label, policy=tuning.retries),
                reads=store._reads,  # noqa: SLF001
            )

        yield open_one


@pytest.fixture
def grpc_collection(open_over_grpc: Callable[[ServerTuning], ServerCollection]) -> ServerCollection:
    """Returns a collection over gRPC, with short waits between retries."""
    return open_over_grpc(SHORT_RETRIES)

"""The server store: collections of a Qdrant server, reached with qdrant-client.

The manifest is the collection's `metadata` under `METADATA_KEY`, so it is made with the collection and
goes with it. A collection without it is not ours and is never touched. The server builds its search
index by itself. gRPC is used where its port answers, else HTTP, chosen once when connecting.

Two writers at once are allowed, as Qdrant allows them; only `record_dataset` reads before it writes, so
the later of two that add a dataset in the same instant wins.
"""

import json
import re
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import Enum, auto
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import numpy as np

from lookalike.errors import CollectionMissingError, LookalikeError, ManifestError, StoreError
from lookalike.manifest import METADATA_KEY, CollectionManifest, Distance
from lookalike.stores.address import GRPC_PORT, ServerAddress, check_api_key
from lookalike.stores.points import (
    EVERYTHING,
    KEYWORD_FIELDS,
    SEARCH_EF,
    FloatVector,
    ImagePoint,
    Payload,
    PointFilter,
    SearchHit,
    as_values,
    check_points,
    check_query,
    tallied,
)
from lookalike.stores.protocol import is_collection_name

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

CONNECT_TIMEOUT_S = 5
TIMEOUT_S = 60
"""Of one request. The largest is one full upsert that waits until it is on the server's disk."""

MAX_BODY_BYTES = 16 * 2**20
"""Of one request, roughly: half of what Qdrant takes over HTTP unless it is configured otherwise."""

_VALUE_BYTES = 24  # one float32 in JSON, as the shortest text of its double, with the comma
_PAYLOAD_BYTES = 4096
_SCAN_PAGE = 2_000
_PAYLOADS_PER_REQUEST = 500
_EVERY_VALUE = 2**31
_REASON_LENGTH = 200
_NOT_QDRANT = "the answer is not one that Qdrant gives"

_Row = TypeVar("_Row")


def connect(url: str, *, api_key: str | None) -> "ServerStore":
    """A store on the server at `url`, which has answered and accepted the key by the time this returns.

    A user name and password in the URL are sent as HTTP basic authentication, for a proxy in front.

    Raises:
        UsageError: `url` is not a URL, or the key cannot be sent.
        StoreError: nothing answers there, or it is not Qdrant, or it refuses the key.
    """
    address = ServerAddress.parse(url)
    check_api_key(api_key)
    grpc = address.may_speak_grpc and _answers(address.host, GRPC_PORT)
    try:
        version = _reach(address, api_key=api_key, grpc=grpc)
    except StoreError:
        if not grpc:
            raise
        grpc = False  # something else has the port; where HTTP fails too, its message counts
        version = _reach(address, api_key=api_key, grpc=grpc)
    return ServerStore(
        _client(address, api_key=api_key, grpc=grpc, timeout_s=TIMEOUT_S),
        label=address.label,
        notices=_notices(address, version, api_key=api_key),
    )


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def _reach(address: ServerAddress, *, api_key: str | None, grpc: bool) -> str:
    """The server's version, asked with a short timeout, once it has also let us see its collections."""
    with _translated(address.label, "connecting"):
        client = _client(address, api_key=api_key, grpc=grpc, timeout_s=CONNECT_TIMEOUT_S)
        try:
            version = client.info().version
            client.get_collections()
            return version
        finally:
            client.close()


def _client(address: ServerAddress, *, api_key: str | None, grpc: bool, timeout_s: int) -> "QdrantClient":
    """Without the client's own warnings (from a thread, at any moment): `_notices` says the same once.

    A proxy from the environment is left aside for this machine, which no proxy can reach for us.
    """
    from qdrant_client import QdrantClient

    options: dict[str, Any] = {}
    if address.is_loopback:
        options |= {"trust_env": False, "grpc_options": {"grpc.enable_http_proxy": 0}}
    if address.scheme == "http":  # no certificates to load, which would take longer than all the rest
        options["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if address.user is not None:
        options["auth"] = (address.user, address.password or "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return QdrantClient(
            url=address.label,
            grpc_port=GRPC_PORT,
            prefer_grpc=grpc,
            api_key=api_key,
            timeout=timeout_s,
            check_compatibility=False,
            **options,
        )


def _notices(address: ServerAddress, version: str, *, api_key: str | None) -> tuple[str, ...]:
    from importlib.metadata import version as installed

    ours = installed("qdrant-client")
    notices = []
    if not _compatible(ours, version):
        notices.append(
            f"the server at {address.label} is Qdrant {version} and the client here is {ours}; "
            "they are tested together within one minor version, so use a server nearer to it"
        )
    if api_key is not None and address.scheme == "http" and not address.is_loopback:
        notices.append(f"QDRANT_API_KEY goes to {address.label} unencrypted; use https")
    return tuple(notices)


def _compatible(ours: str, theirs: str) -> bool:
    """Qdrant's promise: the same major version, minors at most one apart; unknown ones pass."""
    here, there = (re.match(r"(\d+)\.(\d+)", version) for version in (ours, theirs))
    if not here or not there:
        return True
    return here[1] == there[1] and abs(int(here[2]) - int(there[2])) <= 1


class ServerStore:
    """The collections of one server; implements `Store`. `label` holds no credentials."""

    def __init__(self, client: "QdrantClient", *, label: str, notices: tuple[str, ...] = ()) -> None:
        self.label = label
        self.notices = notices
        self._client = client

    def names(self) -> list[str]:
        """One request a collection: the list of them comes without metadata."""
        with _translated(self.label, "listing collections"):
            found = [collection.name for collection in self._client.get_collections().collections]
        return sorted(name for name in found if name in self)

    def __contains__(self, name: str) -> bool:
        info = self._info(name)
        return info is not None and _manifest_data(info) is not None

    def manifest(self, name: str) -> CollectionManifest:
        """As the server has it now."""
        return _manifest(self._own(name), name, self.label)

    def create(self, manifest: CollectionManifest) -> None:
        """Makes the collection with its manifest in one request, then its payload indexes."""
        from qdrant_client import models

        name = manifest.collection
        if self._info(name) is not None:
            raise ManifestError(_taken(name, self.label))
        distances = {Distance.COSINE: models.Distance.COSINE, Distance.EUCLID: models.Distance.EUCLID}
        with _translated(self.label, f"making collection {name}", collection=name):
            self._client.create_collection(
                name,
                vectors_config=models.VectorParams(
                    size=manifest.identity.dimension, distance=distances[manifest.distance]
                ),
                metadata={METADATA_KEY: manifest.to_json()},
            )
        try:
            self._complete(name)
        except BaseException:
            with suppress(Exception):
                self._client.delete_collection(name)
            raise

    def open(self, name: str) -> "ServerCollection":
        """Also finishes a collection whose making was cut off before all payload indexes were there."""
        info = self._own(name)
        manifest = _manifest(info, name, self.label)
        self._index(name, [keyword for keyword in KEYWORD_FIELDS if keyword not in info.payload_schema])
        return ServerCollection(self._client, name, manifest, label=self.label)

    def delete(self, name: str) -> None:
        """One request."""
        self._own(name)
        with _translated(self.label, f"deleting collection {name}", collection=name):
            self._client.delete_collection(name)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _complete(self, name: str) -> None:
        """Makes the indexes, and sees that the manifest was kept: an old server drops it silently."""
        self._index(name, KEYWORD_FIELDS)
        if name not in self:
            raise StoreError(
                f"the server at {self.label} does not keep metadata of collections; "
                "it takes Qdrant 1.16 or newer (docker compose up qdrant)"
            )

    def _index(self, name: str, keywords: Sequence[str]) -> None:
        from qdrant_client import models

        with _translated(self.label, f"indexing the payload of {name}", collection=name):
            for keyword in keywords:
                self._client.create_payload_index(name, keyword, models.PayloadSchemaType.KEYWORD, wait=True)

    def _own(self, name: str) -> "models.CollectionInfo":
        info = self._info(name)
        if info is None:
            raise CollectionMissingError(f"there is no collection {name} on {self.label}")
        if _manifest_data(info) is None:
            raise ManifestError(f"{name} on {self.label} has no manifest of ours; it is left alone")
        return info

    def _info(self, name: str) -> "models.CollectionInfo | None":
        return _collection_info(self._client, name, self.label)


class ServerCollection:
    """A collection on a server; implements `Collection`. Nothing is held, so nothing is released."""

    def __init__(
        self, client: "QdrantClient", name: str, manifest: CollectionManifest, *, label: str
    ) -> None:
        self.name = name
        self.manifest = manifest
        self._client = client
        self._label = label
        self._rows = max(1, MAX_BODY_BYTES // (manifest.identity.dimension * _VALUE_BYTES + _PAYLOAD_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def upsert(self, points: Sequence[ImagePoint]) -> None:
        """In requests of a size that the server takes; each is on its disk before the next."""
        from qdrant_client import models

        check_points(points, dimension=self.manifest.identity.dimension)
        for part in _parts(points, self._rows):
            rows = [
                models.PointStruct(
                    id=p.payload.id,
                    vector=as_values(p.vector, self.manifest.distance),
                    payload=p.payload.to_json(),
                )
                for p in part
            ]
            with self._doing("writing points to"):
                _require_completed(self._client.upsert(self.name, rows, wait=True))

    def replace_payloads(self, payloads: Sequence[Payload]) -> None:
        """Many operations a request, each by a filter, which unlike an id may match nothing."""
        from qdrant_client import models

        for part in _parts(payloads, _PAYLOADS_PER_REQUEST):
            operations = [
                models.OverwritePayloadOperation(
                    overwrite_payload=models.SetPayload(
                        payload=payload.to_json(),
                        filter=models.Filter(must=[models.HasIdCondition(has_id=[payload.id])]),
                    )
                )
                for payload in part
            ]
            with self._doing("writing payloads to"):
                _require_completed(*self._client.batch_update_points(self.name, operations, wait=True))

    def delete(self, ids: Sequence[str]) -> None:
        """One request."""
        from qdrant_client import models

        if ids:
            with self._doing("deleting points from"):
                selected = models.PointIdsList(points=list(ids))
                _require_completed(self._client.delete(self.name, selected, wait=True))

    def scan(self, where: PointFilter = EVERYTHING) -> Iterator[Payload]:
        """Page by page."""
        offset = None
        while True:
            with self._doing("reading"):
                records, offset = self._client.scroll(
                    self.name, scroll_filter=_filter(where), limit=_SCAN_PAGE, offset=offset
                )
            for record in records:
                yield Payload.from_json(record.payload or {})
            if offset is None:
                return

    def vectors(self, ids: Sequence[str]) -> dict[str, FloatVector]:
        """In answers about as large as what `upsert` sends."""
        found: dict[str, FloatVector] = {}
        for part in _parts(ids, self._rows):
            with self._doing("reading vectors from"):
                records = self._client.retrieve(self.name, part, with_payload=False, with_vectors=True)
            found |= {str(record.id): np.asarray(record.vector, dtype=np.float32) for record in records}
        return found

    def count(self, where: PointFilter = EVERYTHING) -> int:
        """Exact."""
        with self._doing("counting"):
            return self._client.count(self.name, count_filter=_filter(where), exact=True).count

    def tally(self, field: str) -> dict[str, int]:
        """Exact facets, mended by `tallied`."""
        with self._doing("counting"):
            facet = self._client.facet(self.name, field, limit=_EVERY_VALUE, exact=True)
        return tallied({str(hit.value): hit.count for hit in facet.hits}, points=self.count())

    def query(
        self, vector: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[SearchHit]:
        """The server's own order: best first for both distances."""
        from qdrant_client import models

        check_query(vector, dimension=self.manifest.identity.dimension)
        with self._doing("searching"):
            answer = self._client.query_points(
                self.name,
                query=as_values(vector, self.manifest.distance),
                limit=limit,
                query_filter=_filter(where),
                search_params=models.SearchParams(exact=exact, hnsw_ef=SEARCH_EF),
                with_payload=True,
            )
        return [SearchHit(score=p.score, payload=Payload.from_json(p.payload or {})) for p in answer.points]

    def record_dataset(self, name: str, root: str) -> None:
        """Adds to the manifest as it is on the server now, so that another writer's dataset stays."""
        info = _collection_info(self._client, self.name, self._label)
        if info is None:
            raise CollectionMissingError(f"collection {self.name} on {self._label} was deleted meanwhile")
        self.manifest = _manifest(info, self.name, self._label).with_dataset(name, root)
        with self._doing("writing the manifest of"):
            self._client.update_collection(self.name, metadata={METADATA_KEY: self.manifest.to_json()})

    def needs_index(self) -> bool:
        """The server indexes by itself."""
        return False

    def build_index(self, on_wait: Callable[[], None]) -> None:
        """Nothing to do, nothing to wait for."""

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        with _translated(self._label, f"{what} {self.name}", collection=self.name):
            yield


def _require_completed(*results: "models.UpdateResult") -> None:
    """A server that is short of time may answer a request that waits before the change is made."""
    from qdrant_client import models

    for result in results:
        if result.status is not models.UpdateStatus.COMPLETED:
            raise TimeoutError(f"the server has only noted the change ({result.status.value})")


def _parts(rows: Sequence[_Row], size: int) -> Iterator[Sequence[_Row]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _collection_info(client: "QdrantClient", name: str, label: str) -> "models.CollectionInfo | None":
    if not is_collection_name(name):
        return None
    with suppress(CollectionMissingError), _translated(label, f"looking for {name}", collection=name):
        return client.get_collection(name) if client.collection_exists(name) else None
    return None


def _manifest_data(info: "models.CollectionInfo") -> Mapping[str, Any] | None:
    data = (info.config.metadata or {}).get(METADATA_KEY)
    return data if isinstance(data, Mapping) else None


def _manifest(info: "models.CollectionInfo", name: str, label: str) -> CollectionManifest:
    try:
        return CollectionManifest.from_json(_manifest_data(info) or {})
    except ManifestError as error:
        raise ManifestError(f"collection {name} on {label}: {error}") from error


def _filter(where: PointFilter) -> "models.Filter | None":
    from qdrant_client import models

    must: list[Any] = []
    if where.class_name is not None:
        must.append(
            models.FieldCondition(key="class", match=models.MatchValue(value=where.class_name))
            if where.class_name
            else models.IsEmptyCondition(is_empty=models.PayloadField(key="class"))
        )
    if where.dataset is not None:
        must.append(models.FieldCondition(key="dataset", match=models.MatchValue(value=where.dataset)))
    must_not: list[Any] = []
    if where.excluded_sha256 is not None:
        value = models.MatchValue(value=where.excluded_sha256)
        must_not.append(models.FieldCondition(key="sha256", match=value))
    return models.Filter(must=must or None, must_not=must_not or None) if must or must_not else None


def _taken(name: str, label: str) -> str:
    return f"there is a collection {name} on {label} already; it is left alone"


class _Fault(Enum):
    REFUSED = auto()
    MISSING = auto()
    EXISTS = auto()
    UNREACHABLE = auto()
    OTHER = auto()


_FAULT_OF_STATUS = {
    HTTPStatus.UNAUTHORIZED: _Fault.REFUSED,
    HTTPStatus.FORBIDDEN: _Fault.REFUSED,
    HTTPStatus.NOT_FOUND: _Fault.MISSING,
    HTTPStatus.CONFLICT: _Fault.EXISTS,
}
_FAULT_OF_CODE = {
    "UNAUTHENTICATED": _Fault.REFUSED,
    "PERMISSION_DENIED": _Fault.REFUSED,
    "NOT_FOUND": _Fault.MISSING,
    "ALREADY_EXISTS": _Fault.EXISTS,
    "UNAVAILABLE": _Fault.UNREACHABLE,
    "DEADLINE_EXCEEDED": _Fault.UNREACHABLE,
}


@contextmanager
def _translated(label: str, doing: str, *, collection: str | None = None) -> Iterator[None]:
    """Whatever httpx, gRPC and the client raise becomes one of ours.

    Without a `collection` in play, "not found" means that this is no Qdrant.
    """
    try:
        yield
    except (LookalikeError, MemoryError):
        raise
    except Exception as error:
        fault, reason = _fault(error)
        raise _ours(fault, f"{doing} failed on {label}: {reason}", collection=collection) from error


def _ours(fault: _Fault, message: str, *, collection: str | None) -> LookalikeError:
    if fault is _Fault.REFUSED:
        return StoreError(
            f"{message}; set QDRANT_API_KEY to a key that may do this, or use another store with --store"
        )
    if fault is _Fault.MISSING and collection is not None:
        return CollectionMissingError(message)
    if fault is _Fault.EXISTS and collection is not None:
        return ManifestError(f"{message}; it is left alone")
    if fault is _Fault.UNREACHABLE:
        return StoreError(
            f"{message}; start the server (docker compose up qdrant), or use another store with --store"
        )
    return StoreError(f"{message}; see what runs at this address and what its log says")


def _fault(error: Exception) -> tuple[_Fault, str]:
    """What kind of failure it is, and a reason in one line."""
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    if isinstance(error, UnexpectedResponse):
        fault = _FAULT_OF_STATUS.get(cast("HTTPStatus", error.status_code), _Fault.OTHER)
        return fault, f"it answered {error.status_code} ({_answer_text(error)})"
    if isinstance(error, ResponseHandlingException):
        return _transport_fault(error.source)
    if isinstance(error, json.JSONDecodeError):
        return _Fault.OTHER, _NOT_QDRANT
    code = getattr(error, "code", None)  # a method of gRPC's errors, whose module has no types
    if callable(code):
        name = code().name
        details = _one_line(str(getattr(error, "details", str)()))
        return _FAULT_OF_CODE.get(name, _Fault.OTHER), f"{details} ({name})"
    return _Fault.OTHER, _one_line(str(error)) or type(error).__name__


def _transport_fault(source: Exception) -> tuple[_Fault, str]:
    """The client wraps both what httpx raises and an answer that it cannot read."""
    import httpx

    if isinstance(source, httpx.TimeoutException):
        return _Fault.UNREACHABLE, "no answer in time"
    if isinstance(source, httpx.TransportError):
        return _Fault.UNREACHABLE, _one_line(str(source)) or type(source).__name__
    return _Fault.OTHER, _NOT_QDRANT


def _answer_text(error: Any) -> str:  # noqa: ANN401 - UnexpectedResponse, whose module is not loaded here
    try:
        text = str(error.structured()["status"]["error"])
    except (ValueError, KeyError, TypeError):
        text = bytes(error.content).decode(errors="replace")
    return _one_line(text) or str(error.reason_phrase)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _REASON_LENGTH else f"{line[:_REASON_LENGTH]}..."

"""Stands in for a Qdrant server: the part of its REST interface that our client uses, over real HTTP.

Behind it is the in-memory mode of qdrant-client. It proves what goes over the wire, what becomes of
faults there and what our commands do about them; it proves nothing about Qdrant itself, its disk or its
speed. Tests take a real server instead wherever `QDRANT_URL` names one.

`python tests/support/qdrant_stand_in.py PORT` serves alone, a `QDRANT_URL` for several test processes.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from pydantic import TypeAdapter
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse
from snapshot_stand_in import Snapshots
from strict_mode import StrictModeError, check_strict_mode

KEYWORD = {"data_type": "keyword", "points": 0}
DONE = {"operation_id": 0, "status": "completed"}


_WRITES = ("/points/batch", "/points/delete")


class MissingReplicaError(Exception):
    """A refusal for a lost peer, as `lib/collection/src/shards/replica_set` in Qdrant's source words it."""

    def __init__(self, peer: int, *, is_write: bool) -> None:
        cause = (
            'Service internal error: Tonic status error: status: Unavailable, message: "Failed to connect to '
            f'{_peer_address(peer)}, error: transport error", details: [], metadata: MetadataMap {{ headers: '
            "{} }"
        )
        inner = f"Service internal error: 1 of 1 read operations failed:\n  {cause}"
        super().__init__(cause if is_write else inner)


class QdrantStandIn:
    """A server whose data outlives `stop` and `start`, as a real server's does."""

    def __init__(self, *, api_key: str | None = None, version: str | None = None) -> None:
        from importlib.metadata import version as installed

        self.api_key = api_key
        self.version = version or installed("qdrant-client")
        self.port = 0
        self.client = QdrantClient(":memory:")
        """Reaches the data past the wire, as another client of the same server would."""
        self.snapshots = Snapshots(self.client)
        self.peers: list[int] = []
        """The nodes of the cluster that it pretends to be, if any."""
        self.remote_shards: list[int] = []
        """Shards that it pretends to be on other nodes."""
        self.replicas = 1
        """The replication factor of collections that are made without one."""
        self.layout_of_new: dict[str, int] = {}
        """The layout that it gives new collections, whatever they are asked for."""
        self.down: set[int] = set()
        """The peers that it pretends to have lost, whose replicas have missed writes since.

        What needs more replicas than are left is refused, in the words of a real one.
        """
        self.dead: set[int] = set()
        """The peers that answer, and whose replicas missed writes before and are not active again."""
        self.unlike: set[str] = set()
        """Ids of points that its replicas pretend to have unlike each other."""
        self._indexes: dict[str, set[str]] = {}
        self._strict: dict[str, dict[str, Any]] = {}
        self._layouts: dict[str, dict[str, int]] = {}
        self._lock = threading.RLock()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The URL that it listens on."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listens, on the same port after a stop."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Closes the port; data stays."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def answer(self, method: str, path: str, query: str, key: str | None, body: bytes) -> tuple[int, Any]:
        """Returns the answer to a request: a status, and an object for JSON."""
        if self.api_key is not None and key != self.api_key:
            return 401, "Must provide an API key or an Authorization bearer token"
        if found := re.fullmatch(r"/collections/([^/]+)/snapshots(?:/([^/]+))?", path):
            with self._lock:
                return self.snapshots.answer(method, *found.groups(), query=query, body=body)
        data = json.loads(body) if body else {}
        if "wait=false" in query:
            data["waits"] = False
        if "consistency=all" in query:
            data["everywhere"] = True
        with self._lock:
            try:
                return 200, self._result(method, path, data)
            except (
                LookupError,
                OSError,
                ValueError,
                AssertionError,
                MissingReplicaError,
                StrictModeError,
                UnexpectedResponse,
            ) as error:
                status, text = _refusal(error)
                return status, {"status": {"error": text}}

    def _result(self, method: str, path: str, data: Any) -> Any:
        if path == "/":
            return {"title": "qdrant - vector search engine (stand-in)", "version": self.version}
        for pattern, action in _ROUTES:
            if found := re.fullmatch(pattern, f"{method} {path}"):
                self._require_replicas(method, path)
                if limits := self._strict.get(path.split("/")[2] if "/" in path[1:] else ""):
                    check_strict_mode(path.split("/", 3)[-1], data, limits)
                return {"result": action(self, *found.groups(), data), "status": "ok", "time": 0.0}
        raise KeyError("Not found")

    def _names(self, _: Any) -> Any:
        return _json(self.client.get_collections())

    def _exists(self, name: str, _: Any) -> Any:
        return {"exists": self.client.collection_exists(name)}

    def _create(self, name: str, data: Any) -> bool:
        if self.client.collection_exists(name):
            raise FileExistsError(f"Wrong input: Collection `{name}` already exists!")
        wanted = models.CreateCollection.model_validate(data)
        if any(alias.alias_name == name for alias in self.client.get_aliases().aliases):
            raise ValueError(
                f"Can't create collection with name {name}. Alias with the same name already exists"
            )
        self._indexes[name] = set()
        asked = {
            "shard_number": wanted.shard_number or len(self.peers),
            "replication_factor": wanted.replication_factor,
            "write_consistency_factor": wanted.write_consistency_factor,
        }
        self._layouts[name] = {key: value for key, value in asked.items() if value} | self.layout_of_new
        return self.client.create_collection(name, wanted.vectors, metadata=wanted.metadata)

    def _info(self, name: str, _: Any) -> Any:
        info = _json(self._there(name).get_collection(name))
        if name in self._strict:
            info["config"]["strict_mode_config"] = self._strict[name]
        info["config"]["params"] |= self._layout(name)
        return info | {"payload_schema": dict.fromkeys(sorted(self._indexes.get(name, ())), KEYWORD)}

    def _update(self, name: str, data: Any) -> bool:
        if strict := data.get("strict_mode_config"):
            self._strict[name] = self._strict.get(name, {}) | strict
        return self._there(name).update_collection(name, metadata=data.get("metadata") or {})

    def _delete(self, name: str, _: Any) -> bool:
        self._indexes.pop(name, None)
        self._strict.pop(name, None)
        self._layouts.pop(name, None)
        if name not in [collection.name for collection in self.client.get_collections().collections]:
            return False  # an alias is not followed
        return self.client.delete_collection(name)

    def _aliases_of_all(self, _: Any) -> Any:
        return _json(self.client.get_aliases())

    def _aliases_of(self, name: str, _: Any) -> Any:
        return _json(self._there(name).get_collection_aliases(name))

    def _alias(self, data: Any) -> bool:
        changes = TypeAdapter(list[models.AliasOperations]).validate_python(data["actions"])
        there = {collection.name for collection in self.client.get_collections().collections}
        for change in changes:
            if not isinstance(change, models.CreateAliasOperation):
                continue
            made = change.create_alias
            if made.collection_name not in there:
                raise KeyError(f"Not found: Collection `{made.collection_name}` doesn't exist!")
            if made.alias_name in there:
                raise FileExistsError(f"Wrong input: Collection `{made.alias_name}` already exists!")
        return self.client.update_collection_aliases(changes)

    def _index(self, name: str, data: Any) -> Any:
        self._there(name)
        self._indexes.setdefault(name, set()).add(data["field_name"])
        return DONE

    def _unindex(self, name: str, field: str, _: Any) -> Any:
        self._there(name)
        self._indexes[name].discard(field)
        return DONE

    def _upsert(self, name: str, data: Any) -> Any:
        client = self._there(name)
        size = client.get_collection(name).config.params.vectors.size
        for point in data["points"]:
            if len(point["vector"]) != size:
                raise ValueError(f"Vector dimension error: expected dim: {size}, got {len(point['vector'])}")
        client.upsert(name, [models.PointStruct.model_validate(point) for point in data["points"]])
        return DONE

    def _batch(self, name: str, data: Any) -> Any:
        waits = data.pop("waits", True)
        client = self._there(name)
        operations = models.UpdateOperations.model_validate(data).operations
        for operation in operations:
            with nullcontext() if waits else suppress(UnexpectedResponse):  # of a missing point
                client.batch_update_points(name, [operation])
        return [DONE if waits else DONE | {"status": "acknowledged"}] * len(operations)

    def _remove(self, name: str, data: Any) -> Any:
        kind = models.PointIdsList if "points" in data else models.FilterSelector
        self._there(name).delete(name, kind.model_validate(data))
        return DONE

    def _scroll(self, name: str, data: Any) -> Any:
        wanted = models.ScrollRequest.model_validate(data)
        records, offset = self._there(name).scroll(
            name,
            scroll_filter=wanted.filter,
            limit=wanted.limit or 10,
            offset=wanted.offset,
            with_payload=True if wanted.with_payload is None else wanted.with_payload,
            with_vectors=wanted.with_vector or False,
        )
        return {"points": _json(records), "next_page_offset": offset}

    def _retrieve(self, name: str, data: Any) -> Any:
        everywhere = data.pop("everywhere", False)
        wanted = models.PointRequest.model_validate(data)
        if everywhere:
            wanted.ids = [point for point in wanted.ids if str(point) not in self.unlike]
        return _json(self._there(name).retrieve(name, wanted.ids, wanted.with_payload, wanted.with_vector))

    def _count(self, name: str, data: Any) -> Any:
        wanted = models.CountRequest.model_validate(data)
        return _json(self._there(name).count(name, count_filter=wanted.filter, exact=True))

    def _facet(self, name: str, data: Any) -> Any:
        wanted = models.FacetRequest.model_validate(data)
        return _json(self._there(name).facet(name, wanted.key, wanted.filter, wanted.limit, exact=True))

    def _query(self, name: str, data: Any) -> Any:
        wanted = models.QueryRequest.model_validate(data)
        answer = self._there(name).query_points(
            name,
            query=wanted.query,
            query_filter=wanted.filter,
            limit=wanted.limit or 10,
            offset=wanted.offset,
            with_payload=True,
        )
        return _json(answer)

    def _query_batch(self, name: str, data: Any) -> Any:
        searches = models.QueryRequestBatch.model_validate(data).searches
        wanted = [search.model_copy(update={"params": None}) for search in searches]  # the client warns
        return _json(self._there(name).query_batch_points(name, wanted))

    def _layout(self, name: str) -> dict[str, int]:
        """Returns the layout of a collection; where it was made without one, the server's own."""
        behind = {alias.alias_name: alias.collection_name for alias in self.client.get_aliases().aliases}
        own = {"shard_number": 1, "replication_factor": self.replicas, "write_consistency_factor": 1}
        return own | self._layouts.get(behind.get(name, name), {})

    def _cluster(self, _: Any) -> Any:
        if not self.peers:
            return {"status": "disabled"}
        failed = {"count": 3, "latest_error": "Failed to connect", "latest_error_timestamp": None}
        return {
            "status": "enabled",
            "peer_id": self.peers[0],
            "peers": {str(peer): {"uri": _peer_address(peer)} for peer in self.peers},
            "message_send_failures": {_peer_address(peer): failed for peer in sorted(self.down)},
        }

    def _shards(self, name: str, _: Any) -> Any:
        """Lists as many replicas of each shard as there are peers for, like a server, which says nothing."""
        self._there(name)
        layout, peers = self._layout(name), self.peers or [0]
        local: list[dict[str, Any]] = []
        remote: list[dict[str, Any]] = [
            {"shard_id": shard, "peer_id": 2, "state": "Active"} for shard in self.remote_shards
        ]
        for shard in range(layout["shard_number"]):
            for peer in self._places(shard, layout):
                there = {"shard_id": shard, "state": "Dead" if peer in self.down | self.dead else "Active"}
                if peer == peers[0]:
                    local.append(there | {"points_count": 0})
                else:
                    remote.append(there | {"peer_id": peer})
        return {
            "peer_id": peers[0],
            "shard_count": layout["shard_number"],
            "local_shards": local,
            "remote_shards": remote,
            "shard_transfers": [],
        }

    def _places(self, shard: int, layout: dict[str, int]) -> list[int]:
        """Returns the peers that have a replica of a shard."""
        peers = self.peers or [0]
        count = min(layout["replication_factor"], len(peers))
        return [peers[(shard + replica) % len(peers)] for replica in range(count)]

    def _require_replicas(self, method: str, path: str) -> None:
        """Refuses requests to a collection whose shards have too few replicas on peers that are not lost.

        What it has of points is read for its description, too; whether it exists and where it is are not.
        """
        found = re.fullmatch(r"/collections/([^/]+)(/points.*|/facet)?", path)
        if not self.down or found is None or (found[2] is None and method != "GET"):
            return
        layout, is_write = self._layout(found[1]), method == "PUT" or path.endswith(_WRITES)
        for shard in range(layout["shard_number"]):
            places = self._places(shard, layout)
            lost = [peer for peer in places if peer in self.down]
            needed = min(layout["write_consistency_factor"], len(places)) if is_write else 1
            if len(places) - len(lost) < needed:
                raise MissingReplicaError(lost[0], is_write=is_write)

    def _there(self, name: str) -> QdrantClient:
        if not self.client.collection_exists(name):
            raise KeyError(f"Not found: Collection `{name}` doesn't exist!")
        return self.client


_ROUTES: list[tuple[str, Callable[..., Any]]] = [
    (r"GET /collections", QdrantStandIn._names),  # noqa: SLF001 - its own
    (r"GET /cluster", QdrantStandIn._cluster),  # noqa: SLF001
    (r"GET /collections/([^/]+)/cluster", QdrantStandIn._shards),  # noqa: SLF001
    (r"GET /aliases", QdrantStandIn._aliases_of_all),  # noqa: SLF001
    (r"POST /collections/aliases", QdrantStandIn._alias),  # noqa: SLF001
    (r"GET /collections/([^/]+)/aliases", QdrantStandIn._aliases_of),  # noqa: SLF001
    (r"GET /collections/([^/]+)/exists", QdrantStandIn._exists),  # noqa: SLF001
    (r"PUT /collections/([^/]+)", QdrantStandIn._create),  # noqa: SLF001
    (r"GET /collections/([^/]+)", QdrantStandIn._info),  # noqa: SLF001
    (r"PATCH /collections/([^/]+)", QdrantStandIn._update),  # noqa: SLF001
    (r"DELETE /collections/([^/]+)", QdrantStandIn._delete),  # noqa: SLF001
    (r"PUT /collections/([^/]+)/index", QdrantStandIn._index),  # noqa: SLF001
    (r"DELETE /collections/([^/]+)/index/([^/]+)", QdrantStandIn._unindex),  # noqa: SLF001
    (r"PUT /collections/([^/]+)/points", QdrantStandIn._upsert),  # noqa: SLF001
    (r"POST /collections/([^/]+)/points/batch", QdrantStandIn._batch),  # noqa: SLF001
    (r"POST /collections/([^/]+)/points/delete", QdrantStandIn._remove),  # noqa: SLF001
    (r"POST /collections/([^/]+)/points/scroll", QdrantStandIn._scroll),  # noqa: SLF001
    (r"POST /collections/([^/]+)/points", QdrantStandIn._retrieve),  # noqa: SLF001
    (r"POST /collections/([^/]+)/points/count", QdrantStandIn._count),  # noqa: SLF001
    (r"POST /collections/([^/]+)/facet", QdrantStandIn._facet),  # noqa: SLF001
    (r"POST /collections/([^/]+)/points/query", QdrantStandIn._query),  # noqa: SLF001
    (r"POST /collections/([^/]+)/points/query/batch", QdrantStandIn._query_batch),  # noqa: SLF001
]


@contextmanager
def running_stand_in(**options: Any) -> Iterator[QdrantStandIn]:
    """Runs a stand-in that listens until the block ends."""
    one = QdrantStandIn(**options)
    one.start()
    try:
        yield one
    finally:
        one.stop()


def _peer_address(peer: int) -> str:
    return f"http://node-{peer}:6335/"


def _refusal(error: Exception) -> tuple[int, str]:
    """Returns status and message for an error."""
    if isinstance(error, StrictModeError):
        return error.status, str(error)
    if isinstance(error, MissingReplicaError):
        return 500, str(error)
    if isinstance(error, UnexpectedResponse):  # the in-memory client raises a server's errors
        return error.status_code or 500, bytes(error.content).decode()
    if isinstance(error, KeyError):
        return 404, str(error.args[0])
    return (409, str(error)) if isinstance(error, FileExistsError) else (400, f"Wrong input: {error}")


def _json(value: Any) -> Any:
    return TypeAdapter(Any).dump_python(value, mode="json")


def _text(data: Any) -> str:
    return data if isinstance(data, str) else json.dumps(data)


def _handler(stand_in: QdrantStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            key = self.headers.get("api-key")
            status, data = stand_in.answer(self.command, unquote(path), query, key, body)
            sent = data if isinstance(data, bytes) else _text(data).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server's names

        def handle(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):
                super().handle()

        def log_message(self, *_: Any) -> None:
            """Logs nothing."""

    return Handler


if __name__ == "__main__":  # for several test processes on one server: QDRANT_URL=http://127.0.0.1:PORT
    import sys
    import time

    alone = QdrantStandIn()
    alone.port = int(sys.argv[1])
    alone.start()
    sys.stdout.write(f"{alone.url}\n")
    sys.stdout.flush()
    while True:
        time.sleep(3600)

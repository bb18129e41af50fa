"""Stands in for the snapshots of a Qdrant server, which the client's in-memory mode does not have.

A snapshot is JSON here, and a tar of segments on a real server: this proves the requests, the checksums and
what becomes of faults, and nothing about Qdrant's own snapshots.
"""

import hashlib
import json
import re
from typing import Any
from urllib.parse import unquote

from qdrant_client import QdrantClient, models

Answer = tuple[int, Any]


class Snapshots:
    """The snapshots of the collections that `client` reaches."""

    def __init__(self, client: QdrantClient) -> None:
        self._client = client
        self.kept: dict[str, bytes] = {}
        """Name -> content, of those that were not removed; a server keeps uploaded ones, too."""
        self.gives_checksums = True
        self.damages = False
        """Whether downloads arrive with a byte that is not the snapshot's."""
        self.loses_points = False
        """Whether a collection is made of a snapshot without its points."""
        self._made = 0

    def answer(self, method: str, collection: str, name: str | None, *, query: str, body: bytes) -> Answer:
        """Returns status and content of the answer to a request below `/collections/COLLECTION/snapshots`."""
        if method == "POST" and name == "upload":
            return self._restore(collection, query, body)
        if not self._client.collection_exists(collection):
            return 404, {"status": {"error": f"Not found: Collection `{collection}` doesn't exist!"}}
        if method == "POST":
            return 200, {"result": self._make(collection), "status": "ok"}
        if name not in self.kept:
            return 404, {"status": {"error": f"Not found: Snapshot {name} not found"}}
        if method == "DELETE":
            del self.kept[name]
            return 200, {"result": True, "status": "ok"}
        content = self.kept[name]
        return 200, content[:-1] + b"?" if self.damages else content

    def _make(self, collection: str) -> dict[str, Any]:
        info = self._client.get_collection(collection)
        records, _ = self._client.scroll(collection, limit=10**6, with_payload=True, with_vectors=True)
        content = json.dumps(
            {
                "vectors": info.config.params.vectors.model_dump(mode="json"),  # type: ignore[union-attr]
                "metadata": info.config.metadata,
                "points": [
                    {"id": record.id, "vector": record.vector, "payload": record.payload}
                    for record in records
                ],
            }
        ).encode()
        self._made += 1
        name = f"{collection}-{self._made}.snapshot"
        self.kept[name] = content
        sha256 = hashlib.sha256(content).hexdigest() if self.gives_checksums else None
        return {
            "name": name,
            "creation_time": "2026-01-01T00:00:00",
            "size": len(content),
            "checksum": sha256,
        }

    def _restore(self, collection: str, query: str, body: bytes) -> Answer:
        boundary, _, rest = body.partition(b"\r\n")
        content = rest.partition(b"\r\n\r\n")[2].rpartition(b"\r\n" + boundary)[0]
        if f"checksum={hashlib.sha256(content).hexdigest()}" not in query:
            return 400, {"status": {"error": "Wrong input: Snapshot checksum mismatch"}}
        [uploaded] = re.findall(rb'filename="([^"]+)"', rest.partition(b"\r\n\r\n")[0])
        self.kept[unquote(uploaded.decode())] = content
        data = json.loads(content)
        vectors = models.VectorParams.model_validate(data["vectors"])
        self._client.create_collection(collection, vectors, metadata=data["metadata"])
        points = [models.PointStruct.model_validate(point) for point in data["points"]]
        if points and not self.loses_points:
            self._client.upsert(collection, points)
        return 200, {"result": True, "status": "ok"}

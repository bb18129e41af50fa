"""Bulk reads from a server: over HTTP through the client's models, over gRPC directly from messages.

The client makes a validated model of each row. Over gRPC that takes several times as long as reading the
message's values (`benchmarks/protocols.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lookalike_core.arrays import FloatVector

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

Fields = bool | list[str]
"""The fields of a payload to read: all, none, or these."""


Offset = Any
"""The start of a page: an id, or what was returned with the page before; None for the first point."""

StoredPoint = tuple[str, Mapping[str, Any]]
"""A point's id and its payload."""

_Message = Any
"""A gRPC message, which is untyped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of points to read: those that match `where`, ordered by id, from `offset` on."""

    where: "models.Filter | None"
    limit: int
    offset: Offset
    fields: Fields


class Reads(Protocol):
    """Bulk reads; each call is one request."""

    def page(self, name: str, asked: Page) -> tuple[list[StoredPoint], Offset]:
        """Returns the points of a page, and where the next page starts, or None."""

    def payloads(self, name: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Returns payloads by id, of those that exist."""

    def vectors(self, name: str, ids: Sequence[str]) -> dict[str, FloatVector]:
        """Returns vectors by id, of those that exist; float32 `[D]`."""

    def facet(self, name: str, field: str, *, limit: int) -> dict[str, int]:
        """Returns how many points have each value of a field, exactly."""


class ModelReads:
    """Reads through the client's models, over either protocol."""

    def __init__(self, client: "QdrantClient") -> None:
        self._client = client

    def page(self, name: str, asked: Page) -> tuple[list[StoredPoint], Offset]:
        """See `Reads`."""
        records, following = self._client.scroll(
            name,
            scroll_filter=asked.where,
            limit=asked.limit,
            offset=asked.offset,
            with_payload=asked.fields,
        )
        return [(str(record.id), record.payload or {}) for record in records], following

    def payloads(self, name: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """See `Reads`."""
        records = self._client.retrieve(name, ids, with_payload=True, with_vectors=False)
        return {str(record.id): record.payload or {} for record in records}

    def vectors(self, name: str, ids: Sequence[str]) -> dict[str, FloatVector]:
        """See `Reads`."""
        records = self._client.retrieve(name, ids, with_payload=False, with_vectors=True)
        return {str(record.id): np.asarray(record.vector, dtype=np.float32) for record in records}

    def facet(self, name: str, field: str, *, limit: int) -> dict[str, int]:
        """See `Reads`."""
        hits = self._client.facet(name, field, limit=limit, exact=True).hits
        return {str(hit.value): hit.count for hit in hits}


class MessageReads:
    """Reads from gRPC messages, on the client's own channel."""

    def __init__(self, client: "QdrantClient", *, timeout_s: float) -> None:
        self._client, self._timeout_s = client, timeout_s

    def page(self, name: str, asked: Page) -> tuple[list[StoredPoint], Offset]:
        """See `Reads`."""
        from qdrant_client import grpc
        from qdrant_client.conversions.conversion import RestToGrpc

        start = grpc.PointId(uuid=asked.offset) if isinstance(asked.offset, str) else asked.offset
        request = grpc.ScrollPoints(
            collection_name=name,
            filter=None if asked.where is None else RestToGrpc.convert_filter(asked.where),
            limit=asked.limit,
            offset=start,
            with_payload=RestToGrpc.convert_with_payload_interface(asked.fields),
            with_vectors=grpc.WithVectorsSelector(enable=False),
        )
        answer = self._client.grpc_points.Scroll(request, timeout=self._timeout_s)
        following = answer.next_page_offset if answer.HasField("next_page_offset") else None
        return [(point.id.uuid, _payload(point)) for point in answer.result], following

    def payloads(self, name: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """See `Reads`."""
        return {point.id.uuid: _payload(point) for point in self._get(name, ids, payloads=True)}

    def vectors(self, name: str, ids: Sequence[str]) -> dict[str, FloatVector]:
        """See `Reads`."""
        return {point.id.uuid: _vector(point) for point in self._get(name, ids, payloads=False)}

    def _get(self, name: str, ids: Sequence[str], *, payloads: bool) -> Sequence[_Message]:
        from qdrant_client import grpc

        request = grpc.GetPoints(
            collection_name=name,
            ids=[grpc.PointId(uuid=one) for one in ids],
            with_payload=grpc.WithPayloadSelector(enable=payloads),
            with_vectors=grpc.WithVectorsSelector(enable=not payloads),
        )
        found: Sequence[_Message] = self._client.grpc_points.Get(request, timeout=self._timeout_s).result
        return found

    def facet(self, name: str, field: str, *, limit: int) -> dict[str, int]:
        """See `Reads`."""
        from qdrant_client import grpc

        request = grpc.FacetCounts(collection_name=name, key=field, limit=limit, exact=True)
        answer = self._client.grpc_points.Facet(request, timeout=self._timeout_s)
        return {hit.value.string_value: hit.count for hit in answer.hits}


def _payload(point: _Message) -> dict[str, Any]:
    """Returns a payload as ours are: of texts, integers, nulls, and lists of them."""
    fields = point.payload
    return {name: _value(fields[name]) for name in fields}


def _value(value: _Message) -> Any:  # noqa: ANN401 - of any type that JSON has
    kind = value.WhichOneof("kind")
    if kind == "list_value":
        return [_value(each) for each in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)


def _vector(point: _Message) -> FloatVector:
    """Returns a vector; servers before 1.17 put its values beside its kind, later ones inside."""
    vector = point.vectors.vector
    return np.array(vector.dense.data or vector.data, dtype=np.float32)

"""Answers of many rows, read from a server: over HTTP by the client's models, over gRPC from the messages.

The client makes a validated model of each row. Over gRPC that takes several times as long as to take the
values out of the message (`benchmarks/protocols.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lookalike_core.arrays import FloatVector

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

Fields = bool | list[str]
"""Which fields of a payload: all, none, or these."""


Offset = Any
"""Where a page starts, as the page before it has said; None for the first."""

_Message = Any
"""One of gRPC's, which have no types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which points to read at once: those that match `where`, in the order of their ids, from `offset` on."""

    where: "models.Filter | None"
    limit: int
    offset: Offset
    fields: Fields


class Reads(Protocol):
    """What is read in many rows at once; each call is one request."""

    def page(self, name: str, asked: Page) -> tuple[list[Mapping[str, Any]], Offset]:
        """Returns the payloads of a page, and where the next page starts, or None."""

    def payloads(self, name: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Returns payloads by id, of those that are there."""

    def vectors(self, name: str, ids: Sequence[str]) -> dict[str, FloatVector]:
        """Returns vectors by id, of those that are there; float32 `[D]`."""

    def facet(self, name: str, field: str, *, limit: int) -> dict[str, int]:
        """Returns how many points have each value of a field, exactly."""


class ModelReads:
    """As the client gives them, whatever it speaks."""

    def __init__(self, client: "QdrantClient") -> None:
        self._client = client

    def page(self, name: str, asked: Page) -> tuple[list[Mapping[str, Any]], Offset]:
        """See `Reads`."""
        records, following = self._client.scroll(
            name,
            scroll_filter=asked.where,
            limit=asked.limit,
            offset=asked.offset,
            with_payload=asked.fields,
        )
        return [record.payload or {} for record in records], following

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
    """Out of gRPC's messages, on the client's own channel."""

    def __init__(self, client: "QdrantClient", *, timeout_s: float) -> None:
        self._client, self._timeout_s = client, timeout_s

    def page(self, name: str, asked: Page) -> tuple[list[Mapping[str, Any]], Offset]:
        """See `Reads`."""
        from qdrant_client import grpc
        from qdrant_client.conversions.conversion import RestToGrpc

        request = grpc.ScrollPoints(
            collection_name=name,
            filter=None if asked.where is None else RestToGrpc.convert_filter(asked.where),
            limit=asked.limit,
            offset=asked.offset,
            with_payload=RestToGrpc.convert_with_payload_interface(asked.fields),
            with_vectors=grpc.WithVectorsSelector(enable=False),
        )
        answer = self._client.grpc_points.Scroll(request, timeout=self._timeout_s)
        following = answer.next_page_offset if answer.HasField("next_page_offset") else None
        return [_payload(point) for point in answer.result], following

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
    """Reads a flat payload, as ours are: text, whole numbers, and nothing."""
    fields = point.payload
    return {name: _value(fields[name]) for name in fields}


def _value(value: _Message) -> str | int | None:
    kind = value.WhichOneof("kind")
    text_or_number: str | int | None = None if kind in (None, "null_value") else getattr(value, kind)
    return text_or_number


def _vector(point: _Message) -> FloatVector:
    """Reads a vector, whose values servers before 1.17 give beside its kind and not in it."""
    vector = point.vectors.vector
    return np.array(vector.dense.data or vector.data, dtype=np.float32)

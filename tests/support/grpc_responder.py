"""Stands in for Qdrant's gRPC port, to test messages and faults, and nothing else."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from lookalike_core.models.model_manifest import METADATA_KEY
from lookalike_core.stores.collection_manifest import CollectionManifest


@dataclass(slots=True, kw_only=True)
class GrpcResponder:
    """Stands in for Qdrant's gRPC port: answers every call with an empty message, or with `code`.

    `answers` holds the bytes to give to a method instead; `failing` how its next calls fail: with a code,
    a text and trailing metadata; `seen` the method, the request's bytes and the metadata of each call. A
    method is named like `Upsert`, outside the points' service like `Collections/Get`.
    """

    port: int = 0
    answers: dict[str, bytes] = field(default_factory=dict)
    code: Any = None
    failing: dict[str, list[tuple[str, str, dict[str, str]]]] = field(default_factory=dict)
    listener: Any = None
    seen: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    def start(self) -> None:
        """Listens, on the same port after a stop."""
        import grpc

        self.listener = grpc.server(ThreadPoolExecutor(2), handlers=[self])
        self.port = self.listener.add_insecure_port(f"127.0.0.1:{self.port}")
        self.listener.start()

    def stop(self) -> None:
        """Drops its connections and closes the port."""
        self.listener.stop(None).wait()

    def service(self, details: Any) -> Any:
        """Returns the handler for any method."""
        import grpc

        def answer(request: bytes, context: Any) -> bytes:
            method = details.method.removeprefix("/qdrant.").removeprefix("Points/")
            self.seen.append((method, request, dict(details.invocation_metadata)))
            if self.failing.get(method):
                code, text, trailing = self.failing[method].pop(0)
                context.set_trailing_metadata(tuple(trailing.items()))
                context.abort(grpc.StatusCode[code], text)
            if self.code is not None:
                context.abort(self.code, "said so")
            return self.answers.get(method, b"")

        return grpc.unary_unary_rpc_method_handler(answer)


def grpc_info(manifest: CollectionManifest) -> bytes:
    """Returns a server's description of an existing collection of ours."""
    from qdrant_client import grpc as messages
    from qdrant_client.conversions.conversion import RestToGrpc

    vectors = messages.VectorParams(size=manifest.identity.dimension, distance=messages.Distance.Cosine)
    config = messages.CollectionConfig(
        params=messages.CollectionParams(vectors_config=messages.VectorsConfig(params=vectors)),
        hnsw_config=messages.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10_000),
        optimizer_config=messages.OptimizersConfigDiff(
            deleted_threshold=0.2,
            vacuum_min_vector_number=1000,
            default_segment_number=0,
            flush_interval_sec=5,
        ),
        wal_config=messages.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0),
        metadata=RestToGrpc.convert_payload({METADATA_KEY: manifest.to_json()}),
    )
    info = messages.CollectionInfo(status=messages.CollectionStatus.Green, config=config)
    return bytes(messages.GetCollectionInfoResponse(result=info).SerializeToString())

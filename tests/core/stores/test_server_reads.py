"""Values read from gRPC messages equal those of the client's models; a small responder answers."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from grpc_responder import GrpcResponder
from lookalike_core.arrays import FloatVector
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import ImagePoint, point_id
from lookalike_core.stores.server import ServerCollection, ServerStore
from lookalike_core.stores.server_reads import MessageReads, ModelReads, Page, Reads
from qdrant_client import QdrantClient
from qdrant_stand_in import running_stand_in


@pytest.fixture
def both(grpc_collection: ServerCollection) -> tuple[Reads, Reads]:
    """Returns both readers of one server."""
    client = grpc_collection._client  # noqa: SLF001
    return MessageReads(client, timeout_s=10), ModelReads(client)


@pytest.fixture
def points(point_of: Callable[..., ImagePoint]) -> list[ImagePoint]:
    """Returns points with and without a class, a synset and a former path."""
    plain = point_of("cat/猫.jpg", [1.5, -2.25, 1e-30, 3.4e38])
    bare = point_of("2.jpg", [0.1, 0.2, 0.3, 0.4], class_name=None)
    moved = replace(plain.payload, path="3.jpg", moved_from="old/3.jpg", synset="n01440764", mtime_ns=2**62)
    return [plain, bare, ImagePoint(payload=moved, vector=plain.vector)]


@pytest.mark.parametrize("dense", [True, False], ids=["1.17 and newer", "before"])
def test_points_are_read_alike(
    both: tuple[Reads, Reads], grpc_responder: GrpcResponder, points: list[ImagePoint], dense: bool
) -> None:
    """Payloads have all types of values; vectors are equal bit by bit, in either encoding."""
    from qdrant_client import grpc
    from qdrant_client.conversions.conversion import RestToGrpc

    rows = []
    for point in points:
        values = point.vector.tolist()
        vector = (
            grpc.VectorOutput(dense=grpc.DenseVector(data=values))
            if dense
            else grpc.VectorOutput(data=values)
        )
        rows.append(
            grpc.RetrievedPoint(
                id=grpc.PointId(uuid=point.payload.id),
                payload=RestToGrpc.convert_payload(point.payload.to_json()),
                vectors=grpc.VectorsOutput(vector=vector),
            )
        )
    page = grpc.ScrollResponse(result=rows, next_page_offset=grpc.PointId(uuid=points[0].payload.id))
    grpc_responder.answers = {
        "Scroll": page.SerializeToString(),
        "Get": grpc.GetResponse(result=rows).SerializeToString(),
    }
    ids = [point.payload.id for point in points]
    payloads = {point.payload.id: point.payload.to_json() for point in points}
    for reads in both:
        found, offset = reads.page("any", Page(where=None, limit=3, offset=None, fields=True))
        assert dict(found) == payloads
        assert offset is not None
        assert reads.page("any", Page(where=None, limit=3, offset=offset, fields=["class"]))[0] == found
        assert reads.page("any", Page(where=None, limit=3, offset=ids[0], fields=False))[0] == found
        assert reads.payloads("any", ids) == payloads
        vectors = reads.vectors("any", ids)
        assert {vector.dtype for vector in vectors.values()} == {np.dtype(np.float32)}
        assert all(np.array_equal(vectors[point.payload.id], point.vector) for point in points)
    asked = [body for method, body, _ in grpc_responder.seen if method == "Scroll"]
    assert asked[:3] == asked[3:], "the same is asked in both ways"
    asked = [body for method, body, _ in grpc_responder.seen if method == "Get"]
    assert asked[:2] == asked[2:]


def test_counts_are_read_alike(both: tuple[Reads, Reads], grpc_responder: GrpcResponder) -> None:
    """Values may be in any script; the last page is marked as such."""
    from qdrant_client import grpc

    counts = {"cat": 3, "猫": 2**40, "": 1}
    hits = [grpc.FacetHit(value=grpc.FacetValue(string_value=value), count=n) for value, n in counts.items()]
    grpc_responder.answers["Facet"] = grpc.FacetResponse(hits=hits).SerializeToString()
    for reads in both:
        assert reads.facet("any", "class", limit=2**31) == counts
        assert reads.page("any", Page(where=None, limit=3, offset=None, fields=False)) == ([], None)
    for method in ("Facet", "Scroll"):
        ours, theirs = (body for one, body, _ in grpc_responder.seen if one == method)
        assert ours == theirs


def test_lists_in_payloads_are_read(both: tuple[Reads, Reads], grpc_responder: GrpcResponder) -> None:
    """A payload of another version may have them."""
    from qdrant_client import grpc
    from qdrant_client.conversions.conversion import RestToGrpc

    payload = {"folders": ["a", "a/b"], "none": [], "size": [1, None]}
    row = grpc.RetrievedPoint(
        id=grpc.PointId(uuid=point_id("data", "a.jpg")), payload=RestToGrpc.convert_payload(payload)
    )
    grpc_responder.answers = {"Get": grpc.GetResponse(result=[row]).SerializeToString()}
    for reads in both:
        assert list(reads.payloads("name", [point_id("data", "a.jpg")]).values()) == [payload]


def test_an_opened_collection_reads_as_its_connection_does(
    manifest_of: Callable[..., CollectionManifest], point_of: Callable[..., ImagePoint]
) -> None:
    """Over gRPC that is from messages; a reader that was dropped on the way would cost seconds unnoticed."""
    asked: list[str] = []

    class NotedReads(ModelReads):
        def vectors(self, name: str, ids: Sequence[str]) -> dict[str, FloatVector]:
            asked.append(name)
            return super().vectors(name, ids)

    with running_stand_in() as server:
        client = QdrantClient(url=server.url)
        store = ServerStore(client, label=server.url, reads=NotedReads(client))
        manifest, point = manifest_of(), point_of("a.jpg", [1, 0, 0, 0])
        store.create(manifest)
        with store.open(manifest.collection) as collection:
            collection.upsert([point])
            assert list(collection.vectors([point.payload.id])) == [point.payload.id]
        assert asked == [manifest.collection]
        store.close()

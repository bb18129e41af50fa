"""Makes collections of given vectors in both stores, for tests that need no network and no images.

The server is a real one where `QDRANT_URL` says where it is, elsewhere a stand-in.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.models.backbones import Pooling
from lookalike_core.models.model_manifest import ModelIdentity, WeightsKind, WeightsSource
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.connection import connect
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint, Payload
from lookalike_core.stores.protocol import Collection, Store
from qdrant_stand_in import running_stand_in

QDRANT_URL = os.environ.get("QDRANT_URL")
IS_SHARED = bool(QDRANT_URL or os.environ.get("QDRANT_CLUSTER_URLS"))
"""Whether several processes of tests, and their later runs, use one real server."""

STORES = ("embedded", "server" if QDRANT_URL else "server-stand-in")


_used: defaultdict[str, Iterator[int]] = defaultdict(count)


def unique_hex() -> str:
    """Returns 64 hexadecimal digits, others at each call, and the same ones in each run of a test.

    On a real server, which several processes share, they differ from run to run.
    """
    test = os.environ.get("PYTEST_CURRENT_TEST", "")
    seed = f"{test} {next(_used[test])} {os.getpid() if IS_SHARED else ''}"
    return hashlib.sha256(seed.encode()).hexdigest()


@contextmanager
def store_of(kind: str, folder: Path) -> Iterator[Store]:
    """Opens a store of one of the `STORES`; `folder` is for the embedded one."""
    if kind == "embedded":
        yield EmbeddedStore(folder)
        return
    with ExitStack() as stack:
        url = QDRANT_URL or stack.enter_context(running_stand_in()).url
        one = connect(url, api_key=os.environ.get("QDRANT_API_KEY") if QDRANT_URL else None)
        yield one
        one.close()


def manifest_of(
    distance: Distance = Distance.COSINE,
    dimension: int = 2,
    datasets: Mapping[str, str] | None = None,
    *,
    backbone: str = "vgg16",
    layer: str = "block5_pool",
) -> CollectionManifest:
    """Returns a manifest of unique weights, so that tests may share a server; no field has its default."""
    identity = ModelIdentity(
        backbone=backbone,
        layer=layer,
        pooling=Pooling.AVG,
        preprocessing="none",
        precision_class="float32",
        weights_fingerprint=unique_hex(),
        dimension=dimension,
    )
    return CollectionManifest(
        identity=identity,
        distance=distance,
        weights=WeightsSource(kind=WeightsKind.FILE, official=False, path="/weights/own.h5", sha256="0" * 64),
        exporter_version="0.1.0",
        graph_revision=1,
        provider="CPUExecutionProvider",
        created_at="2026-01-01T00:00:00+00:00",
        datasets={"data": "/data"} if datasets is None else datasets,
    )


@contextmanager
def collection_of(
    store: Store,
    points: Sequence[ImagePoint],
    *,
    distance: Distance = Distance.COSINE,
    dimension: int = 2,
    datasets: Mapping[str, str] | None = None,
) -> Iterator[Collection]:
    """Makes a new collection with these points, and deletes it after the block."""
    manifest = manifest_of(distance, dimension, datasets)
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        collection.upsert(points)
        yield collection
    store.delete(manifest.collection)


def point_of(path: str, vector: Any, **fields: Any) -> ImagePoint:
    """Returns an image of `payload_of` with a vector."""
    return ImagePoint(payload=payload_of(path, **fields), vector=np.asarray(vector, dtype=np.float32))


def payload_of(path: str, **fields: Any) -> Payload:
    """Returns the payload of an image with its own bytes, in class `cat` of `data` unless `fields` differ."""
    known: dict[str, Any] = {
        "dataset": "data",
        "class_name": "cat",
        "sha256": unique_hex(),
        "width": 640,
        "height": 480,
        "bytes": 123_456,
        "mtime_ns": 1_767_225_600_123_456_789,
        "ingested_at": "2026-01-01T00:00:00+00:00",
    }
    return Payload(path=path, **(known | fields))


def random_vectors(count: int, dimension: int) -> list[FloatVector]:
    """Returns `count` seeded random vectors of `dimension` values, of different lengths."""
    generator = np.random.default_rng(7)
    lengths = generator.uniform(0.5, 4, size=(count, 1))
    return list((generator.standard_normal((count, dimension)) * lengths).astype(np.float32))

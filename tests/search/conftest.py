"""Collections made by hand, in both stores: vectors that can be followed with a pencil."""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_stand_in import running_stand_in

from lookalike.backbones import Pooling
from lookalike.manifest import CollectionManifest, Distance, ModelIdentity, WeightsKind, WeightsSource
from lookalike.stores.connection import connect
from lookalike.stores.embedded import EmbeddedStore
from lookalike.stores.points import ImagePoint, Payload
from lookalike.stores.protocol import Store

QDRANT_URL = os.environ.get("QDRANT_URL")


@pytest.fixture(params=["embedded", "server" if QDRANT_URL else "server-stand-in"])
def both_stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Each of both; the server is a real one where `QDRANT_URL` says where it is."""
    if request.param == "embedded":
        yield EmbeddedStore(tmp_path / "qdrant")
    elif QDRANT_URL:
        yield from _connected(QDRANT_URL)
    else:
        with running_stand_in() as server:
            yield from _connected(server.url)


def _connected(url: str) -> Iterator[Store]:
    store = connect(url, api_key=os.environ.get("QDRANT_API_KEY") if QDRANT_URL else None)
    yield store
    store.close()


@pytest.fixture
def fill(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """`fill(store, {"cat/1.png": vector, ...})` makes a collection and gives its name.

    A key may name its dataset as `other:cat/1.png`; a class is the first folder. Two pictures are copies
    where `copies` gives them the same text. Datasets lie below `tmp_path`.
    """
    made: list[tuple[Store, str]] = []

    def make(
        store: Store,
        pictures: Mapping[str, Any],
        *,
        backbone: str = "vgg16",
        distance: Distance = Distance.COSINE,
        copies: Mapping[str, str] | None = None,
    ) -> str:
        points = [
            ImagePoint(payload=_payload(key, (copies or {}).get(key)), vector=np.asarray(vector, np.float32))
            for key, vector in pictures.items()
        ]
        roots = {point.payload.dataset: str(tmp_path / point.payload.dataset) for point in points}
        manifest = _manifest(backbone, distance, len(points[0].vector), roots)
        store.create(manifest)
        made.append((store, manifest.collection))
        with store.open(manifest.collection) as collection:
            collection.upsert(points)
        return manifest.collection

    yield make
    for store, name in made:
        if not isinstance(store, EmbeddedStore):
            store.delete(name)


def _payload(key: str, content: str | None) -> Payload:
    dataset, _, path = key.rpartition(":")
    head, slash, _ = path.partition("/")
    return Payload(
        dataset=dataset or "data",
        path=path,
        class_name=head if slash else None,
        sha256=(content or key).encode().hex().ljust(64, "0")[:64],
        width=1,
        height=1,
        bytes=1,
        mtime_ns=1,
        ingested_at="2026-01-01T00:00:00+00:00",
    )


def _manifest(
    backbone: str, distance: Distance, dimension: int, datasets: Mapping[str, str]
) -> CollectionManifest:
    """With a name that nothing else has, for a server may be shared."""
    return CollectionManifest(
        identity=ModelIdentity(
            backbone=backbone,
            layer="a-layer",
            pooling=Pooling.AVG,
            preprocessing="none",
            precision="float32",
            weights_fingerprint=secrets.token_hex(32),
            dimension=dimension,
        ),
        distance=distance,
        weights=WeightsSource(kind=WeightsKind.FILE, official=False, path="/weights/own.h5", sha256="0" * 64),
        exporter_version="0.1.0",
        graph_revision=1,
        provider="CPUExecutionProvider",
        created_at="2026-01-01T00:00:00+00:00",
        datasets=datasets,
    )

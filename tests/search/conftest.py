"""Collections made by hand, in both stores: vectors that can be followed with a pencil."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.protocol import Store
from made_collections import STORES, manifest_of, point_of, store_of


@pytest.fixture(params=[STORES[0], pytest.param(STORES[1], marks=pytest.mark.slow)])
def both_stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Each of both, the server for `make check` alone; a real one where `QDRANT_URL` says where it is."""
    with store_of(request.param, tmp_path / "qdrant") as store:
        yield store


@pytest.fixture
def fill(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """`fill(store, {"cat/1.png": vector, ...})` makes a collection and gives its name.

    A key may name its dataset as `other:cat/1.png`; a class is the first folder. Two images are copies
    where `copies` gives them the same text. Datasets lie below `tmp_path`.
    """
    made: list[tuple[Store, str]] = []

    def make(
        store: Store,
        images: Mapping[str, Any],
        *,
        backbone: str = "vgg16",
        distance: Distance = Distance.COSINE,
        copies: Mapping[str, str] | None = None,
    ) -> str:
        points = [_point(key, vector, (copies or {}).get(key)) for key, vector in images.items()]
        roots = {point.payload.dataset: str(tmp_path / point.payload.dataset) for point in points}
        manifest = manifest_of(distance, len(points[0].vector), roots, backbone=backbone, layer="a-layer")
        store.create(manifest)
        made.append((store, manifest.collection))
        with store.open(manifest.collection) as collection:
            collection.upsert(points)
        return manifest.collection

    yield make
    for store, name in made:
        if not isinstance(store, EmbeddedStore):
            store.delete(name)


def _point(key: str, vector: Any, content: str | None) -> ImagePoint:
    dataset, _, path = key.rpartition(":")
    head, slash, _ = path.partition("/")
    return point_of(
        path,
        vector,
        dataset=dataset or "data",
        class_name=head if slash else None,
        sha256=(content or key).encode().hex().ljust(64, "0")[:64],
    )

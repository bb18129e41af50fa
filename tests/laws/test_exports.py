"""A collection that is exported and imported elsewhere is the same collection, in both stores.

A cosine collection has vectors of length 1 already. The embedded engine, as a server, leaves those as they
are; the stand-in normalises them again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lookalike_core.arrays import FloatVector
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import ImagePoint, Payload
from lookalike_core.stores.protocol import Collection, Store
from lookalike_ingest.request import StopRequest
from lookalike_ingest.table_import import import_table
from lookalike_search.analysis.export import check_export, export_collection
from made_collections import STORES, collection_of, store_of

DIMENSION = 3
ULPS = {"embedded": 0, "server": 0, "server-stand-in": 2}
"""Distances of float32 values by which a value may differ after a round trip of a cosine collection."""

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0/"), min_size=1, max_size=8)
PATHS = st.lists(TEXTS.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3).map("/".join)
VALUES = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
IMAGES = st.lists(
    st.tuples(
        st.builds(
            Payload,
            dataset=st.sampled_from(["data", "mehr", "=1"]),
            path=PATHS,
            class_name=st.sampled_from([None, "cat", "Käfer", "a,b\n"]),
            sha256=st.sampled_from(["0" * 64, "f" * 64]),
            width=st.integers(1, 2**31 - 1),
            height=st.integers(1, 2**31 - 1),
            bytes=st.integers(0, 2**62),
            mtime_ns=st.integers(-(2**62), 2**62),
            ingested_at=st.just("2026-01-01T00:00:00+00:00"),
            moved_from=st.sampled_from([None, "old.jpg"]),
            synset=st.sampled_from([None, "n01440764"]),
            ctime_ns=st.none() | st.integers(0, 2**62),
        ),
        st.tuples(VALUES, VALUES, VALUES).filter(lambda vector: max(map(abs, vector)) > 1e-6),
    ),
    max_size=8,
    unique_by=lambda image: (image[0].dataset, image[0].path),
)


@dataclass(frozen=True, kw_only=True)
class Two:
    """Two stores of one kind, and a folder for files."""

    kind: str
    one: Store
    other: Store
    folder: Path


@pytest.fixture(scope="module", params=STORES)
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """Opens both stores; on a real server the exported collection is deleted before its import."""
    folder = tmp_path_factory.mktemp("two")
    with store_of(request.param, folder / "one") as one, store_of(request.param, folder / "other") as other:
        yield Two(kind=request.param, one=one, other=other, folder=folder)


def read(collection: Collection) -> tuple[Any, Mapping[str, Payload], Mapping[str, FloatVector]]:
    """Returns the manifest, and payloads and vectors by id."""
    payloads = {payload.id: payload for payload in collection.scan()}
    return collection.manifest, payloads, collection.vectors(list(payloads))


@example(images=[], distance=Distance.COSINE)
@given(images=IMAGES, distance=st.sampled_from(Distance))
@settings(max_examples=20)
def test_an_export_is_imported_as_the_same_collection(
    two: Two, images: list[tuple[Payload, tuple[float, ...]]], distance: Distance
) -> None:
    """Manifests, ids and payloads are equal; vectors to the byte but for normalising again."""
    points = [
        ImagePoint(payload=payload, vector=np.array(vector, dtype=np.float32)) for payload, vector in images
    ]
    roots = {"data": "/data", "mehr": "/mehr", "=1": "/=1"}
    file = two.folder / "all.parquet"
    with collection_of(two.one, points, distance=distance, dimension=DIMENSION, datasets=roots) as made:
        export_collection(made, check_export(file))
        manifest, payloads, vectors = read(made)
    settings = Settings(home=two.folder / "home", provider="cpu")
    report = import_table(file, store=two.other, settings=settings, stop=StopRequest())
    with two.other.open(report.collection) as collection:
        found = read(collection)
    two.other.delete(report.collection)
    assert found[:2] == (manifest, payloads)
    ulps = ULPS[two.kind] if distance is Distance.COSINE else 0
    for id_, vector in vectors.items():
        assert (np.abs(found[2][id_] - vector) <= ulps * np.spacing(np.abs(vector))).all()

"""Tests that a collection of another embedding space is refused for writing and reading, in both stores.

The server is a real one where `QDRANT_URL` says where it is; elsewhere the client's in-memory mode stands in.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.cli.hint_words import full_message
from lookalike_core.errors import ManifestError
from lookalike_core.models.backbones import Pooling
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.connection import connect
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint, Payload
from lookalike_core.stores.protocol import Store
from lookalike_core.stores.server import ServerStore
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from lookalike_ingest.status import read_statuses
from lookalike_ingest.target import new_manifest
from lookalike_search.asking.answers import QueryOptions
from lookalike_search.asking.query import Searcher
from one_answer import answer_of

QDRANT_URL = os.environ.get("QDRANT_URL")

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]

OTHERS: dict[str, Any] = {
    "backbone": "resnet101v2",
    "layer": "block1_conv2",
    "pooling": Pooling.MAX,
    "preprocessing": "squash-nearest-32+caffe",
    "precision_class": "int8",
    "weights_fingerprint": "0" * 64,
}
"""Changes of one field of the space, with the same dimension."""


@pytest.fixture(params=["embedded", "server" if QDRANT_URL else "server-stand-in"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Opens a store of each kind in turn."""
    one: Store
    if request.param == "embedded":
        one = EmbeddedStore(tmp_path / "qdrant")
    elif QDRANT_URL:
        one = connect(QDRANT_URL, api_key=os.environ.get("QDRANT_API_KEY"))
    else:
        from qdrant_client import QdrantClient

        one = ServerStore(QdrantClient(":memory:"), label="the client's in-memory mode")
    yield one
    one.close()


@pytest.fixture
def model(tiny_spec: ModelSpec, home: Settings) -> ModelFile:
    """Exports the model of this version."""
    return ensure_exported(tiny_spec, settings=home)


@pytest.fixture
def planted(store: Store, model: ModelFile) -> Iterator[Callable[..., CollectionManifest]]:
    """Returns a function that makes a collection with our name, one point and a changed manifest."""
    ours = new_manifest(model, Distance.COSINE, provider="", datasets={"data": "/data"})

    def plant(*, schema: int = 1, **identity: Any) -> CollectionManifest:
        theirs = replace(ours, identity=replace(ours.identity, **identity), schema=schema)
        store.create(theirs, name=ours.collection)
        payload = Payload(
            dataset="data",
            path="a.png",
            class_name=None,
            sha256="0" * 64,
            width=1,
            height=1,
            bytes=1,
            mtime_ns=1,
            ingested_at="2026-01-01T00:00:00+00:00",
        )
        with store.open(ours.collection) as collection:
            vector = np.ones(ours.identity.dimension, dtype=np.float32)
            collection.upsert([ImagePoint(payload=payload, vector=vector)])
        return theirs

    yield plant
    store.delete(ours.collection)


def ingest(folder: Path, spec: ModelSpec, store: Store, home: Settings) -> None:
    """Ingests one image into the collection of our name."""
    request = IngestRequest(
        dataset=Dataset(name="more", root=folder), specs=[spec], distances=[Distance.COSINE]
    )
    run_ingest(request, store=store, settings=home, stop=StopRequest())


@pytest.mark.parametrize("part", [*OTHERS, "schema"])
def test_writing_into_another_space_is_refused(
    store: Store,
    planted: Callable[..., CollectionManifest],
    part: str,
    model: ModelFile,
    tiny_spec: ModelSpec,
    home: Settings,
    tmp_path: Path,
    draw: Callable[..., list[Path]],
) -> None:
    """The message names both spaces and a remedy; no point and no byte of the manifest changes."""
    theirs = planted(schema=0) if part == "schema" else planted(**{part: OTHERS[part]})
    draw(tmp_path / "more", "cat/1.png")
    here = 1 if part == "schema" else getattr(model.manifest.identity, part)
    there = 0 if part == "schema" else OTHERS[part]
    with pytest.raises(
        ManifestError, match=rf"{part} is {re.escape(str(there))} there and {re.escape(str(here))} here"
    ) as refused:
        ingest(tmp_path / "more", tiny_spec, store, home)
    assert "ingest rebuild" in full_message(refused.value)
    name = new_manifest(model, Distance.COSINE, provider="", datasets={}).collection
    (status,) = (found for found in read_statuses(store) if found.name == name)
    assert status.points == 1
    assert status.manifest == theirs
    assert status.datasets == {"data": 1}


@pytest.mark.parametrize("part", ["preprocessing", "precision_class", "weights_fingerprint", "schema"])
def test_reading_an_unsupported_space_is_refused(
    store: Store,
    planted: Callable[..., CollectionManifest],
    part: str,
    model: ModelFile,
    home: Settings,
    tmp_path: Path,
    draw: Callable[..., list[Path]],
) -> None:
    """Layer, pooling and backbone are read from the manifest; other differences are refused."""
    [image] = draw(tmp_path, "query.png")
    theirs = planted(schema=0) if part == "schema" else planted(**{part: OTHERS[part]})
    name = new_manifest(model, Distance.COSINE, provider="", datasets={}).collection
    there = theirs.schema if part == "schema" else getattr(theirs.identity, part)
    with (
        pytest.raises(ManifestError, match=rf"{part} (is|was) {re.escape(str(there))}"),
        Searcher.opened(name, store=store, settings=home) as searcher,
    ):
        answer_of(searcher, str(image), QueryOptions())

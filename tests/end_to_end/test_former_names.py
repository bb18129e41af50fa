"""Tests that collections, models and heads whose manifests have earlier field names are still used."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from lookalike_core.atomic import write_json
from lookalike_core.models.model_manifest import METADATA_KEY, Precision
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance, VectorQuantization
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.protocol import Store
from lookalike_core.stores.server import ServerStore
from lookalike_exporter.export import add_activation_ranges, ensure_exported
from lookalike_exporter.heads.head_file import Head, write_head
from lookalike_exporter.heads.head_graph import get_headed_model
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from lookalike_search.asking.answers import QueryOptions
from lookalike_search.asking.query import Searcher
from one_answer import answer_of

FORMER_NAMES = {
    "graph_precision": "precision",
    "activation_ranges": "quantization",
    "vector_quantization": "quantize",
    "precision_class": "precision",
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]


@pytest.fixture(params=["embedded", "server-stand-in"])
def store(request: pytest.FixtureRequest, home: Settings) -> Iterator[Store]:
    """Opens a store of each kind in turn."""
    one: Store
    if request.param == "embedded":
        one = EmbeddedStore(home.qdrant_dir)
    else:
        from qdrant_client import QdrantClient

        one = ServerStore(QdrantClient(":memory:"), label="the client's in-memory mode")
    yield one
    one.close()


@pytest.fixture
def images(tmp_path: Path, draw: Callable[..., list[Path]]) -> Path:
    """Draws a folder of six images."""
    draw(tmp_path / "pictures", *(f"cat/{name}.png" for name in "abcdef"))
    return tmp_path / "pictures"


def test_former_field_names_open_the_same_collections_models_and_heads(
    store: Store, tiny_spec: ModelSpec, home: Settings, images: Path, said: list[str]
) -> None:
    """An int8 model, a head on it and their collections: nothing is exported, embedded or ingested again."""
    spec = add_activation_ranges(
        replace(tiny_spec, layer="block1_pool", precision=Precision.INT8),
        images,
        settings=home,
    )
    base = ensure_exported(spec, settings=home)
    head = Head(
        name="pets",
        base=base.manifest,
        weight=np.random.default_rng(0).normal(size=(8, base.manifest.identity.dimension)).astype(np.float32),
        bias=np.zeros(8, dtype=np.float32),
        classes=["cat", "dog"],
        trained=frozenset(),
        record={},
    )
    write_head(head, home)
    ingest = Ingest(images, store, home)
    ingest.run(spec)
    ingest.run(head)
    answers = [ingest.query(name) for name in store.names()]

    made = write_former_names(store, home)
    before = {path: path.read_bytes() for path in home.models_dir.glob("*.onnx")}
    assert len(made) == len(before) == 2
    said.clear()
    assert ensure_exported(spec, settings=home) == base
    assert get_headed_model(head, settings=home).manifest.identity == head.identity
    for wanted in (spec, head):
        assert ingest.run(wanted) == {"unchanged": 6}
    assert [ingest.query(name) for name in store.names()] == answers
    assert not [line for line in said if "export" in line or "another" in line]
    assert {path: path.read_bytes() for path in home.models_dir.glob("*.onnx")} == before


def test_a_rewritten_manifest_has_the_current_field_names(
    store: Store, tiny_spec: ModelSpec, home: Settings, images: Path
) -> None:
    """All its other content is kept."""
    Ingest(images, store, home).run(tiny_spec)
    [name] = write_former_names(store, home)
    before = store.manifest(name)
    with store.open(name) as collection:
        collection.record_dataset("more", "/more")
    assert store.manifest(name) == before.with_dataset("more", "/more")
    assert read_manifest(store, name, home).keys() >= {"graph_precision", "vector_quantization"}


class Ingest:
    """Ingests a folder of images into a store, and queries it."""

    def __init__(self, images: Path, store: Store, home: Settings) -> None:
        self.images, self.store, self.home = images, store, home

    def run(self, wanted: ModelSpec | Head) -> dict[str, int]:
        """Ingests the folder; returns how many files had each outcome."""
        request = IngestRequest(
            dataset=Dataset(name="pictures", root=self.images),
            specs=[wanted],
            distances=[Distance.COSINE],
            quantize=VectorQuantization.INT8,
        )
        report = run_ingest(request, store=self.store, settings=self.home, stop=StopRequest())
        return {change: count for change, count in report.collections[0].counts.items() if count}

    def query(self, name: str) -> list[tuple[str, float]]:
        """Returns the hits of the first image: paths and scores."""
        with Searcher.opened(name, store=self.store, settings=self.home) as searcher:
            answer = answer_of(searcher, self.images / "cat" / "a.png", QueryOptions(exact=True))
        return [(hit.payload.path, hit.score) for hit in answer.hits]


def write_former_names(store: Store, home: Settings) -> list[str]:
    """Writes all manifests with earlier field names; returns the names of the collections."""
    for path in home.models_dir.glob("*.onnx"):
        model = onnx.load(path)
        for entry in model.metadata_props:
            if entry.key == METADATA_KEY:
                entry.value = json.dumps(rename_fields(json.loads(entry.value)), sort_keys=True)
        onnx.save_model(model, path)
        card = path.with_suffix(".json")
        written = json.loads(card.read_text(encoding="utf-8"))
        write_json(card, written | {"manifest": rename_fields(written["manifest"])})
    for path in home.heads_dir.glob("*.npz"):
        with np.load(path) as arrays:
            held = dict(arrays)
        said = json.loads(held["said"].tobytes())
        text = json.dumps(said | {"base": rename_fields(said["base"])}, sort_keys=True)
        np.savez(path, **(held | {"said": np.frombuffer(text.encode(), dtype=np.uint8)}))
    names = list(store.names())
    for name in names:
        data = rename_fields(read_manifest(store, name, home))
        if isinstance(store, EmbeddedStore):
            write_json(home.qdrant_dir / name / "manifest.json", data)
        else:
            client_of(store).update_collection(name, metadata={METADATA_KEY: data})
    return names


def rename_fields(data: dict[str, Any]) -> dict[str, Any]:
    """Returns a manifest with the field names of earlier versions."""
    renamed = {FORMER_NAMES.get(name, name): value for name, value in data.items()}
    identity = {FORMER_NAMES.get(name, name): value for name, value in data["identity"].items()}
    return renamed | {"identity": identity}


def read_manifest(store: Store, name: str, home: Settings) -> dict[str, Any]:
    """Returns a collection's manifest as stored."""
    if isinstance(store, EmbeddedStore):
        text = (home.qdrant_dir / name / "manifest.json").read_text(encoding="utf-8")
        return dict(json.loads(text))
    return dict(client_of(store).get_collection(name).config.metadata[METADATA_KEY])


def client_of(store: Store) -> Any:
    """Returns the Qdrant client of a server store."""
    return store._client  # type: ignore[attr-defined]  # noqa: SLF001

"""Ingests with a head that reuse stored vectors of its base network."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.connection import connect
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.heads.head_file import Head
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from PIL import Image
from qdrant_stand_in import running_stand_in


@pytest.fixture
def head(tiny_spec: ModelSpec, home: Settings) -> Head:
    """Returns a head that only normalises vectors."""
    return Head(
        name="pets",
        base=ensure_exported(tiny_spec, settings=home).manifest,
        weight=np.eye(64, dtype=np.float32),
        bias=np.zeros(64, dtype=np.float32),
        classes=["a", "b"],
        trained=frozenset(),
        record={},
    )


@pytest.fixture
def folder(tmp_path: Path, draw: Callable[..., list[Path]]) -> Path:
    """Draws three images, one of them twice."""
    draw(tmp_path / "data", "a/1.png", "a/2.png", "b/3.png")
    (tmp_path / "data" / "b" / "4.png").write_bytes((tmp_path / "data" / "a" / "1.png").read_bytes())
    return tmp_path / "data"


def ingest(folder: Path, home: Settings, spec: ModelSpec | Head, *distances: Distance) -> IngestReport:
    """Brings the collections of a network or a head up to date with a folder."""
    request = IngestRequest(
        dataset=Dataset(name="data", root=folder), specs=[spec], distances=distances or [Distance.COSINE]
    )
    store = EmbeddedStore(home.qdrant_dir)
    return run_ingest(request, store=store, settings=home, stop=StopRequest())


@pytest.mark.parametrize("distances", [[Distance.COSINE], [Distance.EUCLID], [*Distance]])
def test_a_head_is_applied_to_the_stored_vectors_of_its_base(
    folder: Path,
    home: Settings,
    tiny_spec: ModelSpec,
    head: Head,
    distances: list[Distance],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No file is opened, and each vector is the head's output for the base vector, at length 1."""
    ingest(folder, home, tiny_spec, *distances)
    monkeypatch.setattr(
        "lookalike_ingest.reading.read_image", lambda file, *_, **__: pytest.fail(f"{file} was opened")
    )
    report = ingest(folder, home, head)
    assert (report.from_stored, report.embedded, report.skipped) == (3, 0, [])
    assert report.collections[0].counts["added"] == 4
    store = EmbeddedStore(home.qdrant_dir)
    [headed] = [name for name in store.names() if "-pets-" in name]
    for name in set(store.names()) - {headed}:
        with store.open(headed) as one, store.open(name) as other:
            ids = [payload.id for payload in one.scan()]
            for point, vector in other.vectors(ids).items():
                length = np.linalg.norm(vector)
                np.testing.assert_allclose(one.vectors([point])[point], vector / length, atol=1e-6)
            assert {(p.path, p.width, p.height) for p in one.scan()} == {
                (p.path, p.width, p.height) for p in other.scan()
            }


def test_stored_vectors_on_a_server_are_found_without_opening_files(
    folder: Path, home: Settings, tiny_spec: ModelSpec, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points of the base are looked up by path, and their vectors by the bytes that these have."""
    with running_stand_in() as server:
        store = connect(server.url, api_key=None)
        request = IngestRequest(
            dataset=Dataset(name="data", root=folder), specs=[tiny_spec], distances=[Distance.COSINE]
        )
        run_ingest(request, store=store, settings=home, stop=StopRequest())
        for opens in ("lookalike_ingest.reading.read_image", "lookalike_ingest.reading.hash_image"):
            monkeypatch.setattr(opens, lambda file, *_, **__: pytest.fail(f"{file} was opened"))
        report = run_ingest(replace(request, specs=[head]), store=store, settings=home, stop=StopRequest())
        assert (report.from_stored, report.embedded, report.skipped) == (3, 0, [])
        assert report.collections[0].counts["added"] == 4
        store.close()


def test_a_valid_payload_cache_is_read_instead_of_the_store(
    folder: Path, home: Settings, tiny_spec: ModelSpec, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million points of the base then take no memory."""
    ingest(folder, home, tiny_spec)
    monkeypatch.setattr(EmbeddedCollection, "scan", lambda *_: pytest.fail("scanned"))
    assert ingest(folder, home, head).from_stored == 3


def test_without_a_valid_payload_cache_the_store_is_read(
    folder: Path, home: Settings, tiny_spec: ModelSpec, head: Head
) -> None:
    """Another command invalidates it when it writes."""
    ingest(folder, home, tiny_spec)
    [mark] = home.qdrant_dir.glob("*/points.listed")
    mark.unlink()
    (mark.parent / "points.db").unlink()
    assert ingest(folder, home, head).from_stored == 3


def test_stored_vectors_of_another_dataset_are_found_by_sha256(
    folder: Path, home: Settings, tiny_spec: ModelSpec, head: Head
) -> None:
    """Files are hashed, because paths of another dataset name other files; a new image is embedded."""
    ingest(folder, home, tiny_spec)
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    (other / "a" / "2.png").unlink()
    draw_another(other / "a" / "1.png")
    request = IngestRequest(
        dataset=Dataset(name="other", root=other), specs=[head], distances=[Distance.COSINE]
    )
    store = EmbeddedStore(home.qdrant_dir)
    report = run_ingest(request, store=store, settings=home, stop=StopRequest())
    assert (report.from_stored, report.embedded) == (2, 1)


def draw_another(file: Path) -> None:
    """Replaces an image with another one."""
    Image.new("RGB", (40, 30), "teal").save(file)

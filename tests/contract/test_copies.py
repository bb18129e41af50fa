"""The contract of unfinished copies, on both stores: until they are complete, only the copy uses them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.errors import CollectionMissingError, ManifestError
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.protocol import Store
from made_collections import STORES, store_of

NewManifest = Callable[..., CollectionManifest]
NewPoint = Callable[..., ImagePoint]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Yields the store under test."""
    with store_of(request.param, tmp_path / "store") as one:
        yield one


@pytest.fixture
def begun(store: Store, manifest_of: NewManifest) -> Iterator[CollectionManifest]:
    """Yields the manifest that an unfinished copy `NAME` was begun with."""
    manifest = manifest_of()
    store.create_copy(manifest, name=manifest.collection, source="origin in elsewhere")
    yield manifest
    if store.find_copy(manifest.collection) is None and manifest.collection in store:
        store.delete(manifest.collection)


def test_an_unfinished_copy_is_refused_by_all_but_the_copy(store: Store, begun: CollectionManifest) -> None:
    """The error says what it is, so that it is not taken for a finished or a foreign collection."""
    name = begun.collection
    for use in (store.open, store.manifest, store.delete):
        with pytest.raises(ManifestError, match=r"is an unfinished copy of origin in elsewhere"):
            use(name)
    with pytest.raises(ManifestError):
        store.create(begun)
    found = store.find_copy(name)
    assert found is not None
    assert found.source == "origin in elsewhere"
    assert found.manifest == begun


def test_an_unfinished_copy_is_listed_so_that_its_state_is_reported(
    store: Store, begun: CollectionManifest
) -> None:
    """A listing that left it out would look as if nothing had its name."""
    assert begun.collection in store.names()
    assert begun.collection in store


def test_a_completed_copy_is_an_ordinary_collection(
    store: Store, begun: CollectionManifest, point_of: NewPoint, calibration: Calibration
) -> None:
    """It has the revision and the calibration that it was completed with, though points were written."""
    name = begun.collection
    whole = begun.with_calibration(replace(calibration, revision="0123456789abcdef"))
    with store.copying(name), store.open_copy(name) as copy:
        copy.upsert([point_of("a.png", [1, 0, 0, 0])])
        copy.complete_copy(whole)
    assert store.find_copy(name) is None
    with pytest.raises(CollectionMissingError):
        store.open_copy(name)
    with store.open(name) as collection:
        assert collection.count() == 1
        assert collection.manifest == whole
        assert collection.manifest.revision == "0123456789abcdef"
        [hit] = collection.query(np.float32([1, 0, 0, 0]), limit=1)
        assert (hit.payload.path, hit.score) == ("a.png", pytest.approx(1))


def test_a_copy_may_have_another_name(store: Store, manifest_of: NewManifest) -> None:
    """Its manifest has that name, by which it is told from a collection that was renamed by hand."""
    manifest = manifest_of()
    name = f"own-{manifest.collection}"
    store.create_copy(manifest, name=name, source="origin")
    with store.open_copy(name) as copy:
        copy.complete_copy(manifest)
    with store.open(name) as collection:
        assert collection.manifest.name == name
    store.delete(name)


def test_there_is_no_copy_where_there_is_nothing_or_a_collection(
    store: Store, manifest_of: NewManifest
) -> None:
    """Both are told from an unfinished copy."""
    manifest = manifest_of()
    assert store.find_copy(manifest.collection) is None
    store.create(manifest)
    assert store.find_copy(manifest.collection) is None
    with pytest.raises(ManifestError):
        store.create_copy(manifest, name=manifest.collection, source="origin")
    store.delete(manifest.collection)

"""One open collection for all threads: opened once, and refused after closing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.errors import StoreError, StoreLockedError, UsageError
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.collection_names import staged_name
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.shared import SharedStore

NewManifest = Callable[..., CollectionManifest]
NewPoint = Callable[..., ImagePoint]

QUERY = np.array([1, 2, 3, 4], dtype=np.float32)


@pytest.fixture
def shared(tmp_path: Path) -> SharedStore:
    """Yields a shared store on an empty folder, with a lock timeout of zero."""
    return SharedStore(EmbeddedStore(tmp_path / "qdrant", lock_timeout_s=0))


def test_a_shared_collection_is_locked_until_the_store_is_closed(
    shared: SharedStore, manifest_of: NewManifest, tmp_path: Path
) -> None:
    """Leaving a block keeps the lock; `close` releases it."""
    manifest = manifest_of()
    shared.create(manifest)
    with shared.open(manifest.collection) as one, shared.open(manifest.collection) as other:
        assert one.count() == other.count() == 0
    others = EmbeddedStore(tmp_path / "qdrant", lock_timeout_s=0)
    with pytest.raises(StoreLockedError):
        others.open(manifest.collection)
    shared.close()
    with others.open(manifest.collection) as collection:
        assert collection.count() == 0


def test_a_closed_store_refuses_every_use(shared: SharedStore, manifest_of: NewManifest) -> None:
    """This holds for the store and its collections; closing again does nothing."""
    manifest = manifest_of()
    shared.create(manifest)
    collection = shared.open(manifest.collection)
    shared.close()
    shared.close()
    for use in (collection.count, shared.names, lambda: shared.open(manifest.collection)):
        with pytest.raises(UsageError, match="is closed"):
            use()


def test_threads_read_while_one_writes(
    shared: SharedStore, manifest_of: NewManifest, point_of: NewPoint
) -> None:
    """Reads see complete writes only, although the shard is closed and loaded in between."""
    manifest = manifest_of()
    shared.create(manifest)
    rounds, written = 20, 10

    def write() -> None:
        for number in range(rounds):
            with shared.open(manifest.collection) as collection:
                collection.upsert([point_of(f"{number}/{i}.jpg", [1, 2, 3, 4 + i]) for i in range(written)])

    def read() -> list[int]:
        with shared.open(manifest.collection) as collection:
            counts = [collection.count() for _ in range(rounds)]
            assert len(collection.query(QUERY, limit=1000)) <= rounds * written
            assert len(list(collection.scan())) <= rounds * written
        return counts

    with ThreadPoolExecutor(4) as pool:
        writing, readers = pool.submit(write), [pool.submit(read) for _ in range(12)]
        counts = [count for reader in readers for count in reader.result()]
        writing.result()
    assert all(count % written == 0 for count in counts)
    assert shared.open(manifest.collection).count() == rounds * written
    shared.close()


def test_a_scan_of_a_replaced_collection_ends_in_an_error(
    shared: SharedStore, manifest_of: NewManifest, point_of: NewPoint
) -> None:
    """Further points would be of another, or of a closed, collection."""
    manifest = manifest_of()
    name = manifest.collection
    for each in (None, staged_name(name)):
        shared.create(manifest, name=each)
        with shared.open(each or name) as collection:
            collection.upsert([point_of(f"{i}.jpg", [1, 2, 3, 4 + i]) for i in range(3)])
    payloads = shared.open(name).scan()
    next(payloads)
    shared.replace(name)
    with pytest.raises(StoreError, match="was replaced"):
        next(payloads)
    assert shared.open(name).count() == 3
    shared.close()

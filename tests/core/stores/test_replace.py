"""Replacing a collection on a server, by copying, when the copy is interrupted.

Qdrant's client in memory stands in for the server.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from lookalike_core.errors import ManifestError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.collection_names import staged_name
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.server import ServerCollection, ServerStore
from qdrant_client import QdrantClient

pytestmark = pytest.mark.filterwarnings(
    "ignore:Payload indexes have no effect in the local Qdrant:UserWarning"
)


@pytest.fixture
def store() -> Iterator[ServerStore]:
    """Yields a store in memory."""
    one = ServerStore(QdrantClient(":memory:"), label="the client's in-memory mode")
    yield one
    one.close()


@pytest.mark.parametrize("copied", [0, 2])
def test_an_interrupted_copy_is_refused_and_finished_by_the_next_call(
    store: ServerStore,
    manifest_of: Callable[..., CollectionManifest],
    point_of: Callable[..., ImagePoint],
    monkeypatch: pytest.MonkeyPatch,
    copied: int,
) -> None:
    """A partial collection cannot be searched; the staged one stays complete until all is copied."""
    old = manifest_of()
    name, new = old.collection, replace(old, created_at="2027-01-01T00:00:00+00:00")
    store.create(old)
    store.create(new, name=staged_name(name))
    points = [point_of(f"{number}.jpg", [number + 1, 1, 0, 0]) for number in range(5)]
    with store.open(staged_name(name)) as staged:
        staged.upsert(points)

    def cut_off(collection: ServerCollection, source: ServerCollection, _token: str) -> None:
        vectors = source.vectors([point.payload.id for point in points])
        collection.upsert([replace(p, vector=vectors[p.payload.id]) for p in points[:copied]])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ServerCollection, "take_over", cut_off)
        with pytest.raises(KeyboardInterrupt):
            store.replace(name)
    assert name not in store
    assert store.names() == []
    for refused in (store.open, store.manifest, store.delete):
        with pytest.raises(ManifestError, match="is unfinished") as caught:
            refused(name)
        assert caught.value.hint == Hint(Action.CONTINUE_REBUILD_INSTEAD, {Argument.COLLECTION: name})
    store.replace(name)
    assert store.manifest(name) == new
    with store.open(name) as collection:
        assert collection.count() == 5
    assert staged_name(name) not in store

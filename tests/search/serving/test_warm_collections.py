"""Collections stay open while a server runs, and others write to them, replace them or delete them."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from lookalike_core.errors import CollectionMissingError, StoreLockedError
from lookalike_core.settings import Settings
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_search.serving.warm_collections import WarmCollections
from made_collections import point_of

IMAGES = {"cat/1.png": [1.0, 0.0], "cat/2.png": [0.9, 0.1], "dog/1.png": [0.0, 1.0]}


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    """Returns an empty store, whose locks are not waited for."""
    return EmbeddedStore(tmp_path / "qdrant", lock_timeout_s=0)


@pytest.fixture
def warm(store: EmbeddedStore, home: Settings) -> Any:
    """Returns the warm collections of the store, and closes them."""
    one = WarmCollections(store, settings=home)
    yield one
    one.close()


def counts(warm: WarmCollections, names: Sequence[str]) -> list[int]:
    """Returns the numbers of points that queries find."""
    with warm.lease(names) as networks:
        return [network.collection.count() for network in networks]


def test_a_query_keeps_the_snapshot_that_it_began_with(
    store: EmbeddedStore, warm: WarmCollections, fill: Callable[..., str]
) -> None:
    """Later ones have the new one; the old one is closed after its last query."""
    name = fill(store, IMAGES)
    with warm.lease([name]) as [before]:
        with store.open(name) as collection:
            collection.upsert([point_of("new.png", [1.0, 1.0])])
            warm.refresh()
            assert counts(warm, [name]) == [3]
        warm.refresh()
        assert counts(warm, [name]) == [4]
        assert before.collection.count() == 3
        later = warm.take_open([name])
        assert later is not None
        assert later[0].network is not before
        warm.give_back(later)
    warm.refresh()
    assert warm.take_open([name])[0].network is later[0].network  # nothing was written


def test_the_stored_version_follows_writes(
    both_stores: Any, home: Settings, fill: Callable[..., str]
) -> None:
    """In both stores, and not what is only read; a collection that is not there has none."""
    name = fill(both_stores, IMAGES)
    with closing(WarmCollections(both_stores, settings=home)) as warm:
        before = warm.stored_version(name)
        with both_stores.open(name) as collection:
            assert collection.count() == 3
        assert warm.stored_version(name) == before != ""
        with both_stores.open(name) as collection:
            collection.upsert([point_of("new.png", [1.0, 1.0])])
        assert warm.stored_version(name) != before
        assert warm.stored_version("none") == ""


def test_a_search_by_a_command_leaves_a_snapshot_open(album: Any, home: Settings) -> None:
    """The command opens the collection itself, which changes files of it, and writes nothing."""
    store = EmbeddedStore(album.folder / "home" / "qdrant")
    with closing(WarmCollections(store, settings=home)) as warm:
        name = warm.default
        with warm.lease([name]) as [before]:
            done = album("search", "query", "album/cat/0.png", "--collection", name)
            assert done.code == 0, done.err
            warm.refresh()
        with warm.lease([name]) as [after]:
            assert after is before


def test_an_ingest_of_unchanged_files_leaves_a_snapshot_open(album: Any, home: Settings) -> None:
    """It writes the manifest again, with the same content; one with another calibration is another one."""
    store = EmbeddedStore(album.folder / "home" / "qdrant")
    album.ingest(
        "album", "--distance", "cosine", "--distance", "euclid"
    )  # other tests may have touched files
    with closing(WarmCollections(store, settings=home)) as warm:
        name = warm.default
        with warm.lease([name]) as [before]:
            done = album.ingest("album", "--distance", "cosine", "--distance", "euclid")
            assert done.code == 0, done.err
            warm.refresh()
        with warm.lease([name]) as [after]:
            assert after is before


def test_a_look_at_a_collection_keeps_none_open(
    store: EmbeddedStore, warm: WarmCollections, fill: Callable[..., str]
) -> None:
    """It is at the open snapshot, if there is one."""
    name = fill(store, IMAGES)
    with warm.look(name) as collection:
        assert collection.count() == 3
    assert warm.take_open([name]) is None
    with warm.lease([name]) as [network]:
        with warm.look(name) as collection:
            assert collection is network.collection
        assert warm.version(name) != ""
    assert warm.take_open([name])[0].leases == 1


def test_a_deleted_collection_is_missing_and_a_new_one_is_found(
    store: EmbeddedStore, warm: WarmCollections, fill: Callable[..., str]
) -> None:
    """Without a restart."""
    name = fill(store, IMAGES)
    assert counts(warm, [name]) == [3]
    store.delete(name)
    warm.refresh()
    assert warm.take_open([name]) is None
    with pytest.raises(CollectionMissingError):
        warm.choose([name])
    other = fill(store, IMAGES)
    assert warm.choose([other]) == [other]
    assert counts(warm, [other, other]) == [3, 3]


def test_a_collection_that_is_written_to_can_be_asked_for_later(
    store: EmbeddedStore, warm: WarmCollections, fill: Callable[..., str]
) -> None:
    """Until then it is locked; what was leased before the failure is given back."""
    name, other = fill(store, IMAGES), fill(store, IMAGES)
    with store.open(other), pytest.raises(StoreLockedError):
        warm.take([name, other])
    taken = warm.take([name, other])
    assert [each.leases for each in taken] == [1, 1]
    warm.give_back(taken)


def test_only_named_collections_are_served(
    store: EmbeddedStore, home: Settings, fill: Callable[..., str]
) -> None:
    """The first of them is the default; of all of a store, the preferred one."""
    first, second, third = (fill(store, IMAGES) for _ in range(3))
    some = WarmCollections(store, settings=home, names=[second, first])
    assert (some.names(), some.default, some.choose([])) == ([second, first], second, [second])
    assert some.choose([first, second]) == [first, second]
    with pytest.raises(CollectionMissingError, match="not served"):
        some.choose([third])
    with pytest.raises(CollectionMissingError):
        WarmCollections(store, settings=home, names=["vgg16-cosine"]).warm_up()

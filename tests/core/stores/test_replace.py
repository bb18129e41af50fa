"""Replacing a collection on a server: by an alias, killed at any request, and after older versions.

The server is a real one where `QDRANT_URL` says where it is, else a stand-in.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from lookalike_core.errors import CollectionMissingError, ManifestError
from lookalike_core.models.model_manifest import METADATA_KEY
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.collection_names import slots_of, staged_name
from lookalike_core.stores.connection import connect
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.server import ServerStore
from qdrant_client import QdrantClient, models
from qdrant_stand_in import running_stand_in

QDRANT_URL = os.environ.get("QDRANT_URL")
NewManifest = Callable[..., CollectionManifest]
NewPoint = Callable[..., ImagePoint]

WRITES = ("update_collection", "delete_collection", "update_collection_aliases")
"""The requests of the client by which `replace` changes something; there are four in all."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Yields the URL of a server that the tests share."""
    with ExitStack() as stack:
        yield QDRANT_URL or stack.enter_context(running_stand_in()).url


@pytest.fixture
def open_store(url: str) -> Iterator[Callable[[], ServerStore]]:
    """Returns a function that connects anew, as another process would."""
    with ExitStack() as stores:

        def connect_one() -> ServerStore:
            one = connect(url, api_key=os.environ.get("QDRANT_API_KEY") if QDRANT_URL else None)
            stores.callback(one.close)
            return one

        yield connect_one


@pytest.fixture
def name(open_store: Callable[[], ServerStore], manifest_of: NewManifest) -> Iterator[str]:
    """Creates an empty collection; all that is left of it is deleted after the test."""
    store, manifest = open_store(), manifest_of()
    store.create(manifest)
    yield manifest.collection
    for real in real_names(store, manifest.collection):
        client_of(store).delete_collection(real)


def client_of(store: ServerStore) -> QdrantClient:
    """Returns the client, which reaches the data past our checks."""
    return store._client  # noqa: SLF001


def real_names(store: ServerStore, name: str) -> list[str]:
    """Returns what there is of a collection and its rebuilds, by the server's own names."""
    found = client_of(store).get_collections().collections
    return sorted(each.name for each in found if each.name.startswith(name))


def aliases_of(store: ServerStore, real: str) -> list[str]:
    """Returns the aliases of a collection."""
    return sorted(each.alias_name for each in client_of(store).get_collection_aliases(real).aliases)


def give_alias(store: ServerStore, real: str, alias: str) -> None:
    """Gives a collection an alias, as a user does."""
    made = models.CreateAlias(collection_name=real, alias_name=alias)
    client_of(store).update_collection_aliases([models.CreateAliasOperation(create_alias=made)])


def stage(store: ServerStore, name: str, point_of: NewPoint, count: int) -> CollectionManifest:
    """Stages a collection with so many points; returns its manifest."""
    made = replace(store.manifest(name), created_at=f"2027-01-01T00:00:{count:02}+00:00")
    store.create(made, name=staged_name(name))
    with store.open(staged_name(name)) as staged:
        staged.upsert([point_of(f"{number}.jpg", [number + 1, 1, 0, 0]) for number in range(count)])
    return made


def count(store: ServerStore, name: str) -> int:
    """Returns the number of points that a search would be among."""
    with store.open(name) as collection:
        return collection.count()


class KilledError(BaseException):
    """Ends a process between two requests."""


class Killed:
    """A client that is killed before write number `at`, from 0 on; `look` is called before each."""

    def __init__(self, client: QdrantClient, at: int, look: Callable[[], object]) -> None:
        self._client, self._left, self._look = client, at, look

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name not in WRITES:
            return found

        def write(*args: Any, **options: Any) -> Any:
            self._look()
            if not self._left:
                raise KilledError
            self._left -= 1
            return found(*args, **options)

        return write


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("earlier", [0, 1])
def test_a_kill_at_any_request_leaves_the_old_or_the_new_one(
    open_store: Callable[[], ServerStore], name: str, point_of: NewPoint, earlier: int, at: int
) -> None:
    """At no moment there is none, whatever the number of rebuilds; the next call completes the last."""
    store, other = open_store(), open_store()
    give_alias(store, name, f"{name}-holiday")
    for points in range(1, earlier + 1):
        stage(store, name, point_of, points)
        store.replace(name)
    new = stage(store, name, point_of, earlier + 1)
    seen: list[int] = []

    def look() -> None:
        assert name in other
        assert name in other.names()
        assert (other.resolve(name), other.manifest(name).collection) == (name, name)
        seen.append(count(other, name))

    store._names._client = store._client = Killed(client_of(store), at, look)  # type: ignore[assignment] # noqa: SLF001
    if at == 4:
        store.replace(name)
    else:
        with pytest.raises(KilledError):
            store.replace(name)
    look()
    assert set(seen) <= {earlier, earlier + 1}
    after = open_store()
    if staged_name(name) in after:
        after.replace(name)
    assert after.manifest(name) == new
    assert count(after, name) == count(after, f"{name}-holiday") == earlier + 1
    assert staged_name(name) not in after
    stage(after, name, point_of, 7)  # in the other slot, whatever was left there
    after.replace(name)
    assert count(after, name) == 7
    [real] = real_names(after, name)
    assert real in slots_of(name)
    assert aliases_of(after, real) == [name, f"{name}-holiday"]
    assert after.manifest(name).name == name
    after.delete(name)
    assert real_names(after, name) == []
    assert name not in after.names()


def test_a_rebuilt_collection_is_known_by_its_name_alone(
    open_store: Callable[[], ServerStore], name: str, point_of: NewPoint
) -> None:
    """What the server calls it is neither listed nor opened, and its name and its aliases stay taken."""
    store = open_store()
    stage(store, name, point_of, 2)
    store.replace(name)
    [real] = real_names(store, name)
    give_alias(store, real, f"{name}-mine")
    assert [each for each in store.names() if each.startswith(name)] == [name]
    assert (store.resolve(f"{name}-mine"), store.resolve(real)) == (name, name)
    assert real not in store
    with pytest.raises(CollectionMissingError):
        store.open(real)
    for taken in (name, f"{name}-mine"):
        with pytest.raises(ManifestError, match="already"):
            store.create(store.manifest(name), name=taken)
    with pytest.raises(ManifestError, match=f"{name}-mine is an alias of {name}"):
        store.replace(f"{name}-mine")


def test_a_reader_goes_on_and_a_writer_is_told(
    open_store: Callable[[], ServerStore], name: str, point_of: NewPoint
) -> None:
    """An open collection is read through the change; what is written to it would be lost."""
    store, other = open_store(), open_store()
    stage(store, name, point_of, 1)
    store.replace(name)
    reader = other.open(name)
    stage(store, name, point_of, 2)
    store.replace(name)
    assert reader.count() == 2
    with pytest.raises(CollectionMissingError, match="deleted and created again"):
        reader.upsert([point_of("9.jpg", [1, 2, 3, 4])])
    assert count(store, name) == 2


def begin_as_older_versions_did(store: ServerStore, name: str, metadata: Mapping[str, Any]) -> None:
    """Creates what versions before ADR 44 called the staged collection."""
    vectors = client_of(store).get_collection(name).config.params.vectors
    data = store.manifest(name).named(staged_name(name)).to_json()
    client_of(store).create_collection(
        staged_name(name), vectors_config=vectors, metadata={METADATA_KEY: data, **metadata}
    )


def test_a_rebuild_that_an_older_version_began_is_continued(
    open_store: Callable[[], ServerStore], name: str, point_of: NewPoint
) -> None:
    """Its staged collection becomes the one behind the alias, and the next is in a slot."""
    store = open_store()
    begin_as_older_versions_did(store, name, {})
    assert staged_name(name) in store
    with store.open(staged_name(name)) as staged:
        staged.upsert([point_of("1.jpg", [1, 2, 3, 4])])
    store.replace(name)
    assert (real_names(store, name), count(store, name)) == ([staged_name(name)], 1)
    assert staged_name(name) not in store
    stage(store, name, point_of, 3)
    store.replace(name)
    assert (real_names(store, name), count(store, name)) == ([slots_of(name)[0]], 3)


def test_a_copy_that_an_older_version_was_interrupted_in_is_completed(
    open_store: Callable[[], ServerStore], name: str, point_of: NewPoint
) -> None:
    """It had deleted the old collection, and copied some points; the aliases were noted."""
    store = open_store()
    begin_as_older_versions_did(store, name, {})
    with store.open(staged_name(name)) as staged:
        staged.upsert([point_of(f"{number}.jpg", [1, 2, 3, 4]) for number in range(2)])
    marks = {"lookalike-unfinished": "token", "lookalike-aliases": [f"{name}-holiday"]}
    client_of(store).update_collection(name, metadata=marks)
    assert name not in store
    with pytest.raises(ManifestError, match="is unfinished"):
        store.open(name)
    store.replace(name)
    assert count(store, name) == count(store, f"{name}-holiday") == 2

"""One store for all threads of a process: collections stay open between uses, behind one lock.

An embedded collection belongs to one process, and loading it takes time, so a program that calls the library
repeatedly keeps it open. Searches, writes and analyses open it as usual: every `SharedCollection` of a name
uses the same open collection.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar, cast

from lookalike_core.errors import StoreError, UsageError
from lookalike_core.stores.address import ServerConnection
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.collection_names import staged_name
from lookalike_core.stores.local_folder import LocalFolder
from lookalike_core.stores.points import EVERYTHING, Payload, PointFilter
from lookalike_core.stores.protocol import Collection, Store, Upkeep
from lookalike_core.stores.server_cluster import ServerCluster

_Words = ParamSpec("_Words")
_Answer = TypeVar("_Answer")


class _Locking(Protocol):
    """A proxy for an object that one thread at a time may use."""

    def locked(self, *, writes: bool = False) -> AbstractContextManager[Any]:
        """Yields the object, with all other threads locked out."""


def _forward(
    method: Callable[Concatenate[Any, _Words], _Answer], *, writes: bool = False
) -> Callable[Concatenate[Any, _Words], _Answer]:
    """Returns a method of the same name and signature that calls the object's within the lock."""

    @wraps(method)
    def call(self: _Locking, /, *words: _Words.args, **named: _Words.kwargs) -> _Answer:
        with self.locked(writes=writes) as held:
            return cast("_Answer", getattr(held, method.__name__)(*words, **named))

    return call


class SharedStore:
    """A store with its collections kept open until it is closed; implements `Store`.

    Every method may be called from any thread; they run one after the other. Any use after `close` raises
    `UsageError`.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = RLock()
        self._open: dict[str, Collection] = {}
        self._is_closed = False

    @contextmanager
    def locked(self, *, writes: bool = False) -> Iterator[Store]:  # noqa: ARG002 - as of a collection
        """Yields the store, with all other threads locked out for the length of the block.

        Raises:
            UsageError: the store is closed.
        """
        with self._lock:
            self.require_open()
            yield self.store

    @property
    def label(self) -> str:
        """The label of the store."""
        return self.store.label

    @property
    def local(self) -> LocalFolder | None:
        """The folder of the store, which any thread may use."""
        self.require_open()
        return self.store.local

    @property
    def cluster(self) -> ServerCluster | None:
        """The server, which any thread may ask."""
        self.require_open()
        return self.store.cluster

    @property
    def connection(self) -> ServerConnection | None:
        """What another process reaches the server with."""
        self.require_open()
        return self.store.connection

    names = _forward(Store.names)
    __contains__ = _forward(Store.__contains__)
    manifest = _forward(Store.manifest)
    create = _forward(Store.create)
    resolve = _forward(Store.resolve)
    create_copy = _forward(Store.create_copy)
    find_copy = _forward(Store.find_copy)
    open_copy = _forward(Store.open_copy)
    copying = _forward(Store.copying)

    def open(self, name: str) -> "SharedCollection":
        """Returns the collection, opening it unless it is already open."""
        self.held(name)
        return SharedCollection(self, name)

    def held(self, name: str) -> Collection:
        """Returns the one open collection of a name; to be called within `locked`."""
        with self.locked() as store:
            if name not in self._open:
                self._open[name] = store.open(name)
            return self._open[name]

    def delete(self, name: str) -> None:
        """Closes the collection, and deletes it."""
        with self.locked() as store:
            self._release(name)
            store.delete(name)

    def rebuilding(self, name: str) -> AbstractContextManager[None]:
        """Keeps other rebuilds out, but not other threads."""
        return self.store.rebuilding(name)

    def replace(self, name: str) -> None:
        """Closes both collections before one replaces the other; the next use opens them again."""
        with self.locked() as store:
            self._release(name)
            self._release(staged_name(name))
            store.replace(name)

    def _release(self, name: str) -> None:
        if (collection := self._open.pop(name, None)) is not None:
            collection.__exit__(None, None, None)

    def close(self) -> None:
        """Waits for running calls, and releases everything; does nothing if called again."""
        with self._lock:
            if self._is_closed:
                return
            try:
                for name in list(self._open):
                    self._release(name)
            finally:
                self._is_closed = True
                self.store.close()

    def require_open(self) -> None:
        """Refuses any use of a closed store.

        Raises:
            UsageError: the store is closed.
        """
        if self._is_closed:
            raise UsageError(f"the store {self.label} is closed; open it again")


class SharedCollection:
    """A collection of a `SharedStore`; implements `Collection`.

    Leaving its `with` block leaves it open for other uses; writes are then synced to the disk.
    """

    def __init__(self, store: SharedStore, name: str) -> None:
        self._store = store
        self._has_written = False
        self.name = name

    @contextmanager
    def locked(self, *, writes: bool = False) -> Iterator[Collection]:
        """Yields the collection, with all other threads locked out for the length of the block."""
        with self._store.locked():
            self._has_written |= writes
            yield self._store.held(self.name)

    @property
    def manifest(self) -> CollectionManifest:
        """The present manifest."""
        with self.locked() as collection:
            return collection.manifest

    @property
    def upkeep(self) -> Upkeep | None:
        """The collection's upkeep, if it has one, within the lock."""
        with self.locked() as collection:
            return SharedUpkeep(self) if collection.upkeep is not None else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._has_written:
            self._has_written = False
            self.flush()

    def scan(self, where: PointFilter = EVERYTHING) -> Iterator[Payload]:
        """Yields payloads; other threads are locked out while one is fetched, not in between.

        Raises:
            StoreError: the collection was replaced in the meantime.
        """
        return self._fetch(lambda collection: collection.scan(where))

    def scan_points(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yields ids and stored payloads, as `scan` does."""
        return self._fetch(lambda collection: collection.scan_points())

    def scan_ids(
        self, where: PointFilter = EVERYTHING, *, start: str | None = None, stop: str | None = None
    ) -> Iterator[str]:
        """Yields ids, as `scan` does."""
        return self._fetch(lambda collection: collection.scan_ids(where, start=start, stop=stop))

    def _fetch(self, scan: Callable[[Collection], Iterator[_Answer]]) -> Iterator[_Answer]:
        with self.locked() as collection:
            rows = scan(collection)
        while True:
            with self.locked() as now:
                if now is not collection:
                    raise StoreError(f"{self.name} was replaced while it was read; read it again")
                row = next(rows, None)
            if row is None:
                return
            yield row

    flush = _forward(Collection.flush)
    upsert = _forward(Collection.upsert, writes=True)
    note_writes = _forward(Collection.note_writes, writes=True)
    replace_payloads = _forward(Collection.replace_payloads, writes=True)
    delete = _forward(Collection.delete, writes=True)
    complete_indexes = _forward(Collection.complete_indexes, writes=True)
    vectors = _forward(Collection.vectors)
    payloads = _forward(Collection.payloads)
    count = _forward(Collection.count)
    count_without = _forward(Collection.count_without)
    tally = _forward(Collection.tally)
    query = _forward(Collection.query)
    query_many = _forward(Collection.query_many)
    record_dataset = _forward(Collection.record_dataset)
    forget_dataset = _forward(Collection.forget_dataset)
    mark_revision = _forward(Collection.mark_revision)
    record_calibration = _forward(Collection.record_calibration)
    complete_copy = _forward(Collection.complete_copy, writes=True)
    indexed_count = _forward(Collection.indexed_count)
    lacks_index = _forward(Collection.lacks_index)


class SharedUpkeep:
    """The upkeep of a `SharedCollection`; implements `Upkeep`. Other threads wait while an index is built."""

    def __init__(self, collection: SharedCollection) -> None:
        self._collection = collection

    @contextmanager
    def locked(self, *, writes: bool = False) -> Iterator[Upkeep]:
        """Yields the collection's upkeep, with all other threads locked out for the length of the block."""
        with self._collection.locked(writes=writes) as collection:
            yield cast("Upkeep", collection.upkeep)  # the collections of a store have all one, or none

    @property
    def cache_file(self) -> Path:
        """The collection's cache file."""
        with self.locked() as upkeep:
            return upkeep.cache_file

    @property
    def is_cache_valid(self) -> bool:
        """Whether the collection's cache is valid."""
        with self.locked() as upkeep:
            return upkeep.is_cache_valid

    @property
    def points_before(self) -> int | None:
        """The number of points after the collection's last complete ingest."""
        with self.locked() as upkeep:
            return upkeep.points_before

    invalidate_cache = _forward(Upkeep.invalidate_cache)
    validate_cache = _forward(Upkeep.validate_cache)
    find_damaged = _forward(Upkeep.find_damaged)
    needs_index = _forward(Upkeep.needs_index)
    build_index = _forward(Upkeep.build_index)

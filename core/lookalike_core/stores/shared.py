"""One store for all threads of a process: collections stay open between uses, and one lock goes around them.

An embedded collection belongs to one process, and loading it takes time, so a library that is asked again and
again holds it open. What searches, writes and analyses then opens it as it opens any other: the same open
collection is behind every `SharedCollection` of a name.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Self

from lookalike_core.arrays import FloatVector
from lookalike_core.errors import StoreError, UsageError
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import EVERYTHING, ImagePoint, Payload, PointFilter, ScoredId, SearchHit
from lookalike_core.stores.protocol import Collection, Store, staged_name


class SharedStore:
    """A store with its collections held open until it is closed; implements `Store`.

    Every method may be called from any thread; they run one after the other. What is used after `close`
    raises `UsageError`.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = RLock()
        self._open: dict[str, Collection] = {}
        self._is_closed = False

    @property
    def label(self) -> str:
        """As the store's own."""
        return self.store.label

    @property
    def notices(self) -> tuple[str, ...]:
        """As the store's own."""
        return self.store.notices

    @property
    def missing_folder(self) -> Path | None:
        """As the store's own."""
        return self.store.missing_folder

    def names(self) -> list[str]:
        """As the store's own."""
        with self.alone():
            return self.store.names()

    def __contains__(self, name: str) -> bool:
        with self.alone():
            return name in self.store

    def manifest(self, name: str) -> CollectionManifest:
        """As the store's own."""
        with self.alone():
            return self.store.manifest(name)

    def create(self, manifest: CollectionManifest, *, name: str | None = None) -> None:
        """As the store's own."""
        with self.alone():
            self.store.create(manifest, name=name)

    def open(self, name: str) -> "SharedCollection":
        """The collection, which is opened now unless it is already."""
        self.held(name)
        return SharedCollection(self, name)

    def held(self, name: str) -> Collection:
        """The one open collection of a name; to be used within `alone`."""
        with self.alone():
            if name not in self._open:
                self._open[name] = self.store.open(name)
            return self._open[name]

    def delete(self, name: str) -> None:
        """As the store's own; it is closed before."""
        with self.alone():
            self._release(name)
            self.store.delete(name)

    def aliased(self, name: str) -> str | None:
        """As the store's own."""
        with self.alone():
            return self.store.aliased(name)

    def require_writable(self, name: str | None = None) -> None:
        """As the store's own."""
        with self.alone():
            self.store.require_writable(name)

    def ingesting(self) -> AbstractContextManager[None]:
        """As the store's own."""
        return self.store.ingesting()

    def ingest_under_way(self) -> str | None:
        """As the store's own."""
        with self.alone():
            return self.store.ingest_under_way()

    def rebuilding(self, name: str) -> AbstractContextManager[None]:
        """As the store's own."""
        return self.store.rebuilding(name)

    def replace(self, name: str) -> None:
        """As the store's own; both collections are closed before, and opened when they are next used."""
        with self.alone():
            self._release(name)
            self._release(staged_name(name))
            self.store.replace(name)

    def _release(self, name: str) -> None:
        if (collection := self._open.pop(name, None)) is not None:
            collection.__exit__(None, None, None)

    def close(self) -> None:
        """Waits for what goes on, and releases everything; a second time it does nothing."""
        with self._lock:
            if self._is_closed:
                return
            try:
                for name in list(self._open):
                    self._release(name)
            finally:
                self._is_closed = True
                self.store.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps all other threads out for the length of a block.

        Raises:
            UsageError: the store is closed.
        """
        with self._lock:
            self.require_open()
            yield

    def require_open(self) -> None:
        """Refuses to go on with what was closed.

        Raises:
            UsageError: the store is closed.
        """
        if self._is_closed:
            raise UsageError(f"the store {self.label} is closed; open it again")


class SharedCollection:
    """A collection of a `SharedStore`; implements `Collection`.

    Leaving its `with` block leaves it open for others; what was written in it is on the disk then.
    """

    def __init__(self, store: SharedStore, name: str) -> None:
        self._store = store
        self._has_written = False
        self.name = name

    @contextmanager
    def _held(self, *, writes: bool = False) -> Iterator[Collection]:
        with self._store.alone():
            self._has_written |= writes
            yield self._store.held(self.name)

    @property
    def manifest(self) -> CollectionManifest:
        """As of now."""
        with self._held() as collection:
            return collection.manifest

    @property
    def listing(self) -> Path | None:
        """As the collection's own."""
        with self._held() as collection:
            return collection.listing

    @property
    def is_listed(self) -> bool:
        """As the collection's own."""
        with self._held() as collection:
            return collection.is_listed

    def drop_listing(self) -> None:
        """As the collection's own."""
        with self._held() as collection:
            collection.drop_listing()

    def note_listing(self) -> None:
        """As the collection's own."""
        with self._held() as collection:
            collection.note_listing()

    def damaged(self) -> list[str]:
        """As the collection's own."""
        with self._held() as collection:
            return collection.damaged()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._has_written:
            self._has_written = False
            self.flush()

    def flush(self) -> None:
        """As the collection's own."""
        with self._held() as collection:
            collection.flush()

    def upsert(self, points: Sequence[ImagePoint]) -> None:
        """As the collection's own."""
        with self._held(writes=True) as collection:
            collection.upsert(points)

    def replace_payloads(self, payloads: Sequence[Payload], *, same_classes: bool = False) -> None:
        """As the collection's own."""
        with self._held(writes=True) as collection:
            collection.replace_payloads(payloads, same_classes=same_classes)

    def delete(self, ids: Sequence[str]) -> None:
        """As the collection's own."""
        with self._held(writes=True) as collection:
            collection.delete(ids)

    def scan(self, where: PointFilter = EVERYTHING) -> Iterator[Payload]:
        """As the collection's own; others are kept out while a payload is fetched, not in between.

        Raises:
            StoreError: the collection was replaced meanwhile.
        """
        with self._held() as collection:
            payloads = collection.scan(where)
        while True:
            with self._held() as now:
                if now is not collection:
                    raise StoreError(f"{self.name} was replaced while it was read; read it again")
                payload = next(payloads, None)
            if payload is None:
                return
            yield payload

    def vectors(self, ids: Sequence[str]) -> dict[str, FloatVector]:
        """As the collection's own."""
        with self._held() as collection:
            return collection.vectors(ids)

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        """As the collection's own."""
        with self._held() as collection:
            return collection.payloads(ids)

    def count(self, where: PointFilter = EVERYTHING) -> int:
        """As the collection's own."""
        with self._held() as collection:
            return collection.count(where)

    def tally(self, field: str) -> dict[str, int]:
        """As the collection's own."""
        with self._held() as collection:
            return collection.tally(field)

    def query(
        self, vector: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[SearchHit]:
        """As the collection's own."""
        with self._held() as collection:
            return collection.query(vector, limit=limit, where=where, exact=exact)

    def query_many(
        self, vectors: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[list[ScoredId]]:
        """As the collection's own."""
        with self._held() as collection:
            return collection.query_many(vectors, limit=limit, where=where, exact=exact)

    def record_dataset(self, name: str, root: str, rules: FolderRules | None = None) -> None:
        """As the collection's own."""
        with self._held() as collection:
            collection.record_dataset(name, root, rules)

    def forget_dataset(self, name: str) -> None:
        """As the collection's own."""
        with self._held() as collection:
            collection.forget_dataset(name)

    def indexed_count(self) -> int:
        """As the collection's own."""
        with self._held() as collection:
            return collection.indexed_count()

    def record_calibration(self, calibration: Calibration | None) -> None:
        """As the collection's own."""
        with self._held() as collection:
            collection.record_calibration(calibration)

    def needs_index(self) -> bool:
        """As the collection's own."""
        with self._held() as collection:
            return collection.needs_index()

    def build_index(self, on_wait: Callable[[], None]) -> None:
        """As the collection's own; all others wait for it, since the shard belongs to its builder."""
        with self._held() as collection:
            collection.build_index(on_wait)

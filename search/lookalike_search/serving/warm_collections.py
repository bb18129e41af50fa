"""Collections that stay open with their models while a server runs, beside processes that write to them.

An embedded collection is a snapshot, and is opened anew once it was written to and the writer has closed it;
queries that are being answered keep the one that they began with.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock

from lookalike_core.errors import CollectionMissingError, LookalikeError, StoreLockedError
from lookalike_core.logs import get_logger
from lookalike_core.settings import Settings
from lookalike_core.stores.protocol import Collection, Store
from lookalike_core.stores.snapshots import open_snapshot, read_version

from lookalike_search.asking.searched_collection import SearchedCollection
from lookalike_search.collection_choice import CollectionSelector

_logger = get_logger("serving")


@dataclass(slots=True, kw_only=True, eq=False)
class Leased:
    """An open snapshot: `leases` counts the queries, and their work in threads, that use it.

    A retired one is closed after the last.
    """

    network: SearchedCollection
    version: str
    leases: int = 0
    is_retired: bool = False


class WarmCollections:
    """The collections that a server searches: those of `names`, or without names all of the store.

    The first of them, or else the preferred one of the store, is the default. Threads may share it.
    """

    def __init__(self, store: Store, *, settings: Settings, names: Sequence[str] = ()) -> None:
        self.store = store
        self._settings = settings
        self._served = list(dict.fromkeys(names))
        self._default: str | None = None
        self._open: dict[str, Leased] = {}
        self._timeout_s: float | None = None
        self._lock = Lock()
        self._opening = Lock()

    def names(self) -> list[str]:
        """Returns the names of the served collections."""
        return self._served or self.store.names()

    @property
    def default(self) -> str:
        """The collection that is searched where none is named.

        Raises:
            CollectionMissingError: there is none.
        """
        if self._default is None:
            selector = CollectionSelector(names=self._served[:1])
            [self._default] = selector.resolve(self.store, settings=self._settings)
        return self._default

    def version(self, name: str) -> str:
        """Returns the version of a collection: of its open snapshot, else the present one; "" if unknown."""
        warm = self._open.get(name)
        return read_version(self.store, name) if warm is None else warm.version

    def stored_version(self, name: str) -> str:
        """Returns a text that changes when a collection of the store was written to; "" if unknown.

        A server's version does not tell of its points, so that their number is added.
        """
        version = read_version(self.store, name)
        if not version or self.store.local is not None:
            return version
        with suppress(LookalikeError), self.look(name) as collection:
            return f"{version} {collection.count()}"
        return ""

    @contextmanager
    def look(self, name: str) -> Iterator[Collection]:
        """Yields a collection for the length of the block; it is not kept open for that.

        Raises:
            CollectionMissingError, ManifestError, StoreLockedError: it cannot be opened.
        """
        if (leased := self.take_open([name])) is None:
            with open_snapshot(self.store, name, timeout_s=self._timeout_s) as collection:
                yield collection
            return
        try:
            yield leased[0].network.collection
        finally:
            self.give_back(leased)

    def choose(self, names: Sequence[str]) -> list[str]:
        """Returns the collections to search: those that are named, or the default one.

        Raises:
            CollectionMissingError: there is none, or a named one is not served.
        """
        for name in names:
            if name not in self._open and name not in self.names():
                raise CollectionMissingError("there is no such collection, or it is not served")
        return list(names) or [self.default]

    def warm_up(self) -> list[SearchedCollection]:
        """Opens the served collections, or else the default one, and loads their models; returns them.

        A process that writes to one is waited for, as by commands, but not any more later.

        Raises:
            LookalikeError: one cannot be opened, or its model cannot be loaded.
        """
        with self.lease(self._served or [self.default]) as networks:
            for network in networks:
                network.load()
        self._timeout_s = 0
        return networks

    @contextmanager
    def lease(self, names: Sequence[str]) -> Iterator[list[SearchedCollection]]:
        """Yields collections, opened unless they are open; they stay as they are for the length of the block.

        Raises:
            CollectionMissingError, ManifestError, StoreLockedError: one cannot be opened.
        """
        leased = self.take(names)
        try:
            yield [warm.network for warm in leased]
        finally:
            self.give_back(leased)

    def take(self, names: Sequence[str]) -> list[Leased]:
        """Returns leases of collections, to be given back; see `lease`."""
        taken: list[Leased] = []
        try:
            for name in names:
                taken.append(self._take(name))  # noqa: PERF401 - those before a failure are given back
        except BaseException:
            self.give_back(taken)
            raise
        return taken

    def take_open(self, names: Sequence[str]) -> list[Leased] | None:
        """Returns leases as `take` does, if all collections are open; never waits."""
        with self._lock:
            found = [self._open.get(name) for name in names or [self._default or ""]]
            leased = [each for each in found if each is not None]
            if len(leased) < len(found):
                return None
            for each in leased:
                each.leases += 1
            return leased

    def keep(self, leased: Sequence[Leased]) -> None:
        """Takes leases of collections that are leased already, to be given back on their own."""
        with self._lock:
            for warm in leased:
                warm.leases += 1

    def give_back(self, leased: Sequence[Leased]) -> None:
        """Ends leases, and closes snapshots that were replaced in the meantime."""
        with self._lock:
            for warm in leased:
                warm.leases -= 1
            unused = [warm for warm in leased if warm.is_retired and not warm.leases]
        _close(unused)

    def refresh(self) -> None:
        """Opens collections anew that were written to; those that are being written to stay as they are."""
        for name, warm in list(self._open.items()):
            version = read_version(self.store, name)
            is_unknown = not version and self.store.local is None  # its server does not answer now
            if version != warm.version and not is_unknown:
                self._reopen(name, warm)

    def count_points(self) -> dict[str, int]:
        """Returns the number of points of each open collection."""
        with self.lease(list(self._open)) as networks:
            return {network.name: network.collection.count() for network in networks}

    def close(self) -> None:
        """Closes all collections; none may be leased any more."""
        for name in list(self._open):
            self._retire(name)

    def _take(self, name: str) -> Leased:
        with self._opening:  # one thread opens a collection, and the others wait for it
            with self._lock:
                if (warm := self._open.get(name)) is not None:
                    warm.leases += 1
                    return warm
            return self._open_leased(name)

    def _open_leased(self, name: str) -> Leased:
        version = read_version(self.store, name)
        collection = open_snapshot(self.store, name, timeout_s=self._timeout_s)
        warm = Leased(
            network=SearchedCollection(collection, settings=self._settings), version=version, leases=1
        )
        with self._lock:
            self._open[name] = warm
        return warm

    def _reopen(self, name: str, warm: Leased) -> None:
        version = read_version(self.store, name)
        try:
            collection = open_snapshot(self.store, name, timeout_s=0)
        except StoreLockedError:
            return
        except CollectionMissingError:
            _logger.info("collection %s is gone", name)
            self._retire(name)
            return
        except LookalikeError as error:
            _logger.warning(
                "collection %s cannot be opened again, an earlier state is served: %s", name, error
            )
            return
        later = warm.network.with_snapshot(collection)
        if warm.network.provider is not None:
            with suppress(LookalikeError):  # who needs the model is told
                later.load()
        with self._lock:
            self._open[name] = Leased(network=later, version=version)
            warm.is_retired = True
            unused = [] if warm.leases else [warm]
        _close(unused)
        _logger.info("collection %s was written to, and is served as it is now", name)

    def _retire(self, name: str) -> None:
        with self._lock:
            warm = self._open.pop(name)
            warm.is_retired = True
            unused = [] if warm.leases else [warm]
        _close(unused)


def _close(unused: Sequence[Leased]) -> None:
    for warm in unused:
        warm.network.collection.__exit__(None, None, None)

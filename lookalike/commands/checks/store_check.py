"""Checks the store that commands use, and its collections."""

import time
from collections.abc import Iterator

from lookalike_core import locks
from lookalike_core.cli.hint_words import full_message
from lookalike_core.errors import CollectionMissingError, LookalikeError, StoreLockedError
from lookalike_core.settings import Settings
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.open_store import open_store
from lookalike_core.stores.protocol import Store
from lookalike_core.stores.server import ServerStore
from lookalike_core.text import format_count

from lookalike.commands.checks.findings import Finding, ok, problem, warning
from lookalike.commands.versions import installed_version

OPEN_FOR_S = 10.0
"""Seconds after which no further collection is opened."""


def check_store(settings: Settings | None = None, *, open_for_s: float = OPEN_FOR_S) -> Iterator[Finding]:
    """Yields which store is used and its version, and for each collection whether it opens."""
    settings = settings or Settings.from_environment()
    store = open_store(None, settings)
    try:
        names = store.names()
        yield ok(f"{_describe(store)}: {format_count(len(names), 'collection')}")
        until = time.monotonic() + open_for_s
        for number, name in enumerate(names):
            if time.monotonic() >= until:
                yield ok(f"{len(names) - number} more collections were not opened, to save time")
                return
            yield from _check_collection(_without_wait(store), name)
    finally:
        store.close()


def _describe(store: Store) -> str:
    if isinstance(store, ServerStore):
        return f"the Qdrant server {store.version()} at {store.label}"
    if isinstance(store, EmbeddedStore):
        return f"the embedded store in {store.directory}, Qdrant Edge {installed_version('qdrant-edge-py')}"
    return store.label


def _without_wait(store: Store) -> Store:
    """Returns a store that does not wait for locks."""
    if isinstance(store, EmbeddedStore):
        return EmbeddedStore(store.directory, label=store.label, lock_timeout_s=0)
    return store


def _check_collection(store: Store, name: str) -> Iterator[Finding]:
    if store.local is not None and (holder := locks.find_holder(store.local.path, name)) is not None:
        yield _locked(name, holder)
        return
    try:
        with store.open(name) as collection:
            yield ok(f"{name} opens: {format_count(collection.count(), 'point')}")
    except CollectionMissingError:
        return  # deleted in the meantime
    except StoreLockedError as error:
        yield _locked(name, error.holder or "another process")
    except LookalikeError as error:
        yield problem(f"{name} does not open: {full_message(error)}", f"ingest verify {name}")
    except OSError as error:  # a damaged disk, or files of another user
        yield problem(f"{name} does not open: {error}", f"ingest verify {name}")


def _locked(name: str, holder: str) -> Finding:
    return warning(f"{name} was not opened: it is in use by {holder}", "wait for that process to end")

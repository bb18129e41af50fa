"""Collections that a long-lived process only reads, without keeping other processes from writing to them.

An embedded collection is opened by a private view, which costs a copy and shows the collection as it was
then. A server's collection is always current.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from lookalike_core.errors import LookalikeError
from lookalike_core.stores.cache_mark import fingerprint
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.local_folder import LOG, MANIFEST, SEGMENTS, SHARD
from lookalike_core.stores.protocol import Collection, Store


def open_snapshot(store: Store, name: str, *, timeout_s: float | None = None) -> Collection:
    """Opens a collection for reading; other processes may write to it from then on.

    `timeout_s` is how long a process that writes to an embedded collection is waited for.

    Raises:
        CollectionMissingError, ManifestError: as `Store.open`.
        StoreLockedError: another process is writing to it (embedded).
    """
    if isinstance(store, EmbeddedStore):
        return store.open_view(name, timeout_s=timeout_s)
    return store.open(name)


def read_version(store: Store, name: str) -> str:
    """Returns a text that changes when a snapshot of the collection would be another one; "" if unknown.

    An embedded collection's changes with every write, and with no read; a server's with the manifest alone,
    since searches see its points as they are.
    """
    if isinstance(store, EmbeddedStore):
        folder = store.local.folder_of(name)
        return _version_of(folder) if folder is not None else ""
    with suppress(LookalikeError):
        return repr(store.manifest(name))
    return ""


def _version_of(folder: Path) -> str:
    """Returns the version of an embedded collection by its manifest, its log and its segments.

    The engine logs every write, and an index that is built is a new segment. It touches, replaces and removes
    files inside segments to load a shard, even if that is only searched. A manifest that is written again
    with the same content, as by an ingest of unchanged files, is no other one.
    """
    try:
        manifest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    except OSError:
        return ""
    log = fingerprint([folder / SHARD / LOG])
    written = f"{manifest} {log}" if log else ""
    segments = sorted(segment.name for segment in (folder / SHARD / SEGMENTS).glob("*"))
    return " ".join([written, *segments]) if written else ""

"""Backups of a server's collections: snapshots that it makes and takes, downloaded and uploaded.

Qdrant makes a snapshot of what one node has of a collection, whatever becomes of the collection meanwhile:
what is in it is looked at before and after.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Protocol

from lookalike_core.errors import ManifestError, StoreError
from lookalike_core.hints import Action, Hint
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.protocol import Collection
from lookalike_core.stores.retries import Requests
from lookalike_core.stores.server_cluster import ServerCluster
from lookalike_core.stores.server_http import ServerHttp
from lookalike_core.stores.snapshot_transfer import OnBytes, SnapshotTransfer
from lookalike_core.text import format_count

_TRIES = 3
"""How many snapshots are made of a collection that changes meanwhile."""


class _Collections(Protocol):
    """What is asked of a `ServerStore`."""

    label: str
    cluster: ServerCluster

    def open(self, name: str) -> Collection:
        """Opens a collection."""
        ...

    def real_name(self, name: str) -> str:
        """Returns what the server calls a collection."""
        ...

    def require_new(self, name: str) -> None:
        """Refuses a name that a collection has already."""
        ...

    def discard(self, name: str) -> None:
        """Deletes what the server has under a name, if it can."""
        ...


class ServerSnapshots:
    """The snapshots of a server's collections. What they take on the server is removed again."""

    def __init__(self, collections: _Collections, requests: Requests, http: ServerHttp | None) -> None:
        self._collections, self._requests = collections, requests
        self._http_transfer = None if http is None else SnapshotTransfer(http)

    @contextmanager
    def download(
        self, name: str, target: Path, *, on_size: OnBytes, on_bytes: OnBytes
    ) -> Iterator[tuple[CollectionManifest, int]]:
        """Downloads a new snapshot of a collection to `target`; the server's own is removed after the block.

        Yields the manifest in it, and the number of its points. `on_size` is told its bytes before the
        download. Another one is made if the collection changes meanwhile, a few times.

        Raises:
            StoreError: other nodes of the server's cluster hold parts of the collection, or other processes
                keep writing to it.
        """
        real = self._collections.real_name(name)
        self._require_held(real, name)
        ask = partial(self._requests.make, collection=name)
        for _ in range(_TRIES):
            before = self._look_into(name)
            made = ask(partial(self._transfer.make, real), f"making a snapshot of {name}")
            try:
                if self._look_into(name) != before:
                    continue
                on_size(made.bytes)
                download = partial(self._transfer.download, real, made, target, on_bytes)
                ask(download, f"downloading the snapshot of {name}")
                yield before
            finally:
                with suppress(Exception):  # it takes room there, and is of no further use
                    self._transfer.remove(real, made.name)
            return
        raise StoreError(
            f"other processes keep writing to {name} on {self._collections.label}, and a snapshot would have "
            "a part of it; wait until they end",
            store=self._collections.label,
            hint=Hint(Action.REPEAT),
        )

    def restore(
        self,
        manifest: CollectionManifest,
        content: IO[bytes],
        *,
        name: str,
        sha256: str,
        points: int,
        on_bytes: OnBytes,
    ) -> None:
        """Makes a collection of an uploaded snapshot, which is removed again unless it is the right one.

        It may have more points and other datasets than listed: earlier versions made backups while other
        processes wrote to the collection.

        Raises:
            ManifestError: something has its name already, or the snapshot is of another collection.
            StoreError: the server is one node of several, or did not make all `points`.
        """
        self._collections.require_new(name)
        nodes, label = self._collections.cluster.count_peers(), self._collections.label
        if nodes > 1:
            raise StoreError(
                f"{label} is a cluster of {nodes} nodes, and a snapshot is restored to one; restore it to a "
                "server of one node, and copy the collection from there",
                store=label,
            )
        try:
            self._upload(content, name, sha256, on_bytes)
            self._require_restored(name, manifest, points)
        except BaseException:
            self._collections.discard(name)
            raise

    def _upload(self, content: IO[bytes], name: str, sha256: str, on_bytes: OnBytes) -> None:
        upload = partial(self._transfer.upload, name, content, sha256=sha256, on_bytes=on_bytes)
        try:
            self._requests.make(upload, f"uploading the snapshot of {name}", collection=name)
        finally:
            with suppress(Exception):  # it takes as much room there as the collection
                self._transfer.remove_uploaded(name)

    def _require_restored(self, name: str, manifest: CollectionManifest, points: int) -> None:
        found, count = self._look_into(name)
        listed = (manifest.identity, manifest.distance, manifest.created_at)
        if (found.identity, found.distance, found.created_at) != listed:
            raise ManifestError(
                f"the snapshot is not of the collection that its backup says; {name} was removed again",
                collection=name,
            )
        if count < points:
            raise StoreError(
                f"the server made {count} of {points} points of {name}, which was removed again",
                store=self._collections.label,
            )

    def _look_into(self, name: str) -> tuple[CollectionManifest, int]:
        """Returns the manifest and the number of points that a collection has now."""
        with self._collections.open(name) as collection:
            return collection.manifest, collection.count()

    def _require_held(self, real: str, name: str) -> None:
        """Refuses a collection of which the node that answers has not all shards as they are."""
        label = self._collections.label
        unheld = self._collections.cluster.find_unheld_shards(real)
        elsewhere = sum(state is None for state in unheld.values())
        if elsewhere:
            raise StoreError(
                f"other nodes of {label} hold {format_count(elsewhere, 'shard')} of {name}, and a snapshot "
                "has those of one node; copy the collection to another store",
                store=label,
            )
        for shard, state in unheld.items():
            raise StoreError(
                f"shard {shard} of {name} is {state} on the node that answers at {label}, and a snapshot "
                "would have former points; wait until it is Active, or name another node",
                store=label,
                hint=Hint(Action.REPEAT),
            )

    @property
    def _transfer(self) -> SnapshotTransfer:
        if self._http_transfer is None:
            label = self._collections.label
            raise StoreError(f"snapshots of {label} cannot be reached", store=label)
        return self._http_transfer

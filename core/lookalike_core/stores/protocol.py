"""The interface of stores, which `embedded` and `server` implement; one contract suite runs on both."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from lookalike_core.arrays import FloatVector
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.stores.address import ServerConnection
from lookalike_core.stores.cluster_layout import ClusterLayout
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.local_folder import LocalFolder
from lookalike_core.stores.points import EVERYTHING, ImagePoint, Payload, PointFilter, ScoredId, SearchHit
from lookalike_core.stores.unfinished_copy import UnfinishedCopy

if TYPE_CHECKING:  # it imports what speaks HTTP, which only servers need
    from lookalike_core.stores.server_cluster import ServerCluster

_Opened = TypeVar("_Opened")


def open_together(names: Sequence[str], open_one: Callable[[str], _Opened]) -> list[_Opened]:
    """Returns the result of `open_one` for each name, in the order given; a repeated name is opened once.

    They are opened in alphabetical order, to prevent a deadlock of processes that open the same collections.
    """
    opened = {name: open_one(name) for name in sorted(set(names))}
    return [opened[name] for name in names]


class Upkeep(Protocol):
    """The upkeep that only an embedded collection needs: a payload cache, a check for damage, an index."""

    @property
    def cache_file(self) -> Path:
        """The path for a cache of the payloads of all points."""

    @property
    def is_cache_valid(self) -> bool:
        """Whether the cache is valid: `validate_cache` was called, and nothing was written since.

        Nor have names, sizes and times of files changed since, as by loss, damage or a restored backup.
        """

    @property
    def points_before(self) -> int | None:
        """The number of points after the last complete ingest; None if points were written since."""

    def invalidate_cache(self) -> None:
        """Marks the cache as invalid; every write does so first."""

    def validate_cache(self) -> None:
        """Marks the cache as valid, after both it and the points were synced to the disk."""

    def find_damaged(self) -> list[str]:
        """Returns the ids of points that have lost their vector or payload.

        Points are checked only if the files changed outside a write. A damaged point must be deleted before
        it is written again, or it may stay damaged.
        """

    def needs_index(self) -> bool:
        """Returns whether `build_index` has anything to do."""

    def build_index(self, on_wait: Callable[[], None]) -> None:
        """Builds the search index, calling `on_wait` a few times a second.

        If interrupted, the collection stays searchable, and the next call finishes the index.
        """


class Collection(Protocol):
    """An open collection: its points, and searches in them. Leaving its `with` block releases it.

    Writes survive the death of this process once the call returns, and a power cut once the block is left
    (embedded); a server has them on its disk when the call returns.

    Before a write that may change neighbours or classes, the points lose their revision, and the manifest its
    calibration.
    """

    @property
    def name(self) -> str:
        """The collection's name."""

    @property
    def manifest(self) -> CollectionManifest:
        """The collection's manifest, as last read or written."""

    @property
    def upkeep(self) -> Upkeep | None:
        """The upkeep that an ingest has to do; None on a server, which does its own."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def flush(self) -> None:
        """Completes writes as leaving the `with` block does; the collection stays open.

        They are then synced to the disk (embedded), or known to be in the collection that was opened
        (server).
        """

    def upsert(self, points: Sequence[ImagePoint]) -> None:
        """Writes points; those with the same id are replaced.

        Raises:
            LookalikeError: a vector is zero, not finite, or of the wrong length; nothing is written then.
        """

    def note_writes(self) -> None:
        """Notes that other processes write points on behalf of this one, which `flush` then completes."""

    def replace_payloads(self, payloads: Sequence[Payload], *, same_classes: bool = False) -> None:
        """Replaces points' payloads and keeps their vectors; points that do not exist are ignored.

        With `same_classes`, which says that no class changes, the revision stays.
        """

    def delete(self, ids: Sequence[str]) -> None:
        """Deletes points; ids that do not exist are ignored."""

    def complete_indexes(self) -> None:
        """Creates the indexes of payload fields that a collection of an older version lacks."""

    def scan(self, where: PointFilter = EVERYTHING) -> Iterator[Payload]:
        """Yields every matching payload, in any order."""

    def scan_points(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yields id and stored payload of every point, in any order; unlike `scan` it checks neither."""

    def scan_ids(
        self, where: PointFilter = EVERYTHING, *, start: str | None = None, stop: str | None = None
    ) -> Iterator[str]:
        """Yields the ids of matching points in ascending order: from `start` on, and up to before `stop`.

        Both are UUIDs, of which there need be no point. No payload is read.
        """

    def vectors(self, ids: Sequence[str]) -> dict[str, FloatVector]:
        """Returns the stored vectors, float32 `[D]`, of those ids that exist."""

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        """Returns the payloads, by id, of those ids that exist."""

    def count(self, where: PointFilter = EVERYTHING) -> int:
        """Returns how many points match, exactly."""

    def count_without(self, field: str, where: PointFilter = EVERYTHING) -> int:
        """Returns how many matching points have no value of a payload field, exactly."""

    def tally(self, field: str) -> dict[str, int]:
        """Returns the exact number of points for each value of a keyword field.

        `""` counts those without one, except for folders, of which a point has several.
        """

    def query(
        self, vector: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[SearchHit]:
        """Returns the nearest points, best first; `exact` means by brute force.

        Raises:
            LookalikeError: the vector is zero, not finite, or of the wrong length.
        """

    def query_many(
        self, vectors: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[list[ScoredId]]:
        """Returns the results of `query` for each row of float32 `[B, D]`, as ids; faster than single calls.

        Raises:
            LookalikeError: the vectors have the wrong length, or one is zero or not finite.
        """

    def record_dataset(self, name: str, root: str, rules: FolderRules | None = None) -> None:
        """Writes a dataset's root and rules to the manifest; durable when it returns.

        Without `rules`, it keeps the ones that it has.
        """

    def forget_dataset(self, name: str) -> None:
        """Removes a dataset from the manifest, after its points were deleted; durable when it returns."""

    def mark_revision(self) -> str:
        """Returns the revision of the points, which stays until a vector or a class changes.

        Sets one if needed. Results learned from points that are read afterwards belong to this revision.
        Durable when it returns.
        """

    def record_calibration(self, calibration: Calibration) -> None:
        """Writes a calibration to the manifest; durable when it returns.

        Raises:
            LookalikeError: the points have another revision than it was learned from.
        """

    def complete_copy(self, manifest: CollectionManifest) -> None:
        """Ends a copy: the collection gets this manifest, with its revision and calibration, and is whole.

        Durable when it returns; after an interruption the collection is whole, or unfinished as before.
        """

    def indexed_count(self) -> int:
        """Returns how many vectors the search index covers; 0 means that every search is exact."""

    def lacks_index(self) -> bool:
        """Returns whether vectors are still to be indexed: by the server itself, or by the next ingest."""


class Store(Protocol):
    """A set of collections in one place."""

    @property
    def label(self) -> str:
        """The store's name in messages; has no credentials."""

    @property
    def local(self) -> LocalFolder | None:
        """The folder that contains the collections; None for a server."""

    @property
    def cluster(self) -> "ServerCluster | None":
        """The server, as one peer of a cluster or alone; None for an embedded store."""

    @property
    def connection(self) -> ServerConnection | None:
        """What other processes reach the server with; None for an embedded store, which has one process."""

    def names(self) -> list[str]:
        """Returns the sorted names of Lookalike's collections, without those that are being rebuilt.

        Unfinished copies are included, so that opening them reports them.
        """

    def __contains__(self, name: str) -> bool:
        """Returns whether one of Lookalike's collections has this name."""

    def manifest(self, name: str) -> CollectionManifest:
        """Returns a collection's manifest without opening the collection.

        Raises:
            CollectionMissingError: it does not exist.
            ManifestError: it is not Lookalike's.
        """

    def create(
        self, manifest: CollectionManifest, *, name: str | None = None, layout: ClusterLayout | None = None
    ) -> None:
        """Creates the collection that the manifest describes, atomically; `name` overrides the default name.

        Without a `layout` the server's own settings apply.

        Raises:
            ManifestError: something has its name already, which is not changed.
            UsageError: a collection of this store cannot have the `layout`.
        """

    def open(self, name: str) -> Collection:
        """Opens a collection for reading and writing, or for reading only if it is read-only (embedded).

        Raises:
            CollectionMissingError: it does not exist.
            ManifestError: it is not Lookalike's.
            StoreLockedError: another process has it open (embedded).
        """

    def create_copy(
        self, manifest: CollectionManifest, *, name: str, source: str, layout: ClusterLayout | None = None
    ) -> None:
        """Creates a collection as an unfinished copy of `source`, a text for messages.

        Only `open_copy` opens it until `Collection.complete_copy` was called; for all other methods it is
        not a collection of ours, and the error says that it is unfinished.

        Raises:
            ManifestError: something has its name already, which is not changed.
            UsageError: a collection of this store cannot have the `layout`.
        """

    def find_copy(self, name: str) -> UnfinishedCopy | None:
        """Returns whose unfinished copy a collection is; None if it is none."""

    def open_copy(self, name: str) -> Collection:
        """Opens an unfinished copy.

        Raises:
            CollectionMissingError: there is none of this name.
            StoreLockedError: another process copies to it (embedded).
        """

    def copying(self, name: str) -> AbstractContextManager[None]:
        """Keeps other copies to an unfinished copy out for the length of a block, where `open_copy` does not.

        Raises:
            StoreLockedError: another process copies to it (server).
        """

    def delete(self, name: str) -> None:
        """Deletes one of Lookalike's collections.

        Raises:
            CollectionMissingError: it does not exist.
            ManifestError: it is not Lookalike's.
            StoreLockedError: another process has it open (embedded).
        """

    def resolve(self, name: str) -> str:
        """Returns the name of the collection behind an alias; `name` itself if it is no alias."""

    def rebuilding(self, name: str) -> AbstractContextManager[None]:
        """Keeps other rebuilds of a collection out for the length of a block.

        Raises:
            StoreLockedError: another process rebuilds it.
        """

    def replace(self, name: str) -> None:
        """Replaces the collection `name` by the one staged for it; `name` need not exist.

        If interrupted, `name` is the old or the new collection.

        Raises:
            CollectionMissingError: no collection is staged for it.
            ManifestError: `name` is not Lookalike's.
            StoreLockedError: another process has one of them open (embedded).
        """

    def close(self) -> None:
        """Releases connections."""


def require_writable(store: Store, name: str | None = None) -> None:
    """Refuses a local store, or its collection of this name, that is read-only; a server refuses the write.

    Raises:
        StoreError: the folder is read-only.
    """
    if store.local is not None:
        store.local.require_writable(name)


def find_ingest_under_way(store: Store) -> str | None:
    """Returns which process ingests into a store; None if none does, or the store is on a server."""
    return None if store.local is None else store.local.ingest_under_way()

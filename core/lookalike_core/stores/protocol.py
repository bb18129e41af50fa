"""What a store does. `embedded` and `server` both do it; one contract suite runs on both."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from lookalike_core.arrays import FloatVector
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.local_folder import LocalFolder
from lookalike_core.stores.points import EVERYTHING, ImagePoint, Payload, PointFilter, ScoredId, SearchHit

_Opened = TypeVar("_Opened")


def open_together(names: Sequence[str], open_one: Callable[[str], _Opened]) -> list[_Opened]:
    """Returns what `open_one` gives for each name, in the order given; a repeated name is opened once.

    They are opened in the order of their names, so that no two processes wait for each other, each with a
    collection that the other one needs.
    """
    opened = {name: open_one(name) for name in sorted(set(names))}
    return [opened[name] for name in names]


class Upkeep(Protocol):
    """What only an embedded collection needs: a cache of its payloads, a look for damage, a search index."""

    @property
    def cache_file(self) -> Path:
        """Where a cache of the payloads of all points may be put."""

    @property
    def is_cache_valid(self) -> bool:
        """Whether the cache is true of the points: `validate_cache` was called, and nothing written since.

        Nor were files lost, damaged or restored from a backup since, as far as names, sizes and times tell.
        """

    def invalidate_cache(self) -> None:
        """Marks the cache as out of date; every write does so first."""

    def validate_cache(self) -> None:
        """Marks the cache as true of the points, once both are on the disk."""

    def find_damaged(self) -> list[str]:
        """Returns the ids of points that have lost their vector or payload.

        Points are looked at only where the files changed outside a write. Delete a damaged point before it is
        written anew, or it may stay as it is.
        """

    def needs_index(self) -> bool:
        """Returns whether `build_index` has anything to do."""

    def build_index(self, on_wait: Callable[[], None]) -> None:
        """Builds the search index, calling `on_wait` a few times a second meanwhile.

        Interrupted, it leaves a searchable collection that the next call finishes.
        """


class Collection(Protocol):
    """An open collection: its points, and searches in them. Leaving its `with` block releases it.

    What is written outlives this process when the call returns, and a power cut when the block is left
    (embedded); a server has it on its own disk when the call returns.

    Before anything is written that may change neighbours or classes, the points lose their revision, and the
    manifest its calibration.
    """

    @property
    def name(self) -> str:
        """The collection's name."""

    @property
    def manifest(self) -> CollectionManifest:
        """The collection's manifest, as last read or written."""

    @property
    def upkeep(self) -> Upkeep | None:
        """What an ingest has to look after itself; None on a server, which does so."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def flush(self) -> None:
        """Finishes what was written as leaving the `with` block does; the collection stays open.

        It is on the disk then (embedded), or known to have gone to the collection that was opened (server).
        """

    def upsert(self, points: Sequence[ImagePoint]) -> None:
        """Writes points; those with the same id are replaced.

        Raises:
            LookalikeError: a vector is zero, not finite, or of the wrong length; nothing is written then.
        """

    def replace_payloads(self, payloads: Sequence[Payload], *, same_classes: bool = False) -> None:
        """Gives points a new payload and leaves their vectors alone; points not there are ignored.

        Where they have the `same_classes` as before, the revision stays.
        """

    def delete(self, ids: Sequence[str]) -> None:
        """Removes points; ids that are not there are ignored."""

    def scan(self, where: PointFilter = EVERYTHING) -> Iterator[Payload]:
        """Yields every matching payload, in no order."""

    def vectors(self, ids: Sequence[str]) -> dict[str, FloatVector]:
        """Returns the stored vectors, float32 `[D]`, of those ids that are there."""

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        """Returns the payloads, by id, of those ids that are there."""

    def count(self, where: PointFilter = EVERYTHING) -> int:
        """Returns how many points match, exactly."""

    def tally(self, field: str) -> dict[str, int]:
        """Returns how many points have each value of a keyword field, exactly; without a value is `""`."""

    def query(
        self, vector: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[SearchHit]:
        """Returns the nearest points, best first; `exact` compares with every one of them.

        Raises:
            LookalikeError: the vector is zero, not finite, or of the wrong length.
        """

    def query_many(
        self, vectors: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[list[ScoredId]]:
        """Returns what `query` finds for each row of float32 `[B, D]`, by id alone; faster than one by one.

        Raises:
            LookalikeError: the vectors have the wrong length, or one is zero or not finite.
        """

    def record_dataset(self, name: str, root: str, rules: FolderRules | None = None) -> None:
        """Writes a dataset's root and rules into the manifest; durable when it returns.

        Without `rules` those that it has stay.
        """

    def forget_dataset(self, name: str) -> None:
        """Takes a dataset out of the manifest; its points are removed before. Durable when it returns."""

    def mark_revision(self) -> str:
        """Returns the revision of the points, which they keep until a vector or a class of them changes.

        What is learned from points that are read afterwards is of this revision. Durable when it returns.
        """

    def record_calibration(self, calibration: Calibration) -> None:
        """Puts a calibration into the manifest; durable when it returns.

        Raises:
            LookalikeError: the points do not have the revision any more that it was learned from.
        """

    def indexed_count(self) -> int:
        """Returns how many vectors the search index covers; 0 without one, when every search is exact."""


class Store(Protocol):
    """A place that holds collections."""

    @property
    def label(self) -> str:
        """How the store is shown to people; holds no credentials."""

    @property
    def local(self) -> LocalFolder | None:
        """The folder that the collections lie in; None for a server."""

    def names(self) -> list[str]:
        """Returns the collections here that are ours, sorted, without those that are being rebuilt."""

    def __contains__(self, name: str) -> bool:
        """Returns whether a collection of ours has this name."""

    def manifest(self, name: str) -> CollectionManifest:
        """Returns a collection's manifest without opening the collection.

        Raises:
            CollectionMissingError: it is not there.
            ManifestError: it is there and not ours.
        """

    def create(self, manifest: CollectionManifest, *, name: str | None = None) -> None:
        """Makes the collection that the manifest describes, whole or not at all; `name` overrides its own.

        Raises:
            ManifestError: something has its name already, ours or not; it is left as it is.
        """

    def open(self, name: str) -> Collection:
        """Opens a collection for reading and writing; for reading alone, where no more is allowed (embedded).

        Raises:
            CollectionMissingError: it is not there.
            ManifestError: it is there and not ours.
            StoreLockedError: another process holds it (embedded).
        """

    def delete(self, name: str) -> None:
        """Removes a collection of ours with all that is in it.

        Raises:
            CollectionMissingError: it is not there.
            ManifestError: it is there and not ours.
            StoreLockedError: another process holds it (embedded).
        """

    def resolve(self, name: str) -> str:
        """Returns the name of the collection behind an alias; `name` itself where it is no alias."""

    def rebuilding(self, name: str) -> AbstractContextManager[None]:
        """Keeps other rebuilds of a collection out for the length of a block.

        Raises:
            StoreLockedError: another process rebuilds it.
        """

    def replace(self, name: str) -> None:
        """Puts the collection staged for `name` in its place; `name` need not be there.

        Cut off in between, it is there as it was or as it will be, or it is refused as unfinished until
        this is called again.

        Raises:
            CollectionMissingError: nothing is staged for it.
            ManifestError: `name` is there and not ours.
            StoreLockedError: another process holds one of them (embedded).
        """

    def close(self) -> None:
        """Releases connections."""

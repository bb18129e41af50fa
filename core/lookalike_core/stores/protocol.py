"""What a store does. `embedded` and `server` both do it; one contract suite runs on both."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from lookalike_core.arrays import FloatVector
from lookalike_core.errors import ManifestError
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import EVERYTHING, ImagePoint, Payload, PointFilter, ScoredId, SearchHit

STAGED_SUFFIX = ".rebuild"

_Opened = TypeVar("_Opened")


def is_collection_name(name: str) -> bool:
    """Whether a collection could be called so: Qdrant's own rule, and what a folder can be called.

    That is: no leading dot, which would hide it, no surrogates, and at most 255 bytes of UTF-8.
    """
    allowed = re.fullmatch(r'(?!\.)[^<>:"/\\|?*\x00-\x1f\ud800-\udfff]{1,255}', name)
    return allowed is not None and len(name.encode()) <= _MAX_NAME_BYTES


_MAX_NAME_BYTES = 255
"""Of a file or folder on every common file system."""


def staged_name(name: str) -> str:
    """Under which a collection is built anew, while the one that it will replace is in use."""
    return f"{name}{STAGED_SUFFIX}"


def require_own_name(manifest: CollectionManifest, name: str, *, place: str) -> None:
    """Refuses a manifest that lies beside another collection than it was written for.

    A staged one has taken the place of the collection that it was built for; older manifests say no name.

    Raises:
        ManifestError: it does; both names are in the message.
    """
    own = [manifest.name, (manifest.name or "").removesuffix(STAGED_SUFFIX)]
    if manifest.name is None:
        own = [manifest.collection, staged_name(manifest.collection)]
    if name not in own:
        raise ManifestError(
            f"{place} has the manifest of {own[0]} and not that of {name}, whose points may be of another "
            f"space; bring its own manifest back, or give the collection its name back: {own[0]}",
            collection=name,
        )


def opened_together(names: Sequence[str], open_one: Callable[[str], _Opened]) -> list[_Opened]:
    """What `open_one` gives for each name, in the order asked for; a name that comes twice is opened once.

    They are opened in the order of their names, so that no two processes wait for each other, each with a
    collection that the other one needs.
    """
    opened = {name: open_one(name) for name in sorted(set(names))}
    return [opened[name] for name in names]


class Collection(Protocol):
    """An open collection; leaving its `with` block releases it.

    What is written outlives this process when the call returns, and a power cut when the block is left or
    `note_listing` was called (embedded); a server has it on its own disk when the call returns.

    Whatever may change neighbours or classes drops the collection's calibration first, for good.
    """

    @property
    def name(self) -> str:
        """The collection's name."""

    @property
    def manifest(self) -> CollectionManifest:
        """What the collection says of itself, as of now."""

    @property
    def listing(self) -> Path | None:
        """Where a list of what the points carry may be kept; None where there is no place."""

    @property
    def is_listed(self) -> bool:
        """Whether the list that lies there is true: `note_listing` was called, and nothing written since.

        Nor were files lost, damaged or put back from a backup since, as far as names, sizes and times tell.
        """

    def drop_listing(self) -> None:
        """Says that the list is not true any more; every write does so, before."""

    def note_listing(self) -> None:
        """Says that the list is true, once what was written and the list are on the disk."""

    def damaged(self) -> list[str]:
        """The ids of points that have lost vector or payload; looked for only where files are not as noted.

        What is to be written anew is deleted before, or it may stay as it is.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def flush(self) -> None:
        """Has what was written outlive a power cut, as leaving the `with` block does; it stays open."""

    def upsert(self, points: Sequence[ImagePoint]) -> None:
        """Writes points; those with the same id are replaced.

        Raises:
            LookalikeError: a vector is zero, not finite, or of the wrong length; nothing is written then.
        """

    def replace_payloads(self, payloads: Sequence[Payload], *, same_classes: bool = False) -> None:
        """Gives points a new payload and leaves their vectors alone; points not there are ignored.

        Where they have the `same_classes` as before, the calibration stays.
        """

    def delete(self, ids: Sequence[str]) -> None:
        """Removes points; ids that are not there are ignored."""

    def scan(self, where: PointFilter = EVERYTHING) -> Iterator[Payload]:
        """Every matching payload, in no order."""

    def vectors(self, ids: Sequence[str]) -> dict[str, FloatVector]:
        """The stored vectors, float32 `[D]`, of those ids that are there."""

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        """The payloads, by id, of those ids that are there."""

    def count(self, where: PointFilter = EVERYTHING) -> int:
        """How many points match, exactly."""

    def tally(self, field: str) -> dict[str, int]:
        """How many points have each value of a keyword field, exactly; without a value is `""`."""

    def query(
        self, vector: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[SearchHit]:
        """The nearest points, best first; `exact` compares with every one of them.

        Raises:
            LookalikeError: the vector is zero, not finite, or of the wrong length.
        """

    def query_many(
        self, vectors: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[list[ScoredId]]:
        """What `query` finds for each row of float32 `[B, D]`, by id alone; faster than one by one.

        Raises:
            LookalikeError: the vectors have the wrong length, or one is zero or not finite.
        """

    def record_dataset(self, name: str, root: str, rules: FolderRules | None = None) -> None:
        """Notes in the manifest where a dataset lies, and by which rules; durable when it returns.

        Without `rules` those that it has stay.
        """

    def forget_dataset(self, name: str) -> None:
        """Takes a dataset out of the manifest; its points are removed before. Durable when it returns."""

    def indexed_count(self) -> int:
        """How many vectors the search index covers; 0 where there is none, and every search exact."""

    def record_calibration(self, calibration: Calibration | None) -> None:
        """Puts a calibration into the manifest, or takes it out; durable when it returns."""

    def needs_index(self) -> bool:
        """Whether `build_index` has anything to do."""

    def build_index(self, on_wait: Callable[[], None]) -> None:
        """Finishes the search index, calling `on_wait` a few times a second meanwhile.

        Interrupted, it leaves a searchable collection that the next call finishes.
        """


class Store(Protocol):
    """A place that holds collections."""

    @property
    def label(self) -> str:
        """How the store is shown to people; holds no credentials."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What people should be told of this store, a line each, where its label is said."""

    @property
    def missing_folder(self) -> Path | None:
        """The folder that the label names, where it does not exist: nothing was ever stored there."""

    def names(self) -> list[str]:
        """The collections here that are ours, sorted; those that are being built anew are left out."""

    def __contains__(self, name: str) -> bool:
        """Whether a collection of ours has this name."""

    def manifest(self, name: str) -> CollectionManifest:
        """What a collection says of itself, without opening it.

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

    def require_writable(self, name: str | None = None) -> None:
        """Refuses where nothing may be written, to the collection of a `name` either: before any work.

        A server says so where it is written to, and is not asked before.

        Raises:
            StoreError: the folder may only be read (embedded).
        """

    def ingesting(self) -> AbstractContextManager[None]:
        """Lets others see, for the length of a block, that an ingest is under way (embedded)."""

    def ingest_under_way(self) -> str | None:
        """Which process ingests into this store; None where none does, or it is not known, as of a server."""

    def delete(self, name: str) -> None:
        """Removes a collection of ours with all that is in it.

        Raises:
            CollectionMissingError: it is not there.
            ManifestError: it is there and not ours.
            StoreLockedError: another process holds it (embedded).
        """

    def aliased(self, name: str) -> str | None:
        """The collection behind an alias; None where `name` is none, as ever in an embedded store."""

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

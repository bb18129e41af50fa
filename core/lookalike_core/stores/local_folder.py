"""The folder of an embedded store: the layout of its files, and whether they are writable.

HOME/qdrant/NAME/manifest.json   the manifest
HOME/qdrant/NAME/shard/          Qdrant Edge's files, and the name of the collection
HOME/qdrant/NAME/points.db       a cache of the payloads of its points
HOME/qdrant/NAME/points.listed   the files that the cache is valid for; see `cache_mark`
HOME/qdrant/NAME/unfinished.json instead of the manifest, while points are copied to the collection
HOME/qdrant/NAME.rebuild/        a collection being built to replace NAME; `whole` in it marks it as complete
HOME/qdrant/NAME.lock, .holder   locked by the process that has the collection open; see `locks`
HOME/qdrant/.NAME.xxxxxxxx/      a collection being created; remains of a kill are removed later
HOME/qdrant/ingest-under-way.*   locked by an ingest, which a search without a collection can name
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from lookalike_core import locks
from lookalike_core.atomic import describe_read_only, find_nearest_existing, may_write
from lookalike_core.errors import StoreError, StoreLockedError
from lookalike_core.hints import Action, Hint
from lookalike_core.stores.collection_names import STAGED_SUFFIX, is_collection_name, staged_name

MANIFEST = "manifest.json"
SHARD = "shard"
LOG = "wal"
SEGMENTS = "segments"
WHOLE = "whole"
BUILDING = "temp_segments"
"""The folder, inside a shard, where the engine builds an index; it never deletes interrupted builds."""
UNFINISHED = "unfinished.json"

_UNDER_WAY = "ingest-under-way"
"""The name of the lock that an ingest holds; no collection can have it."""

_WAIT_S = 0.2


class LocalFolder:
    """The folder at `path`, which need not exist; `is_named` says that the user named it."""

    def __init__(self, path: Path, *, is_named: bool) -> None:
        self.path = path
        self._is_named = is_named

    @property
    def missing(self) -> Path | None:
        """The folder if the user named it and it does not exist; a default one is created when needed."""
        return self.path if self._is_named and not self.path.exists() else None

    def names(self) -> list[str]:
        """Returns the sorted names of collections; a staged one is included if its final name is missing.

        Collections whose manifest is lost are included, so that opening them reports it.
        """
        found = {path.parent.name for path in self.path.glob(f"[!.]*/{MANIFEST}")}
        found |= {path.parent.name for path in self.path.glob(f"[!.]*/{SHARD}/")}
        whole = {path.parent.name for path in self.path.glob(f"[!.]*{STAGED_SUFFIX}/{WHOLE}")}
        finished = {name for name in found if not name.endswith(STAGED_SUFFIX)}
        return sorted(finished | {name.removesuffix(STAGED_SUFFIX) for name in whole & found})

    def folder_of(self, name: str) -> Path | None:
        """Returns a collection's folder: under its name, or staged if a kill interrupted a replacement."""
        if not is_collection_name(name):
            return None
        folder, staged = self.path / name, self.path / staged_name(name)
        if (folder / MANIFEST).is_file():
            return folder
        return staged if (staged / WHOLE).is_file() and not folder.exists() else None

    def require_writable(self, name: str | None = None) -> None:
        """Refuses, before any work, a store or collection that is read-only.

        Raises:
            StoreError: it is read-only; the message names the first folder that forbids writing.
        """
        there = find_nearest_existing(self.path)
        if not may_write(there):
            raise self.read_only(there)
        folder = self.folder_of(name) if name is not None else None
        if folder is not None and (part := self.unwritable_part(folder)) is not None:
            raise self.read_only(part)

    def unwritable_part(self, folder: Path) -> Path | None:
        """Returns the first read-only file or folder that opening a collection writes to."""
        shard, lock = folder / SHARD, self.path / f"{folder.name}.lock"
        parts = (self.path, lock, folder, shard, shard / LOG)
        return next((part for part in parts if not may_write(part)), None)

    def read_only(self, place: Path) -> StoreError:
        """Returns the error for a read-only `place`, which is in this folder or above it."""
        if self.path.is_dir():
            return only_readable(place)
        return self.unusable(describe_read_only(place))

    def unusable(self, reason: str | None) -> StoreError:
        """Returns the error for a folder that cannot be created or accessed."""
        return StoreError(
            f"{self.path} cannot hold collections ({reason}); make it a folder that you can write to",
            path=self.path,
            hint=Hint(Action.CHANGE_FOLDER),
        )

    @contextmanager
    def ingesting(self) -> Iterator[None]:
        """Holds a lock for the length of a block, which tells other processes that an ingest is under way.

        Others only inspect the lock, for a moment, which this call waits for; of several ingests the first
        holds it.
        """
        with ExitStack() as stack:
            with suppress(StoreLockedError, OSError):  # a folder that is read-only is refused elsewhere
                what = f"an ingest into {self.path}"
                stack.enter_context(locks.hold(self.path, _UNDER_WAY, what=what, timeout_s=_WAIT_S))
            yield

    def ingest_under_way(self) -> str | None:
        """Returns the process that ingests into this store; None if none does, and always on Windows."""
        return locks.find_holder(self.path, _UNDER_WAY)


def only_readable(place: Path) -> StoreError:
    """Returns the error for a write to a read-only collection."""
    return StoreError(
        f"{place} is read-only ({describe_read_only(place)}), so it can only be searched; make it writable",
        path=place,
        hint=Hint(Action.CHANGE_FOLDER),
    )

"""The mark beside a payload cache: which files the cache is valid for, and how many points they hold.

If the files or the number of points differ, the cache is not used; see docs/adr/0014.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from lookalike_core.atomic import parse_json, remove, sync_folder, write_json
from lookalike_core.errors import StoreError
from lookalike_core.hints import Action, Hint
from lookalike_core.logs import get_logger
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.local_folder import SHARD
from lookalike_core.text import format_count

_logger = get_logger("stores")

_CACHE = "points.db"
_MARK = "points.listed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """`files` is the `fingerprint` of the files that hold `points` points; an empty one matches no files."""

    points: int
    files: str

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Returns the mark at `path`; None if there is none, or it is unreadable."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            data = parse_json(path.read_bytes())
            return cls(points=int(data["points"]), files=str(data["files"]))
        return None

    def write(self, path: Path) -> None:
        """Writes and syncs the mark: after a power cut the file is either this mark or the previous one."""
        write_json(path, asdict(self))

    def renew(self, path: Path) -> None:
        """Writes the mark without a sync, and ignores failures.

        If a power cut damages it, it is unreadable or matches no files, and the cache is rebuilt.
        """
        with suppress(OSError):
            path.write_text(json.dumps(asdict(self)), encoding="utf-8")


class CacheValidity:
    """Tracks whether the payload cache beside a shard is valid for its points, by a mark beside the cache.

    The mark survives power cuts, and records how many points the last ingest left.
    """

    def __init__(self, folder: Path, manifest: CollectionManifest, *, name: str, is_view: bool) -> None:
        self.file = folder / _CACHE
        self._folder, self._name, self._is_view = folder, name, is_view
        self._roots = sorted(manifest.datasets.values())
        self._mark = Mark.read(folder / _MARK)
        self.is_valid = self._mark is not None and self._mark.files == self.fingerprint() != ""

    @property
    def is_outdated(self) -> bool:
        """Whether there is a mark, and of other files: some changed since the last ingest."""
        return self._mark is not None and not self.is_valid

    @property
    def points(self) -> int | None:
        """The number of points that the last ingest left; None without a mark."""
        return None if self._mark is None else self._mark.points

    def fingerprint(self) -> str:
        """Returns the fingerprint of shard and cache.

        "" if the cache has a journal, of an interrupted change.
        """
        caches = sorted(self._folder.glob(f"{_CACHE}*"))
        return fingerprint([self._folder / SHARD, *caches]) if self.file in caches else ""

    def invalidate(self) -> None:
        """Removes the mark, and syncs that to the disk; the cache itself may be open."""
        self.is_valid, self._mark = False, None
        if not self._is_view and os.path.lexists(self._folder / _MARK):
            remove(self._folder / _MARK)
            sync_folder(self._folder)

    def validate(self, points: int) -> None:
        """Writes the mark for a closed shard of so many points."""
        sync_folder(self._folder)
        self._mark = Mark(points=points, files=self.fingerprint())
        self._mark.write(self._folder / _MARK)
        self.is_valid = True

    def renew(self) -> None:
        """Renews the mark of a valid cache for the present files, after the shard was closed.

        A view does not: others may have written to the collection since it was opened.
        """
        if self._is_view:
            return
        files = self.fingerprint() if self.is_valid else ""
        if files and self._mark is not None and self._mark.files != files:
            replace(self._mark, files=files).renew(self._folder / _MARK)

    def compare(self, points: int) -> None:
        """Logs that a loaded shard has more or fewer points with a vector than the last ingest left.

        Raises:
            StoreError: it has, although its files are unchanged.
        """
        if self._mark is None or (before := self._mark.points) == points:
            return
        found = f"{self._name} has {format_count(points, 'point')}, but had {before} after the last ingest"
        if self.is_valid:
            self.is_valid = False
            self._mark = replace(self._mark, files="")
            if not self._is_view:
                self._mark.write(self._folder / _MARK)
            raise StoreError(f"{found}: its files are damaged", path=self._folder, hint=Hint(Action.REPEAT))
        _logger.warning(
            "warning: %s: files in %s were lost, damaged or restored from a backup; their images are in %s",
            found,
            self._folder,
            ", ".join(self._roots),
            extra={"hint": Hint(Action.INGEST_AGAIN)},
        )


def fingerprint(paths: Iterable[Path]) -> str:
    """Returns a hash of names, sizes and times of files, and of all below folders; "" if one is missing.

    Takes about 10 microseconds a file; changes with every write.
    """
    digest = hashlib.sha256()
    try:
        for path in paths:
            for name, status in sorted(_files(path, path.name)):
                digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    except OSError:
        return ""
    return digest.hexdigest()


def _files(path: str | Path, name: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yields each file, with its path from the first folder on."""
    status = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - of many entries, and twice as fast
    if not os.path.isdir(path):  # noqa: PTH112
        yield name, status
        return
    with os.scandir(path) as entries:
        for entry in entries:
            yield from _files(entry.path, f"{name}/{entry.name}")

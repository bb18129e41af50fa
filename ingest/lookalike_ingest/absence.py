"""Tells whether a file that is not found any more was deleted, or may be on a disk that is not mounted."""

import os
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from lookalike_core.images.exclusion import is_made_by_systems
from lookalike_core.sources.source_path import SourcePath


class Absence(StrEnum):
    """Why a file that was ingested is not found."""

    GONE = "gone"
    """The file was deleted: its folder holds other files, or was deleted with it."""
    AWAY = "away"
    """The disk may not be mounted: the folder is empty, or a link to it is broken.

    Hidden and system files (`DEFAULT_EXCLUDES`), such as `.keep` and `Thumbs.db`, do not count.
    """
    UNREADABLE = "unreadable"
    """The folder cannot be read, so that the file may still exist."""


def is_missing(path: Path, *, follow_links: bool = False) -> bool:
    """Returns whether a path is known not to exist; False where that cannot be checked."""
    try:
        if isinstance(path, SourcePath):
            return not path.exists()
        path.stat(follow_symlinks=follow_links)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def measure_absence(since: str | None, now: str) -> timedelta:
    """Returns for how long a file has been missing, both times ISO 8601 in UTC; zero if that is unknown."""
    try:
        return datetime.fromisoformat(now) - datetime.fromisoformat(since or now)
    except (TypeError, ValueError):  # somebody else wrote it
        return timedelta(0)


class Absences:
    """Tells why paths below a root are not found; lists each folder once."""

    def __init__(self, root: Path) -> None:
        self._source = root if isinstance(root, SourcePath) else None
        self._root = str(root)
        self._folders: dict[str, Absence] = {}

    def of(self, path: str) -> Absence:
        """Returns why a file is not found, given its root-relative POSIX path."""
        if self._source is not None:
            return self._of_source(self._source)
        place = f"{self._root}/{path}"
        if os.path.islink(place) and not os.path.exists(place):  # noqa: PTH110, PTH114 - of a million files
            return Absence.AWAY
        return self._of_folder(path.rpartition("/")[0])

    def _of_source(self, root: SourcePath) -> Absence:
        """Returns why images elsewhere are not found: nothing there can be unmounted but the whole root."""
        if "" not in self._folders:
            try:
                self._folders[""] = Absence.GONE if root.is_dir() else Absence.AWAY
            except OSError:
                self._folders[""] = Absence.UNREADABLE
        return self._folders[""]

    def _of_folder(self, folder: str) -> Absence:
        """Returns why files of a folder are not found.

        A root ("") that is missing or empty may have been unmounted since it was scanned.
        """
        while folder not in self._folders:
            found = _look_into(f"{self._root}/{folder}")
            if found is None and folder:
                folder = folder.rpartition("/")[0]
                continue
            self._folders[folder] = found or Absence.AWAY
        return self._folders[folder]


def _look_into(folder: str) -> Absence | None:
    """Returns None if the folder does not exist, so that its parent decides."""
    try:
        with os.scandir(folder) as entries:
            is_empty = all(is_made_by_systems(entry.name) for entry in entries)
    except FileNotFoundError:
        return Absence.AWAY if os.path.islink(folder) else None  # noqa: PTH114 - a plain text
    except NotADirectoryError:
        return Absence.GONE
    except OSError:
        return Absence.UNREADABLE
    return Absence.AWAY if is_empty else Absence.GONE

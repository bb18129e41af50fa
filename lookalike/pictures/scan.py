"""Finding pictures: a folder is walked lazily, in one order, and every file is looked at once."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lookalike.errors import SkipReason
from lookalike.pictures.decoding import SUFFIXES


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file that is named like a picture; `path` is root-relative and POSIX."""

    path: str
    file: Path
    bytes: int
    mtime_ns: int

    @property
    def folder_class(self) -> str | None:
        """The first folder below the root; none for what lies directly in it."""
        head, slash, _ = self.path.partition("/")
        return head if slash else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A picture, or a folder with all that is in it, that is left out."""

    path: str
    reason: SkipReason
    is_folder: bool = False


def scan(root: Path) -> Iterator[FoundFile | Skipped]:
    """Pictures below `root` in the order of their names, depth first.

    Hidden files and folders are passed over. Links to files are followed, links to folders are not, so
    that no loop of links can be walked.
    """
    yield from _scan_folder(root, "")


def count_pictures(root: Path) -> int:
    """About how many `scan` finds, by their names alone."""
    return sum(
        not name.startswith(".") and _is_named_like_a_picture(name)
        for folder in _folders(root)
        for name in folder
    )


def _folders(root: Path) -> Iterator[list[str]]:
    """The files' names of each folder that is not hidden."""
    for _, folders, names in os.walk(root):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        yield names


def _is_named_like_a_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - a hot loop of plain names


def _scan_folder(folder: Path, prefix: str) -> Iterator[FoundFile | Skipped]:
    try:
        with os.scandir(folder) as entries:
            listing = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        path = _shown(prefix.rstrip("/") or ".")
        yield Skipped(path=path, reason=SkipReason.UNREADABLE, is_folder=True)
        return
    for entry in listing:
        if entry.name.startswith("."):
            continue
        path = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _scan_folder(folder / entry.name, f"{path}/")
        elif _is_named_like_a_picture(entry.name):
            yield _look_at(entry, path)


def _look_at(entry: "os.DirEntry[str]", path: str) -> FoundFile | Skipped:
    if _shown(path) != path:
        return Skipped(path=_shown(path), reason=SkipReason.BAD_NAME)
    try:
        status = entry.stat()
    except FileNotFoundError:
        return Skipped(path=path, reason=SkipReason.VANISHED)
    except OSError:
        return Skipped(path=path, reason=SkipReason.UNREADABLE)
    if not stat.S_ISREG(status.st_mode):
        return Skipped(path=path, reason=SkipReason.UNREADABLE)
    return FoundFile(path=path, file=Path(entry.path), bytes=status.st_size, mtime_ns=status.st_mtime_ns)


def _shown(path: str) -> str:
    """A name that is no valid Unicode cannot be stored; this is how it is shown."""
    return os.fsencode(path).decode("utf-8", "replace")

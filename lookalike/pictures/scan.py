"""Finding pictures: a folder is walked lazily, in one order, and every file is looked at once."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lookalike.errors import SkipReason
from lookalike.pictures.decoding import SUFFIXES
from lookalike.text import valid_text


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file below `root` that is named like a picture; `path` is root-relative and POSIX."""

    path: str
    root: Path
    bytes: int
    mtime_ns: int

    @property
    def file(self) -> Path:
        """Where it lies; made when it is asked for, since most files of a known folder are never opened."""
        return self.root / self.path

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
    yield from _scan_folder(root, os.path.join(root, ""), "")  # noqa: PTH118 - it ends in a slash


def count_pictures(root: Path) -> int:
    """About how many `scan` finds, by their names alone."""
    count, folders = 0, [str(root)]
    while folders:
        with suppress(OSError):
            for entry in _listed(folders.pop()):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    count += 1
    return count


def _scan_folder(root: Path, place: str, prefix: str) -> Iterator[FoundFile | Skipped]:
    """`place` is the folder and `prefix` its path below the root, each with a slash at its end.

    Of a folder of a million files only the names are held: its entries would take three times as much.
    """
    folders: set[str] = set()
    names: list[str] = []
    try:
        for entry in _listed(place):
            names.append(entry.name)
            if entry.is_dir(follow_symlinks=False):
                folders.add(entry.name)
    except OSError:
        path = valid_text(prefix.rstrip("/") or ".")
        yield Skipped(path=path, reason=SkipReason.UNREADABLE, is_folder=True)
        return
    names.sort()
    for name in names:
        if name in folders:
            yield from _scan_folder(root, f"{place}{name}/", f"{prefix}{name}/")
        else:
            yield _look_at(root, place + name, prefix + name)


def _listed(folder: str) -> Iterator["os.DirEntry[str]"]:
    """The pictures, by their names, and folders of a folder, without what is hidden."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if not name.startswith(".") and (
                name[name.rfind(".") :].lower() in SUFFIXES or entry.is_dir(follow_symlinks=False)
            ):
                yield entry


def _look_at(root: Path, place: str, path: str) -> FoundFile | Skipped:
    if not path.isascii() and valid_text(path) != path:
        return Skipped(path=valid_text(path), reason=SkipReason.BAD_NAME)
    try:
        status = os.stat(place)  # noqa: PTH116 - a `Path` takes longer than the system call
    except FileNotFoundError:
        return Skipped(path=path, reason=SkipReason.VANISHED)
    except OSError:
        return Skipped(path=path, reason=SkipReason.UNREADABLE)
    if not stat.S_ISREG(status.st_mode):
        return Skipped(path=path, reason=SkipReason.UNREADABLE)
    return FoundFile(path=path, root=root, bytes=status.st_size, mtime_ns=status.st_mtime_ns)

"""Finding pictures: a folder is walked lazily, in one order, and every file is looked at once."""

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lookalike_core.errors import SkipReason
from lookalike_core.images.decoding import SUFFIXES
from lookalike_core.text import valid_text


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file below `root` that is named like a picture; `path` is root-relative and POSIX.

    `mtime_ns` and `ctime_ns` are nanoseconds since 1970. Programs can set the first to any time,
    the second is always that of the last change of bytes, name or rights.
    """

    path: str
    root: Path
    bytes: int
    mtime_ns: int
    ctime_ns: int

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


@dataclass(slots=True)
class OtherFiles:
    """Files that a scan passes over because they are not named like pictures, counted by suffix.

    `by_suffix` has suffixes in lower case, "" for names without one; of more than `max_suffixes` kinds the
    rest is in `total` alone.
    """

    total: int = 0
    by_suffix: Counter[str] = field(default_factory=Counter)
    max_suffixes: int = 1_000
    """Kinds that are counted apart: names that end in numbers would have no end of them."""

    def count(self, name: str) -> None:
        """Counts a file by its name."""
        suffix = _suffix(name)
        self.total += 1
        if suffix in self.by_suffix or len(self.by_suffix) < self.max_suffixes:
            self.by_suffix[suffix] += 1

    def __str__(self) -> str:
        """Says how many there are, of the commonest kinds first: `17 other files: 12 .mov, 5 .cr2`."""
        kinds = sorted(self.by_suffix.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN_SUFFIXES]
        parts = [f"{count} {valid_text(suffix) or 'without a suffix'}" for suffix, count in kinds]
        if (rest := self.total - sum(count for _, count in kinds)) > 0:
            parts.append(f"{rest} of other kinds")
        return f"{self.total} other file{'s' * (self.total != 1)}: {', '.join(parts)}"


_SHOWN_SUFFIXES = 10
_SUFFIX_CHARACTERS = 16


def _suffix(name: str) -> str:
    """What a name ends in, in lower case; what is long or has a space is no suffix."""
    dot = name.rfind(".")
    suffix = name[dot:].lower() if dot > 0 else ""
    return suffix if 1 < len(suffix) <= _SUFFIX_CHARACTERS and " " not in suffix else ""


def scan(root: Path, others: OtherFiles | None = None) -> Iterator[FoundFile | Skipped]:
    """Pictures below `root` in the order of their names, depth first; files of other kinds go into `others`.

    Hidden files and folders are passed over. Links to files are followed, links to folders are not, so
    that no loop of links can be walked. A tree may have any depth: what lies below the longest path that
    the system takes is left out.
    """
    top = _entered(os.path.join(root, ""), "", others)  # noqa: PTH118 - it ends in a slash
    if isinstance(top, Skipped):
        yield top
        return
    way = [top]
    while way:
        here = way[-1]
        for name in here.names:
            if name not in here.folders:
                yield _look_at(root, here.place + name, here.prefix + name)
                continue
            below = _entered(f"{here.place}{name}/", f"{here.prefix}{name}/", others)
            if isinstance(below, Skipped):
                yield below
                continue
            way.append(below)
            break
        else:
            way.pop()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    """A folder on the way of a scan: `names` are those that are still to be looked at.

    `place` is where it is and `prefix` its path below the root, each with a slash at its end.
    """

    place: str
    prefix: str
    names: Iterator[str]
    folders: Collection[str]


def _entered(place: str, prefix: str, others: OtherFiles | None) -> _Folder | Skipped:
    """Lists a folder. Of one of a million files only the names are held: entries take three times as much."""
    folders: set[str] = set()
    names: list[str] = []
    try:
        for entry in _listed(place, others):
            names.append(entry.name)
            if entry.is_dir(follow_symlinks=False):
                folders.add(entry.name)
    except OSError:
        path = valid_text(prefix.rstrip("/") or ".")
        return Skipped(path=path, reason=SkipReason.UNREADABLE, is_folder=True)
    names.sort()
    return _Folder(place=place, prefix=prefix, names=iter(names), folders=folders)


def _listed(folder: str, others: OtherFiles | None = None) -> Iterator["os.DirEntry[str]"]:
    """The pictures, by their names, and folders of a folder, without what is hidden."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if name[name.rfind(".") :].lower() in SUFFIXES or entry.is_dir(follow_symlinks=False):
                yield entry
            elif others is not None and _is_file(entry):
                others.count(name)


def _is_file(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a file or leads to one; links to folders and pipes are none."""
    try:
        return entry.is_file()
    except OSError:  # a loop of links, for one
        return False


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
    return FoundFile(
        path=path,
        root=root,
        bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
    )

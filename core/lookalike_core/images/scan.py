"""Finding images: a folder is walked lazily, in one order, and every file is looked at once."""

import os
import stat
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lookalike_core.errors import SkipReason
from lookalike_core.images.decoding import SUFFIXES
from lookalike_core.images.folder_rules import DEFAULT_RULES, FolderRules
from lookalike_core.text import format_count, valid_text


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file below `root` that is named like an image; `path` is root-relative and POSIX.

    `mtime_ns` and `ctime_ns` are nanoseconds since 1970. Programs can set the first to any time,
    the second is always that of the last change of bytes, name or rights. `class_level` says which of its
    folders names its class, as that of `FolderRules`.
    """

    path: str
    root: Path
    bytes: int
    mtime_ns: int
    ctime_ns: int
    class_level: int = 1

    @property
    def file(self) -> Path:
        """Returns where it lies; made on demand, since most files of a known folder are never opened."""
        return self.root / self.path

    @property
    def folder_class(self) -> str | None:
        """Returns the folder that names the class, by default the first below the root; else None."""
        if self.class_level == 1:
            head, slash, _ = self.path.partition("/")
            return head if slash else None
        folders = self.path.split("/")[:-1]
        place = self.class_level - (self.class_level > 0)
        return folders[place] if -len(folders) <= place < len(folders) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An image, or a folder with all that is in it, that is left out."""

    path: str
    reason: SkipReason
    is_folder: bool = False


@dataclass(slots=True)
class OtherFiles:
    """What a scan passes over, counted: files that are not named like images, by suffix, and more.

    `by_suffix` has suffixes in lower case, "" for names without one; of more than `max_suffixes` kinds the
    rest is in `total` alone. `linked_folders` are links to folders that are not followed, `excluded_folders`
    and `excluded_images` what rules leave out, but for what is hidden.
    """

    total: int = 0
    linked_folders: int = 0
    excluded_folders: int = 0
    excluded_images: int = 0
    by_suffix: Counter[str] = field(default_factory=Counter)
    fitting_patterns: set[str] = field(default_factory=set)
    """Exclude patterns that have left something out, or taken it back in."""
    max_suffixes: int = 1_000
    """Kinds that are counted apart: names that end in numbers would have no end of them."""

    def count(self, name: str) -> None:
        """Counts a file by its name."""
        suffix = _suffix(name)
        self.total += 1
        if suffix in self.by_suffix or len(self.by_suffix) < self.max_suffixes:
            self.by_suffix[suffix] += 1

    @property
    def excluded(self) -> str:
        """Says how much was excluded: `2 folders, 1 image`."""
        counts = {"folder": self.excluded_folders, "image": self.excluded_images}
        return ", ".join(format_count(count, kind) for kind, count in counts.items() if count)

    def __str__(self) -> str:
        """Says how many there are, of the commonest kinds first: `17 other files: 12 .mov, 5 .cr2`."""
        kinds = sorted(self.by_suffix.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN_SUFFIXES]
        parts = [f"{count} {valid_text(suffix) or 'without a suffix'}" for suffix, count in kinds]
        if (rest := self.total - sum(count for _, count in kinds)) > 0:
            parts.append(f"{rest} of other kinds")
        return f"{format_count(self.total, 'other file')}: {', '.join(parts)}"


_SHOWN_SUFFIXES = 10
_SUFFIX_CHARACTERS = 16


def _suffix(name: str) -> str:
    """Returns what a name ends in, in lower case; what is long or has a space is no suffix."""
    dot = name.rfind(".")
    suffix = name[dot:].lower() if dot > 0 else ""
    return suffix if 1 < len(suffix) <= _SUFFIX_CHARACTERS and " " not in suffix else ""


def scan(
    root: Path, others: OtherFiles | None = None, *, rules: FolderRules = DEFAULT_RULES
) -> Iterator[FoundFile | Skipped]:
    """Yields images below `root` by name, depth first, and counts what else is there in `others`.

    Links to files are followed. Links to folders are where the rules say so, behind all else: each real
    folder is walked once, by its own path where it lies below `root`, so that no loop of links can be walked
    and nothing is found twice; what is excluded by that path stays so, whatever leads there. A tree may have
    any depth: what lies below the longest path that the system takes is left out.

    Raises:
        UsageError: a pattern of the rules is malformed.
    """
    return _Walk(root, OtherFiles() if others is None else others, rules).entries()


def look_up(
    root: Path, paths: Iterable[str], *, rules: FolderRules = DEFAULT_RULES
) -> Iterator[FoundFile | Skipped]:
    """Returns what is at these root-relative POSIX paths, in their order, whatever a walk would leave out.

    Paths where nothing is are passed over.
    """
    return _Walk(root, OtherFiles(), rules).at(paths)


def count_images(root: Path, *, rules: FolderRules = DEFAULT_RULES) -> int:
    """Returns about how many `scan` finds, by their names alone."""
    return sum(1 for _ in _Walk(root, OtherFiles(), rules).image_names())


def has_images(root: Path) -> bool:
    """Whether any file is named like an image, be it hidden or behind a link; also where nobody may look."""
    everything = FolderRules(default_excludes=False, follow_links=True)
    is_open = os.access(root, os.R_OK | os.X_OK)
    return not is_open or any(True for _ in _Walk(root, OtherFiles(), everything).image_names())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    """A folder on the way of a scan: `names` are those that are still to be looked at.

    `place` is where it is and `prefix` its path below the root, each with a slash at its end.
    """

    place: str
    prefix: str
    names: Iterator[str]
    folders: Collection[str]


class _Walk:
    """One way through a folder; of links that are followed it knows where it has been."""

    def __init__(self, root: Path, others: OtherFiles, rules: FolderRules) -> None:
        self._root, self._others = root, others
        self._exclusion, self._class_level = rules.exclusion, rules.class_level
        self._follows_links = rules.follow_links
        self._exclusion.fitting = others.fitting_patterns
        self._links: deque[tuple[str, str]] = deque()
        """Place and prefix of links to folders that are still to be followed."""
        self._visited: set[tuple[int, int]] = set()
        """Device and inode of each folder, where links are followed."""

    def entries(self) -> Iterator[FoundFile | Skipped]:
        """Yields what is in the tree, and then what links lead to, which may hold further ones."""
        yield from self._tree(os.path.join(self._root, ""), "")  # noqa: PTH118 - it ends in a slash
        while self._links:
            yield from self._tree(*self._links.popleft())

    def at(self, paths: Iterable[str]) -> Iterator[FoundFile | Skipped]:
        """Returns what is at these paths."""
        top = os.path.join(self._root, "")  # noqa: PTH118 - it ends in a slash
        return (self._look_at(top + path, path) for path in paths if not _is_missing(top + path))

    def image_names(self) -> Iterator[str]:
        """Yields the names of images, in no order; a folder that cannot be read has none."""
        folders = [(os.path.join(self._root, ""), "")]  # noqa: PTH118 - as above
        while folders:
            place, prefix = folders.pop()
            with suppress(OSError):
                if not self._is_new(place):
                    continue
                for name, is_folder, _ in self._list(place, prefix):
                    if is_folder:
                        folders.append((f"{place}{name}/", f"{prefix}{name}/"))
                    else:
                        yield name

    def _tree(self, place: str, prefix: str) -> Iterator[FoundFile | Skipped]:
        """Yields what is below one folder, where it was not walked already."""
        top = self._enter(place, prefix)
        if isinstance(top, Skipped):
            yield top
            return
        way = [top]
        while way:
            here = way[-1]
            for name in here.names:
                if name not in here.folders:
                    yield self._look_at(here.place + name, here.prefix + name)
                    continue
                below = self._enter(f"{here.place}{name}/", f"{here.prefix}{name}/")
                if isinstance(below, Skipped):
                    yield below
                    continue
                way.append(below)
                break
            else:
                way.pop()

    def _enter(self, place: str, prefix: str) -> _Folder | Skipped:
        """Lists a folder. Of a million files only the names are held: entries take three times as much.

        Links to folders are put by; a folder that was walked already is empty.
        """
        folders: set[str] = set()
        names: list[str] = []
        links: list[str] = []
        try:
            if self._is_new(place):
                for name, is_folder, is_link in self._list(place, prefix):
                    if is_link:
                        links.append(name)
                        continue
                    names.append(name)
                    if is_folder:
                        folders.add(name)
        except OSError:
            path = valid_text(prefix.rstrip("/") or ".")
            return Skipped(path=path, reason=SkipReason.UNREADABLE, is_folder=True)
        names.sort()
        self._links += [(f"{place}{name}/", f"{prefix}{name}/") for name in sorted(links)]
        return _Folder(place=place, prefix=prefix, names=iter(names), folders=folders)

    def _is_new(self, place: str) -> bool:
        """Notes a folder where links are followed; False where it was walked already, by whatever path."""
        if not self._follows_links:
            return True
        status = os.stat(place)  # noqa: PTH116 - a `Path` takes longer than the system call
        key = (status.st_dev, status.st_ino)
        is_new = key not in self._visited
        self._visited.add(key)
        return is_new

    def _list(self, place: str, prefix: str) -> Iterator[tuple[str, bool, bool]]:
        """Yields the images, by their names, and folders of a folder: name, is a folder, is a link.

        All else is counted, but for what is hidden.
        """
        hides_dotted, asks = self._exclusion.hides_dotted, self._exclusion.has_patterns
        with os.scandir(place) as entries:
            for entry in entries:
                name = entry.name
                if hides_dotted and name.startswith("."):
                    continue
                is_image = name[name.rfind(".") :].lower() in SUFFIXES
                is_folder = entry.is_dir(follow_symlinks=False)
                is_link = not is_folder and (self._follows_links or not is_image) and _leads_to_folder(entry)
                if (
                    (asks or is_folder or not is_image)
                    and self._exclusion.excludes(prefix, name, is_folder=is_folder or is_link)
                ) or (is_link and self._follows_links and self._leads_to_excluded(place + name)):
                    self._count_excluded(name, is_folder or is_link, is_image)
                elif is_folder or (is_link and self._follows_links):
                    yield name, True, is_link
                elif is_image:
                    yield name, False, False
                elif is_link:
                    self._others.linked_folders += 1
                elif _is_file(entry):
                    self._others.count(name)

    def _leads_to_excluded(self, link: str) -> bool:
        """Whether a link leads to a folder below the root that is left out by its own path."""
        root, real = (Path(os.path.realpath(each)) for each in (self._root, link))
        if real == root or not real.is_relative_to(root):
            return False
        return self._exclusion.covers(real.relative_to(root).as_posix(), is_folder=True)

    def _count_excluded(self, name: str, is_folder: bool, is_image: bool) -> None:
        if name.startswith("."):
            return
        self._others.excluded_folders += is_folder
        self._others.excluded_images += is_image and not is_folder

    def _look_at(self, place: str, path: str) -> FoundFile | Skipped:
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
            root=self._root,
            bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
            class_level=self._class_level,
        )


def _is_missing(place: str) -> bool:
    """Whether a path is known not to be there; a folder may be closed to us, and a link lead nowhere."""
    try:
        os.lstat(place)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _leads_to_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a link to a folder; one that leads nowhere, or round, is none."""
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:
        return False


def _is_file(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a file or leads to one; links to folders and pipes are none."""
    try:
        return entry.is_file()
    except OSError:  # a loop of links, for one
        return False

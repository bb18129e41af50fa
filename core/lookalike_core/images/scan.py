"""Finding images: a folder is walked lazily and in a fixed order, and every file is examined once."""

import os
import stat
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
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

    `mtime_ns` and `ctime_ns` are nanoseconds since 1970. Programs can set the first to any time; the second
    is always the last change of content, name or permissions. `class_level` is that of `FolderRules`.
    """

    path: str
    root: Path
    bytes: int
    mtime_ns: int
    ctime_ns: int
    class_level: int = 1

    @property
    def file(self) -> Path:
        """The absolute path; computed on demand, since most files of a known folder are never opened."""
        return self.root / self.path

    @property
    def folder_class(self) -> str | None:
        """The folder that names the class, by default the first below the root; None if there is none."""
        if self.class_level == 1:
            head, slash, _ = self.path.partition("/")
            return head if slash else None
        folders = self.path.split("/")[:-1]
        place = self.class_level - (self.class_level > 0)
        return folders[place] if -len(folders) <= place < len(folders) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An image, or a folder with its content, that is skipped."""

    path: str
    reason: SkipReason
    is_folder: bool = False


@dataclass(slots=True)
class OtherFiles:
    """Counts of what a scan ignores: files not named like images, by suffix, linked folders, exclusions.

    `by_suffix` has suffixes in lower case, "" for names without one; beyond `max_suffixes` suffixes, files
    are counted in `total` alone. `linked_folders` are links to folders that are not followed;
    `excluded_folders` and `excluded_images` are excluded by rules, hidden ones not counted. `passed_over` are
    images that were not wanted.
    """

    total: int = 0
    linked_folders: int = 0
    excluded_folders: int = 0
    excluded_images: int = 0
    passed_over: int = 0
    by_suffix: Counter[str] = field(default_factory=Counter)
    fitting_patterns: set[str] = field(default_factory=set)
    """Exclude patterns that have excluded or re-included something."""
    max_suffixes: int = 1_000
    """The most suffixes that are counted separately: names that end in numbers would give one each."""

    def count(self, name: str) -> None:
        """Counts a file by its name."""
        suffix = _suffix(name)
        self.total += 1
        if suffix in self.by_suffix or len(self.by_suffix) < self.max_suffixes:
            self.by_suffix[suffix] += 1

    @property
    def excluded(self) -> str:
        """Returns how much was excluded: `2 folders, 1 image`."""
        counts = {"folder": self.excluded_folders, "image": self.excluded_images}
        return ", ".join(format_count(count, kind) for kind, count in counts.items() if count)

    def __str__(self) -> str:
        """Returns how many other files there are, by commonest kinds: `17 other files: 12 .mov, 5 .cr2`."""
        kinds = sorted(self.by_suffix.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN_SUFFIXES]
        parts = [f"{count} {valid_text(suffix) or 'without a suffix'}" for suffix, count in kinds]
        if (rest := self.total - sum(count for _, count in kinds)) > 0:
            parts.append(f"{rest} of other kinds")
        return f"{format_count(self.total, 'other file')}: {', '.join(parts)}"


_SHOWN_SUFFIXES = 10
_SUFFIX_CHARACTERS = 16


def _suffix(name: str) -> str:
    """Returns the suffix of a name in lower case; one that is long or has a space counts as none."""
    dot = name.rfind(".")
    suffix = name[dot:].lower() if dot > 0 else ""
    return suffix if 1 < len(suffix) <= _SUFFIX_CHARACTERS and " " not in suffix else ""


def scan(
    root: Path,
    others: OtherFiles | None = None,
    *,
    rules: FolderRules = DEFAULT_RULES,
    takes: Callable[[str], bool] | None = None,
) -> Iterator[FoundFile | Skipped]:
    """Yields images below `root` by name, depth first, and counts everything else in `others`.

    Links to files are followed. Links to folders are followed if the rules say so, after all else: each real
    folder is walked once, by its own path if it is below `root`, so that no loop is followed and nothing is
    found twice; if its own path is excluded, so is the folder, whichever link leads there. A tree may have
    any depth: content below the longest path that the system supports is skipped. Images whose root-relative
    path `takes` does not want are not looked at.

    Raises:
        UsageError: a pattern of the rules is malformed.
    """
    return _Walk(root, OtherFiles() if others is None else others, rules, takes=takes).entries()


def look_up(
    root: Path, paths: Iterable[str], *, rules: FolderRules = DEFAULT_RULES
) -> Iterator[FoundFile | Skipped]:
    """Returns the files at these root-relative POSIX paths, in their order, regardless of exclusions.

    Paths that do not exist are skipped.
    """
    return _Walk(root, OtherFiles(), rules).at(paths)


def count_images(root: Path, *, rules: FolderRules = DEFAULT_RULES) -> int:
    """Returns approximately how many images `scan` finds, by names alone."""
    return sum(1 for _ in _Walk(root, OtherFiles(), rules).image_names())


def has_images(root: Path) -> bool:
    """Returns whether any file is named like an image, including hidden, linked and unreadable ones."""
    everything = FolderRules(default_excludes=False, follow_links=True)
    is_open = os.access(root, os.R_OK | os.X_OK)
    return not is_open or any(True for _ in _Walk(root, OtherFiles(), everything).image_names())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    """A folder in a scan: `names` are those still to be examined.

    `place` is its path and `prefix` its path below the root, both with a slash at the end.
    """

    place: str
    prefix: str
    names: Iterator[str]
    folders: Collection[str]


class _Walk:
    """One walk through a folder; if links are followed, it records the folders visited."""

    def __init__(
        self,
        root: Path,
        others: OtherFiles,
        rules: FolderRules,
        *,
        takes: Callable[[str], bool] | None = None,
    ) -> None:
        self._root, self._others, self._takes = root, others, takes
        self._exclusion, self._class_level = rules.exclusion, rules.class_level
        self._follows_links = rules.follow_links
        self._exclusion.fitting = others.fitting_patterns
        self._links: deque[tuple[str, str]] = deque()
        """Path and prefix of links to folders that are still to be followed."""
        self._visited: set[tuple[int, int]] = set()
        """Device and inode of each visited folder, if links are followed."""

    def entries(self) -> Iterator[FoundFile | Skipped]:
        """Yields the entries of the tree, then of linked folders, which may contain further links."""
        yield from self._tree(os.path.join(self._root, ""), "")  # noqa: PTH118 - it ends in a slash
        while self._links:
            yield from self._tree(*self._links.popleft())

    def at(self, paths: Iterable[str]) -> Iterator[FoundFile | Skipped]:
        """Returns the entries at these paths."""
        top = os.path.join(self._root, "")  # noqa: PTH118 - it ends in a slash
        return (self._look_at(top + path, path) for path in paths if not _is_missing(top + path))

    def image_names(self) -> Iterator[str]:
        """Yields the names of images, in no order; an unreadable folder has none."""
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
        """Yields the entries below a folder, unless it was walked already."""
        top = self._enter(place, prefix)
        if isinstance(top, Skipped):
            yield top
            return
        way = [top]
        while way:
            here = way[-1]
            for name in here.names:
                if name not in here.folders:
                    if self._takes is None or self._takes(here.prefix + name):
                        yield self._look_at(here.place + name, here.prefix + name)
                    else:
                        self._others.passed_over += 1
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
        """Lists a folder; only names are kept, since a million entries would take three times as much memory.

        Links to folders are put aside; a folder that was walked already counts as empty.
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
        """Records a folder if links are followed; returns False if it was walked before."""
        if not self._follows_links:
            return True
        status = os.stat(place)  # noqa: PTH116 - a `Path` takes longer than the system call
        key = (status.st_dev, status.st_ino)
        is_new = key not in self._visited
        self._visited.add(key)
        return is_new

    def _list(self, place: str, prefix: str) -> Iterator[tuple[str, bool, bool]]:
        """Yields name, is a folder, is a link, for the images, by name, and then the folders of a folder.

        Everything else is counted, except hidden files.
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
        """Returns whether a link leads to a folder below the root that is excluded by its own path."""
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
    """Returns whether a path certainly does not exist; False for unreadable folders and dangling links."""
    try:
        os.lstat(place)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _leads_to_folder(entry: "os.DirEntry[str]") -> bool:
    """Returns whether a path is a link to a folder; False for dangling links and loops."""
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:
        return False


def _is_file(entry: "os.DirEntry[str]") -> bool:
    """Returns whether a path is a file or a link to one; False for links to folders, and for pipes."""
    try:
        return entry.is_file()
    except OSError:  # a loop of links, for one
        return False

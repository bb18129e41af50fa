"""Walks a folder of this machine lazily and in a fixed order, and examines every file once."""

import os
import stat
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lookalike_core.errors import SkipReason
from lookalike_core.images.decoding import SUFFIXES
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.images.found_files import FoundFile, OtherFiles, Skipped
from lookalike_core.images.image_walk import ImageWalk
from lookalike_core.text import valid_text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    """A folder in a scan: `names` are those still to be examined.

    `place` is its path and `prefix` its path below the root, both with a slash at the end.
    """

    place: str
    prefix: str
    names: Iterator[str]
    folders: Collection[str]


class FolderWalk(ImageWalk):
    """One walk through a folder; if links are followed, it records the folders visited."""

    def __init__(
        self,
        root: Path,
        others: OtherFiles,
        rules: FolderRules,
        *,
        takes: Callable[[str], bool] | None = None,
    ) -> None:
        super().__init__(root, others, rules, takes=takes)
        self._follows_links = rules.follow_links
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

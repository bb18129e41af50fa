"""Walks a folder of an object store as a folder of this machine is walked: folder by folder, in order."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from lookalike_core.errors import SkipReason
from lookalike_core.images.decoding import SUFFIXES
from lookalike_core.images.found_files import FoundFile, Skipped
from lookalike_core.images.image_walk import ImageWalk
from lookalike_core.prefetch import map_ahead
from lookalike_core.sources.file_systems import list_folder, read_status, source_errors

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo

_ASKED_AT_ONCE = 32
"""How many objects are asked for at once."""


class ObjectWalk(ImageWalk):
    """One walk through a folder of an object store; implements `ImageSource`.

    A folder is listed when the walk comes to it, so that one folder's listing is in memory for each level.
    """

    def entries(self) -> Iterator[FoundFile | Skipped]:
        """Yields the entries of the tree, depth first and by name.

        Raises:
            UsageError: there is no such folder.
            LookalikeError: the store does not answer or refuses.
        """
        with source_errors(self._root):
            way = [("", iter(self._list("")))]
        while way:
            prefix, infos = way[-1]
            if (info := next(infos, None)) is None:
                way.pop()
                continue
            path = f"{prefix}{info.base_name}"
            if not _is_folder(info):
                if found := self._look_at(path, info):
                    yield found
                continue
            try:
                way.append((f"{path}/", iter(self._list(f"{path}/"))))
            except FileNotFoundError:  # the last object in it was deleted just now
                continue
            except OSError:
                yield Skipped(path=path, reason=SkipReason.UNREADABLE, is_folder=True)

    def at(self, paths: Iterable[str]) -> Iterator[FoundFile | Skipped]:
        """Yields the entries at these paths, several of which are asked for at once."""
        looked_up = map_ahead(self._look_up, iter(paths), ahead=_ASKED_AT_ONCE, workers=_ASKED_AT_ONCE)
        return (entry for entry in looked_up if entry is not None)

    def image_names(self) -> Iterator[str]:
        """Yields the names of images; a folder that cannot be listed has none."""
        folders = [""]
        while folders:
            prefix = folders.pop()
            with suppress(OSError):
                for info in self._list(prefix):
                    if _is_folder(info):
                        folders.append(f"{prefix}{info.base_name}/")
                    else:
                        yield str(info.base_name)

    def _list(self, prefix: str) -> "list[FileInfo]":
        """Returns the folders and images of a folder that are not excluded, and counts everything else."""
        return [
            info
            for info in list_folder(f"{self._root}/{prefix}".rstrip("/"))
            if self._is_wanted(prefix, str(info.base_name), is_folder=_is_folder(info))
        ]

    def _is_wanted(self, prefix: str, name: str, *, is_folder: bool) -> bool:
        if not name or (self._exclusion.hides_dotted and name.startswith(".")):
            return False  # an object may have an empty name, which no path can be written with
        is_image = name[name.rfind(".") :].lower() in SUFFIXES and not is_folder
        if self._exclusion.excludes(prefix, name, is_folder=is_folder):
            self._others.excluded_folders += is_folder and not name.startswith(".")
            self._others.excluded_images += is_image and not name.startswith(".")
            return False
        if not is_image and not is_folder:
            self._others.count(name)
        return is_folder or is_image

    def _look_at(self, path: str, info: "FileInfo") -> FoundFile | None:
        if self._takes is not None and not self._takes(path):
            self._others.passed_over += 1
            return None
        return self._found(path, info.size or 0, info.mtime_ns or 0)

    def _look_up(self, path: str) -> FoundFile | Skipped | None:
        try:
            status = read_status(f"{self._root}/{path}")
        except FileNotFoundError:
            return None
        except OSError:
            return Skipped(path=path, reason=SkipReason.UNREADABLE)
        if status.is_folder:
            return Skipped(path=path, reason=SkipReason.UNREADABLE)
        return self._found(path, status.bytes, status.mtime_ns)

    def _found(self, path: str, size: int, mtime_ns: int) -> FoundFile:
        return FoundFile(
            path=path,
            root=self._root,
            bytes=size,
            mtime_ns=mtime_ns,
            ctime_ns=mtime_ns,
            class_level=self._class_level,
        )


def _is_folder(info: "FileInfo") -> bool:
    from pyarrow.fs import FileType

    return bool(info.type == FileType.Directory)

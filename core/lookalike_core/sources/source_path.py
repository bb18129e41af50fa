"""Paths of images that are no files of this machine, as `Path`s: what stands on paths needs no second kind.

The text of a root says what it is: `s3://BUCKET/FOLDER` and `gs://BUCKET/FOLDER` are folders of an object
store, `FILE.parquet` is a Parquet file, and `FOLDER/*.parquet` all Parquet files below a folder, local or in
an object store. A path below the root is that of an image. So the roots in manifests can be read back.
"""

import os
import re
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from lookalike_core.sources.file_systems import SCHEMES, EntryStatus, is_url, read_object, read_status
from lookalike_core.sources.parquet_images import ALL_PARQUET, PARQUET, open_images

if sys.platform == "win32":  # a subclass of `Path` itself can be made from Python 3.12 on
    from pathlib import WindowsPath as _SystemPath
else:
    from pathlib import PosixPath as _SystemPath

_COLLAPSED_URL = re.compile(rf"({'|'.join(SCHEMES)}):/+")


class SourcePath(_SystemPath):
    """The path of an object, of a folder of objects, or of an image in a Parquet dataset.

    It joins, compares and shows like any other path, and `stat` and `read_bytes` ask where the image is.
    Nothing of it can be written. Errors are those of files: `FileNotFoundError` if there is no such image,
    another `OSError` if that cannot be told: an object store does not answer, pyarrow is not installed.
    """

    __slots__ = ()

    def __str__(self) -> str:
        """Returns the path, a URL if it is in an object store; pathlib has one slash where there were two."""
        text = super().__str__()
        if (collapsed := _COLLAPSED_URL.match(text.replace(os.sep, "/"))) is None:
            return text
        return f"{collapsed[1]}://{text.replace(os.sep, '/')[collapsed.end() :]}"

    def __fspath__(self) -> str:
        """Returns the text, which opens nothing where it is a URL."""
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the text: another process opens the object store by itself."""
        return type(self), (str(self),)

    @property
    def is_remote(self) -> bool:
        """Whether it is in an object store."""
        return is_url(str(self))

    @property
    def is_parquet(self) -> bool:
        """Whether it is a Parquet dataset, or an image in one."""
        return self._dataset_parts() is not None

    def split_parquet(self) -> tuple[Self, str]:
        """Returns the Parquet dataset and the path of an image in it, empty for the dataset itself."""
        count = self._dataset_parts() or len(self.parts)
        return type(self)(*self.parts[:count]), "/".join(self.parts[count:])

    def _dataset_parts(self) -> int | None:
        """Returns how many parts of the path are the Parquet dataset; None if there is none."""
        return _find_dataset(self.parts)

    def as_posix(self) -> str:
        """Returns the text with forward slashes."""
        return str(self).replace(os.sep, "/")

    def as_uri(self) -> str:
        """Returns the URL, of a Parquet file on this machine the one of the file."""
        return str(self) if self.is_remote else super().as_uri()

    def is_absolute(self) -> bool:
        """Returns True for a URL."""
        return self.is_remote or super().is_absolute()

    def absolute(self) -> "Self":
        """Returns the path itself if it is a URL."""
        return self if self.is_remote else super().absolute()

    def resolve(self, strict: bool = False) -> "Self":
        """Returns the path itself if it is a URL; an object store has no links."""
        return self if self.is_remote else type(self)(os.path.realpath(super().__str__(), strict=strict))

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002 - it has none
        """Returns kind, size and time; a Parquet dataset is a folder of images.

        The size of an image in a Parquet dataset is known once the whole dataset was read.
        """
        status = self._read_status()
        number = hash(str(self)) & 0xFFFF_FFFF_FFFF
        kind = stat.S_IFDIR if status.is_folder else stat.S_IFREG
        seconds = status.mtime_ns // 10**9
        basic = (kind | 0o444, number, _DEVICE, 1, 0, 0, status.bytes, seconds, seconds, seconds)
        times = dict.fromkeys(("st_atime_ns", "st_mtime_ns", "st_ctime_ns"), status.mtime_ns)
        return os.stat_result(basic, times)

    def exists(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - it has none
        """Returns whether there is such an image, folder or dataset.

        Raises:
            OSError: that cannot be told.
        """
        dataset, path = self.split_parquet()
        if path and self.is_parquet:
            return open_images(str(dataset)).has(path)
        try:
            self._read_status()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - it has none
        """Returns whether it is a folder, or a Parquet dataset.

        Raises:
            OSError: that cannot be told.
        """
        if self.is_parquet and self.split_parquet()[1]:
            return False
        try:
            return self._read_status().is_folder
        except FileNotFoundError:
            return False

    def is_file(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - it has none
        """Returns whether it is an image.

        Raises:
            OSError: that cannot be told.
        """
        return self.exists() and not self.is_dir()

    def is_symlink(self) -> bool:
        """Returns False: nothing here is a link."""
        return False

    def read_bytes(self) -> bytes:
        """Returns the bytes of an image.

        Raises:
            FileNotFoundError: there is no such image.
            OSError: it cannot be read.
        """
        if not self.is_parquet:
            return read_object(str(self))
        dataset, path = self.split_parquet()
        return open_images(str(dataset)).read(path)

    def _read_status(self) -> EntryStatus:
        if not self.is_parquet:
            return read_status(str(self))
        dataset, path = self.split_parquet()
        if path:
            return open_images(str(dataset)).read_status(path)
        return EntryStatus(is_folder=True, mtime_ns=open_images(str(dataset), max_age=0).mtime_ns)


_DEVICE = 0x10CA
"""The number of the device that all of these are on, apart from those of disks."""


def parse_root(text: str) -> Path:
    """Returns the root of a dataset that a manifest has as text: a `SourcePath` if it is no local folder."""
    if is_url(text):
        return SourcePath(text)
    if PARQUET not in text or _find_dataset(Path(text).parts) is None:
        return Path(text)
    is_folder = ALL_PARQUET not in text and os.path.isdir(text)  # noqa: PTH112 - of any text
    return Path(text) if is_folder else SourcePath(text)


def resolve_root(text: str) -> str:
    """Returns the root of a dataset with its links resolved; those that are no local folders have none."""
    root = parse_root(text)
    return str(root) if isinstance(root, SourcePath) else os.path.realpath(text)


def is_local(path: Path) -> bool:
    """Returns whether a path is one of a file or folder, and not of an image elsewhere."""
    return not isinstance(path, SourcePath)


def name_root(root: Path) -> str:
    """Returns what a dataset is named after: its folder, its Parquet file, or its bucket."""
    if not isinstance(root, SourcePath) or not root.is_parquet:
        return root.name
    return root.parent.name if root.name == ALL_PARQUET else root.stem


def _find_dataset(parts: Sequence[str]) -> int | None:
    """Returns how many parts are the path of a Parquet dataset: a folder may be named like a Parquet file."""
    if ALL_PARQUET in parts:
        return parts.index(ALL_PARQUET) + 1
    return next((number for number, part in enumerate(parts, start=1) if part.endswith(PARQUET)), None)

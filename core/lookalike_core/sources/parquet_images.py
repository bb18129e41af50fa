"""Datasets in Parquet with images inside, as Hugging Face and img2dataset write them.

Hugging Face has a column `image` of structs of `bytes` and `path`, and perhaps `label`, whose names of
classes are in the metadata of the file; img2dataset a column of bytes (`jpg`, `png`, `webp`) and `key`.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike_core.sources.file_systems import EntryStatus, arrow_errors, list_folder, read_status
from lookalike_core.sources.parquet_layout import ParquetLayout, open_parquet_file, read_layout
from lookalike_core.sources.parquet_rows import RowPlace, RowsChangedError, read_row

PARQUET = ".parquet"

ALL_PARQUET = f"*{PARQUET}"
"""The name in a root that stands for all Parquet files below its folder."""

_ROWS_AT_ONCE = 4096
_BITS = 40
"""Of the number of a row, in one number for a file and a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """An image in a dataset: its path in it, its row, and its class.

    The class is "" where the dataset says that there is none, and None where it says nothing.
    """

    path: str
    place: RowPlace
    class_name: str | None


TRUSTED_SECONDS = 10.0
"""How long the list of a dataset's files is believed; reading an image notices that a file has changed."""

_opened: dict[str, "ParquetImages"] = {}
_opening = threading.RLock()
_MOST_OPEN = 8


def open_images(place: str, *, max_age: float = TRUSTED_SECONDS) -> "ParquetImages":
    """Returns the images of a Parquet dataset as its files were at most `max_age` seconds ago.

    What this process has read of the dataset is kept while no file changes its size or time.

    Raises:
        FileNotFoundError: it does not exist, or holds no Parquet files.
        OSError: it cannot be read.
    """
    with _opening:
        images = _opened.pop(place, None)
        if images is None or not (images.age <= max_age or images.list_again()):
            return reopen_images(place)
        _opened[place] = images
        return images


def reopen_images(place: str) -> "ParquetImages":
    """Returns the images of a Parquet dataset, of which nothing is kept from before.

    Raises:
        FileNotFoundError: it does not exist, or holds no Parquet files.
        OSError: it cannot be read.
    """
    with _opening:
        _opened.pop(place, None)
        while len(_opened) >= _MOST_OPEN:
            _opened.pop(next(iter(_opened)))
        _opened[place] = ParquetImages(place)
        return _opened[place]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A Parquet file; `name` is its path in the dataset, without the suffix."""

    place: str
    name: str
    bytes: int
    mtime_ns: int

    def row(self, number: int) -> RowPlace:
        return RowPlace(file=self.place, row=number, bytes=self.bytes, mtime_ns=self.mtime_ns)


class ParquetImages:
    """The images of one Parquet file, or of all Parquet files below a folder in the order of their paths."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._listed = time.monotonic()
        self._files = _list_files(place)
        self._lock = threading.RLock()

    @property
    def age(self) -> float:
        """How many seconds ago the files were listed."""
        return time.monotonic() - self._listed

    def list_again(self) -> bool:
        """Returns whether the files are still the same.

        Raises:
            FileNotFoundError: the dataset does not exist any more.
            OSError: that cannot be told.
        """
        now = time.monotonic()
        if _list_files(self.place) != self._files:
            return False
        self._listed = now
        return True

    @property
    def mtime_ns(self) -> int:
        """When a file of the dataset was last changed."""
        return max(file.mtime_ns for file in self._files)

    @cached_property
    def layouts(self) -> list[ParquetLayout]:
        """The layout of each file.

        Raises:
            UsageError: a file has no column of images.
            OSError: a file cannot be read.
        """
        return [read_layout(file.place) for file in self._files]

    def rows(self) -> Iterator[ImageRow]:
        """Yields all rows in order; only paths and classes are read.

        An image has the path that its row says. Where any row of the dataset has none, or one that leaves
        the dataset, or two have the same, all are named by their file and their row.
        """
        is_named = self.has_usable_paths
        for file, layout in zip(self._files, self.layouts, strict=True):
            number = 0
            for paths, classes in _read_names(file, layout):
                for path, class_name in zip(paths, classes, strict=True):
                    yield ImageRow(
                        path=path if is_named and path else _number(file, number, path, layout),
                        place=file.row(number),
                        class_name=class_name if is_named or class_name is not None else "",
                    )
                    number += 1

    @cached_property
    def has_usable_paths(self) -> bool:
        """Whether the paths of the rows can be those of the images: all there, different and inside."""
        import pyarrow as pa
        import pyarrow.compute as pc

        chunks = []
        for file, layout in zip(self._files, self.layouts, strict=True):
            for paths, _ in _read_names(file, layout):
                if not all(path and is_inside(path) for path in paths):
                    return False
                chunks.append(pa.array(paths, pa.string()))
        with arrow_errors():
            distinct: int = pc.count_distinct(pa.chunked_array(chunks, pa.string())).as_py()
        return distinct == sum(map(len, chunks))

    def has(self, path: str) -> bool:
        """Returns whether there is an image with this path."""
        return path in self._index

    def find(self, path: str) -> RowPlace | None:
        """Returns the row of an image; None if there is none."""
        if (found := self._index.get(path)) is None:
            return None
        return self._files[found >> _BITS].row(found & ((1 << _BITS) - 1))

    def read(self, path: str) -> bytes:
        """Returns the bytes of an image; looks through the files again where they have changed.

        Raises:
            FileNotFoundError: there is no such image.
            OSError: it cannot be read.
        """
        with suppress(RowsChangedError):
            if (place := self.find(path)) is not None:
                return read_row(place)
        if (place := open_images(self.place, max_age=0).find(path)) is None:
            raise FileNotFoundError(f"{self.place}/{path} does not exist")
        return read_row(place)

    def read_status(self, path: str) -> EntryStatus:
        """Returns size and time of an image; the first call reads all images once.

        Raises:
            FileNotFoundError: there is no such image.
            OSError: it cannot be read.
        """
        if (found := self._index.get(path)) is None:
            raise FileNotFoundError(f"{self.place}/{path} does not exist")
        number, row = found >> _BITS, found & ((1 << _BITS) - 1)
        return EntryStatus(bytes=int(self._sizes[number][row]), mtime_ns=self._files[number].mtime_ns)

    @property
    def _index(self) -> dict[str, int]:
        with self._lock:
            return self._places

    @cached_property
    def _places(self) -> dict[str, int]:
        numbers = {file.place: number << _BITS for number, file in enumerate(self._files)}
        return {each.path: numbers[each.place.file] | each.place.row for each in self.rows()}

    @property
    def _sizes(self) -> Sequence[NDArray[np.int64]]:
        with self._lock:
            return self._measured

    @cached_property
    def _measured(self) -> Sequence[NDArray[np.int64]]:
        pairs = zip(self._files, self.layouts, strict=True)
        return [_measure(file, layout) for file, layout in pairs]


def is_inside(path: str) -> bool:
    """Returns whether a path stays below its root, and has no second form."""
    return "\0" not in path and not any(name in ("", ".", "..") for name in path.split("/"))


def _list_files(place: str) -> list[_File]:
    """Returns the Parquet files of a dataset."""
    folder, _, last = place.rpartition("/")
    if last != ALL_PARQUET:
        status = read_status(place)
        if status.is_folder:
            raise FileNotFoundError(f"{place} is a folder, not a Parquet file")
        name = last.removesuffix(PARQUET)
        return [_File(place=place, name=name, bytes=status.bytes, mtime_ns=status.mtime_ns)]
    files = list(_files_below(folder, ""))
    if not files:
        raise FileNotFoundError(f"there are no Parquet files below {folder}")
    return files


def _files_below(folder: str, prefix: str) -> Iterator[_File]:
    from pyarrow.fs import FileType

    for info in list_folder(folder):
        name = str(info.base_name)
        if not name or name.startswith((".", "_")):  # what a writer has not finished yet
            continue
        if info.type == FileType.Directory:
            yield from _files_below(f"{folder}/{name}", f"{prefix}{name}/")
        elif name.endswith(PARQUET):
            yield _File(
                place=f"{folder}/{name}",
                name=prefix + name.removesuffix(PARQUET),
                bytes=info.size or 0,
                mtime_ns=info.mtime_ns or 0,
            )


def _read_names(
    file: _File, layout: ParquetLayout
) -> Iterator[tuple[Sequence[str | None], Sequence[str | None]]]:
    """Yields the paths and classes of the rows of a file, a few thousand at a time."""
    columns = [column for column in (layout.path_column, layout.class_column) if column is not None]
    if not columns:
        for start in range(0, layout.rows, _ROWS_AT_ONCE):
            nothing = [None] * min(_ROWS_AT_ONCE, layout.rows - start)
            yield nothing, nothing
        return
    with open_parquet_file(file.place) as table:
        for batch in table.iter_batches(_ROWS_AT_ONCE, columns=columns):
            yield layout.paths_of(batch), layout.classes_of(batch)


def _measure(file: _File, layout: ParquetLayout) -> NDArray[np.int64]:
    """Returns the size of each image of a file, int64 `[rows]`; reads all of them."""
    import pyarrow.compute as pc

    sizes: list[Any] = [np.zeros(0, np.int64)]
    with open_parquet_file(file.place) as table:
        for batch in table.iter_batches(64, columns=[layout.bytes_column]):
            lengths = pc.fill_null(pc.binary_length(layout.bytes_of(batch)), 0)
            sizes.append(np.asarray(lengths.to_numpy(zero_copy_only=False), np.int64))
    return np.concatenate(sizes)


def _number(file: _File, row: int, path: str | None, layout: ParquetLayout) -> str:
    """Returns the path of an image by its file and row, with the suffix that it has."""
    suffix = PurePosixPath(path).suffix if path else layout.suffix
    return f"{file.name}/{row}{suffix if suffix.isascii() and suffix.isprintable() else ''}"

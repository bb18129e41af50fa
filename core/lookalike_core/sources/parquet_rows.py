"""Reads single images of Parquet files by their rows; consecutive rows are read from the file once."""

import threading
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from lookalike_core.sources.file_systems import arrow_errors, is_url, read_status
from lookalike_core.sources.parquet_layout import open_parquet_file, read_layout

_ROWS_AT_ONCE = 64
_KEPT_BYTES = 128 * 2**20
"""How much of each file stays in memory for rows that are read a little later."""
_MOST_CURSORS = 3
_MOST_FILES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlace:
    """A row of a Parquet file, which had this size and time when it was listed."""

    file: str
    row: int
    bytes: int
    mtime_ns: int


class RowsChangedError(OSError):
    """A Parquet file is not the one that was listed."""


def read_row(place: RowPlace) -> bytes:
    """Returns the bytes of an image; none where the row has none. Can be called from several threads.

    Raises:
        FileNotFoundError: the file does not exist any more.
        RowsChangedError: it was written again since.
        OSError: it cannot be read.
    """
    return _open_reader(place).read(place.row)


def _open_reader(place: RowPlace) -> "_RowReader":
    key = (place.file, place.bytes, place.mtime_ns)
    with _opening:
        reader = _readers.pop(key, None) or _RowReader(place)
        _readers[key] = reader  # now the last one used
        if len(_readers) > _MOST_FILES:
            _readers.pop(next(iter(_readers)))
        return reader


_readers: dict[tuple[str, int, int], "_RowReader"] = {}
_opening = threading.Lock()


class _RowReader:
    """Reads the rows of one file by a few cursors, each of which goes on from where it is."""

    def __init__(self, place: RowPlace) -> None:
        self._place = place
        self._require_unchanged()
        self._layout = read_layout(place.file)
        self._stack = ExitStack()
        self._file = self._stack.enter_context(open_parquet_file(place.file))
        groups = self._file.metadata
        sizes = (groups.row_group(number).num_rows for number in range(groups.num_row_groups))
        self._starts = list(accumulate(sizes, initial=0))
        self._cursors: list[_Cursor] = []
        self._kept: dict[int, Any] = {}
        """Arrays of bytes by the number of their first row, the one read last at the end."""
        self._lock = threading.Lock()

    def read(self, row: int) -> bytes:
        with self._lock, arrow_errors():
            found = self._look_up(row)
            if found is None or not is_url(self._place.file):  # an object store is asked once for many rows
                self._require_unchanged()
            if found is None:
                cursor = self._choose_cursor(row)
                while found is None:
                    self._keep(*cursor.advance())
                    found = self._look_up(row)
            return found

    def _require_unchanged(self) -> None:
        place, status = self._place, read_status(self._place.file)
        if (status.bytes, status.mtime_ns) != (place.bytes, place.mtime_ns):
            raise RowsChangedError(f"{place.file} was changed since it was listed")

    def _look_up(self, row: int) -> bytes | None:
        for start, values in self._kept.items():
            if start <= row < start + len(values):
                return values[row - start].as_py() or b""
        return None

    def _choose_cursor(self, row: int) -> "_Cursor":
        """Returns the nearest cursor before a row in its row group, else a new one at the group's start."""
        group = bisect_right(self._starts, row) - 1
        near = [each for each in self._cursors if self._starts[group] <= each.row <= row]
        if near:
            cursor = max(near, key=lambda each: each.row)
            self._cursors.remove(cursor)
        else:
            groups = list(range(group, len(self._starts) - 1))
            batches = self._file.iter_batches(
                _ROWS_AT_ONCE, row_groups=groups, columns=[self._layout.bytes_column]
            )
            cursor = _Cursor(self._starts[group], map(self._layout.bytes_of, batches))
        self._cursors = [*self._cursors, cursor][-_MOST_CURSORS:]
        return cursor

    def _keep(self, start: int, values: Any) -> None:  # noqa: ANN401 - an array
        self._kept.pop(start, None)
        self._kept[start] = values
        total = sum(each.nbytes for each in self._kept.values())
        while total > _KEPT_BYTES and len(self._kept) > 1:
            total -= self._kept.pop(next(iter(self._kept))).nbytes


class _Cursor:
    """Batches of a file in their order; `row` is the first one of the next batch."""

    def __init__(self, row: int, batches: Iterator[Any]) -> None:
        self.row, self._batches = row, batches

    def advance(self) -> tuple[int, Any]:
        """Returns the next batch, and the number of its first row.

        Raises:
            OSError: the file ends before it should.
        """
        values = next(self._batches, None)
        if values is None:
            raise OSError("the file has fewer rows than it says")
        start, self.row = self.row, self.row + len(values)
        return start, values

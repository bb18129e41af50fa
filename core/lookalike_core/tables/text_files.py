"""Tables as CSV, and matrices in NumPy's format: both are written row by row, and need no library."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np

from lookalike_core.outputs import is_table_of
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.tables.rows import COLUMNS, TableBatch, row_of


class CsvTable:
    """A CSV table of images without their vectors, in UTF-8; lines end with LF, missing values are empty.

    Names are written as they are, so that programs find the files by them.
    """

    def __init__(self, file: TextIO, manifest: CollectionManifest) -> None:
        self._manifest = manifest
        self._writer = csv.writer(_UnixLines(file))
        self._writer.writerow(COLUMNS)

    def write(self, batch: TableBatch) -> None:
        """Writes the images of a batch."""
        self._writer.writerows(row_of(payload, self._manifest) for payload in batch.payloads)


class _UnixLines:
    """Ends rows with LF; the `csv` writer uses CR LF, so that it quotes names with either character."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> None:
        self._file.write(row.removesuffix("\r\n") + "\n")


@contextmanager
def open_csv(path: Path, manifest: CollectionManifest) -> Iterator[CsvTable]:
    """Yields a table that is written to a file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        yield CsvTable(file, manifest)


is_csv_table = is_table_of(COLUMNS)
"""Whether a file is a table that `CsvTable` wrote."""


class Matrix:
    """A matrix float32 `[N, D]` in NumPy's format; a later row needs no earlier one in memory."""

    def __init__(self, path: Path, dimension: int) -> None:
        self._file = path.open("wb")
        self._dimension, self._rows = dimension, 0
        self._write_header()

    def write(self, batch: TableBatch) -> None:
        """Writes the vectors of a batch."""
        self._file.write(np.ascontiguousarray(batch.vectors, dtype="<f4").data)
        self._rows += len(batch.vectors)

    def _write_header(self) -> None:
        """Writes the header, in which numpy leaves room for any number of rows."""
        self._file.seek(0)
        shape = (self._rows, self._dimension)
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def close(self) -> None:
        """Completes the header, and closes the file."""
        with self._file:
            self._write_header()


@contextmanager
def open_matrix(path: Path, dimension: int) -> Iterator[Matrix]:
    """Yields a matrix that is written to a file."""
    matrix = Matrix(path, dimension)
    try:
        yield matrix
    finally:
        matrix.close()

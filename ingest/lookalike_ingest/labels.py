"""Classes of images, from folder names or from a table."""

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lookalike_core.errors import UsageError
from lookalike_core.images.scan import FoundFile
from lookalike_core.missing_path import require_there
from lookalike_core.sources.source_path import SourcePath
from lookalike_core.text import nfc


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """An image's class, None for no class; `synset` is its WordNet id, None if it has none."""

    class_name: str | None
    synset: str | None = None


LabelOf = Callable[[FoundFile], Label]
"""A function that returns the class of an image."""


def folder_label(found: FoundFile) -> Label:
    """Returns the class given by the name of an image's folder."""
    return _make_label(found.folder_class)


@lru_cache(maxsize=1)  # a scan comes folder by folder
def _make_label(class_name: str | None) -> Label:
    return Label(class_name=class_name)


def read_labels(file: Path) -> dict[str, str | None]:
    """Returns classes by root-relative POSIX path, from a UTF-8 CSV with the header `path,class`.

    An empty class is None. Further columns are ignored.

    Raises:
        UsageError: the file cannot be read, has another header or too short a line, or names a path twice.
    """
    labels: dict[str, str | None] = {}
    try:
        for line, path, class_name in _read_rows(file):
            if path in labels:
                raise UsageError(f"{file}: line {line} repeats {path}")
            labels[path] = class_name
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{file} cannot be read as a UTF-8 CSV: {error}") from error
    return labels


class LabelRows:
    """Finds the row of a label table for a file, whatever Unicode form their names have."""

    def __init__(self, labels: Mapping[str, str | None]) -> None:
        self._labels = labels
        self._composed = {nfc(path): path for path in labels if not path.isascii()}

    def find(self, path: str) -> str | None:
        """Returns the file's path as spelt in its row; None if there is no row."""
        if path in self._labels:
            return path
        return None if path.isascii() else self._composed.get(nfc(path))


def check_labels(labels: Mapping[str, str | None], root: Path) -> None:
    """Refuses a table of which no row matches a file below `root`: it belongs to another folder.

    The search ends at the first file that exists, so that a matching table costs nothing. Only if there is
    none, folders are listed to compare names in other Unicode forms. Images that are no files of this machine
    are not looked up; an ingest counts the rows without one.

    Raises:
        UsageError: no row matches a file; the message shows the first row and the folder.
    """
    if not labels or isinstance(root, SourcePath):
        return
    if any(os.path.isfile(f"{root}/{path}") for path in labels):  # noqa: PTH113 - never raises
        return
    folders = _Folders(root)
    if any(not path.isascii() and folders.has(path) for path in labels):
        return
    first = next(iter(labels))
    raise UsageError(
        f"none of the {len(labels)} rows of the labels matches a file below {root}; the first has "
        f"the path {first[:200]!r}. Paths are relative to that folder and written with /"
    )


class _Folders:
    """The files below a root by their composed paths (NFC); lists each folder once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listed: dict[str, dict[str, list[str]]] = {}

    def has(self, path: str) -> bool:
        """Returns whether the file exists, in any Unicode form."""
        places = [str(self._root)]
        for name in path.split("/"):
            places = [f"{place}/{each}" for place in places for each in self._names(place).get(nfc(name), ())]
        return any(os.path.isfile(place) for place in places)  # noqa: PTH113 - never raises

    def _names(self, folder: str) -> Mapping[str, list[str]]:
        if folder not in self._listed:
            names = defaultdict(list)
            with suppress(OSError):
                for name in os.listdir(folder):  # noqa: PTH208 - only names are wanted
                    names[nfc(name)].append(name)
            self._listed[folder] = names
        return self._listed[folder]


def _read_rows(file: Path) -> Iterator[tuple[int, str, str | None]]:
    """Yields the line number, path and class of each row."""
    require_there(file)
    if not file.is_file():  # reading a pipe may never end
        raise UsageError(f"{file} is not a file; write the labels to one")
    with file.open(encoding="utf-8-sig", newline="") as table:
        rows = csv.DictReader(table)
        header = list(rows.fieldnames or ())
        if header.count("path") != 1 or header.count("class") != 1:
            raise UsageError(f"{file}: the header must be path,class and is {','.join(header)}")
        for row in rows:
            if row["path"] is None or row["class"] is None:
                raise UsageError(f"{file}: line {rows.line_num} has too few cells; an empty class is: path,")
            yield rows.line_num, row["path"].removeprefix("./"), row["class"] or None

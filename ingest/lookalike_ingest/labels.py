"""Classes from folders, and from a table instead."""

import csv
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lookalike_core.errors import UsageError
from lookalike_core.images.scan import FoundFile
from lookalike_core.missing_path import require_there


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A picture's class, None where it has none; `synset` is WordNet's id where that told the class."""

    class_name: str | None
    synset: str | None = None


LabelOf = Callable[[FoundFile], Label]
"""What tells the class of a picture."""


def folder_label(found: FoundFile) -> Label:
    """The folder that names classes."""
    return _labelled(found.folder_class)


@lru_cache(maxsize=1)  # a scan comes folder by folder
def _labelled(class_name: str | None) -> Label:
    return Label(class_name=class_name)


def read_labels(file: Path) -> dict[str, str | None]:
    """Root-relative POSIX path -> class, out of a UTF-8 CSV with the header `path,class`.

    An empty class stands for none. Further columns are ignored.

    Raises:
        UsageError: the file cannot be read, has another header or too short a line, or names a path twice.
    """
    labels: dict[str, str | None] = {}
    try:
        for line, path, class_name in _rows(file):
            if path in labels:
                raise UsageError(f"{file}: line {line} names {path} a second time")
            labels[path] = class_name
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{file} cannot be read as a UTF-8 CSV: {error}") from error
    return labels


def check_labels(labels: Mapping[str, str | None], root: Path) -> None:
    """Refuses a table of which not one row names a file below `root`: it is another folder's.

    One file that is there ends the search, so that a table that fits costs nothing.

    Raises:
        UsageError: no row names one; the message shows where the first was looked for.
    """
    if not labels or any(os.path.isfile(f"{root}/{path}") for path in labels):  # noqa: PTH113 - never raises
        return
    first = next(iter(labels))
    raise UsageError(
        f"none of the {len(labels)} rows of the labels names a file below {root}, where the first says "
        f"{first[:200]!r}; paths are relative to that folder and written with /"
    )


def _rows(file: Path) -> Iterator[tuple[int, str, str | None]]:
    """Line, path and class of each row."""
    require_there(file)
    if not file.is_file():  # a pipe would be waited for, perhaps for ever
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

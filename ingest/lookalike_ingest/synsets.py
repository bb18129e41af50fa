"""Classes of ImageNet's images, from the two tables that come with them.

Its folders are named after WordNet's synsets, like `n01440764`. `LOC_synset_mapping.txt` has their names,
`LOC_val_solution.csv` the synsets of validation images, which are not in such folders (both files are of
Kaggle's imagenet-object-localization-challenge).
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from lookalike_core.errors import UsageError
from lookalike_core.images.scan import FoundFile
from lookalike_core.logs import get_logger
from lookalike_core.missing_path import require_there
from lookalike_core.text import nfc

from lookalike_ingest.labels import Label, LabelOf, folder_label

_logger = get_logger("ingest")

NAMES_FILE, SOLUTION_FILE = "LOC_synset_mapping.txt", "LOC_val_solution.csv"
"""Files to look for in a dataset's folder and a few levels above it."""

LEVELS_UP = 5
"""From `ILSVRC/Data/CLS-LOC/train/n01440764` to the folder that holds the tables."""

MAX_BYTES = 64 * 2**20
"""Largest table to read; WordNet's list of 82,115 nouns has 3 MB, all training images' solution 30 MB."""

Table = TypeVar("Table")


@dataclass(frozen=True, slots=True, kw_only=True)
class Synsets:
    """ImageNet's tables: `names` by synset, and synsets by the names of `images`, without suffix.

    `root_name` is the name of the dataset's folder, which may be a synset itself.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    root_name: str = ""

    def label_of(self, found: FoundFile) -> Label:
        """Returns an image's class by the nearest folder that is named like a synset, else by its own name.

        The class of a synset without a name is its id. An image without a synset has its folder's class,
        except that ImageNet's validation and test images have none: `val` and `test` are no classes.
        """
        folders, _, name = found.path.rpartition("/")
        synset = _find_nearest_synset(f"{self.root_name}/{folders}/")
        if synset is None:
            stem = os.path.splitext(name)[0]  # noqa: PTH122 - a hot loop of plain names
            synset = self.images.get(nfc(stem))
        if synset is not None:
            return Label(class_name=self.names.get(synset, synset), synset=synset)
        if _WITHOUT_CLASS_FOLDER.search(found.path):
            return Label(class_name=None)
        return folder_label(found)


@lru_cache(maxsize=1)  # a scan comes folder by folder
def _find_nearest_synset(folders: str) -> str | None:
    """Returns the last folder that is named like a synset."""
    return next((name for name in reversed(folders.split("/")) if _SYNSET.fullmatch(name)), None)


_WITHOUT_CLASS_FOLDER = re.compile(r"(?:^|/)(val|test)/ILSVRC2012_\1_[0-9]{8}\.[^/]+$")


def choose_synset_labels(root: Path, *, names: Path | None, solution: Path | None) -> LabelOf:
    """Returns the function that gives an image's class by tables, given or found near the dataset's root.

    A table that was found and cannot be used is ignored with a warning. Without tables folders name the
    classes.

    Raises:
        UsageError: a table that was given cannot be used.
    """
    named = _table(root, names, NAMES_FILE, read_names)
    solved = _table(root, solution, SOLUTION_FILE, read_solution)
    if named is None and solved is None:
        return folder_label
    return Synsets(names=named or {}, images=solved or {}, root_name=root.name).label_of


def _table(root: Path, given: Path | None, name: str, read: Callable[[Path], Table]) -> Table | None:
    file = given or find_upward(root, name)
    if file is None:
        return None
    try:
        table = read(file)
    except UsageError as error:
        if given is not None:
            raise
        _logger.warning("warning: going on without %s: %s", file, error, extra={"hint": error.hint})
        return None
    _logger.info("%s from %s", _SAID[name], file)
    return table


_SAID = {NAMES_FILE: "names of synsets", SOLUTION_FILE: "synsets of validation images"}


def find_upward(root: Path, name: str) -> Path | None:
    """Returns the nearest path with that name in a folder or a few levels above it; None if not found."""
    above = (folder / name for folder in (root, *list(root.parents)[:LEVELS_UP]))
    return next((file for file in above if os.path.lexists(file)), None)


def read_names(file: Path) -> dict[str, str]:
    """Returns classes by synset, from UTF-8 lines like `n01440764 tench, Tinca tinca`.

    The class is the first of the names. If several synsets have the same one, ignoring case, the id is
    appended: `crane (n02012849)`.

    Raises:
        UsageError: the file cannot be read, or a line is malformed or repeats a synset.
    """
    firsts: dict[str, str] = {}
    for number, line in enumerate(_read_text(file).split("\n"), start=1):
        synset, _, names = line.strip().replace("\t", " ", 1).partition(" ")
        if not synset:
            continue
        first = nfc(names.split(",")[0].strip())
        if not _SYNSET.fullmatch(synset) or not first or not first.isprintable():
            raise UsageError(f"{file}: line {number} is not like `n01440764 tench, Tinca tinca`")
        if synset in firsts:
            raise UsageError(f"{file}: line {number} repeats {synset}")
        firsts[synset] = first
    if not firsts:
        raise UsageError(f"{file} holds no lines like `n01440764 tench, Tinca tinca`")
    shared = Counter(first.casefold() for first in firsts.values())
    return {
        synset: f"{first} ({synset})" if shared[first.casefold()] > 1 else first
        for synset, first in firsts.items()
    }


def read_solution(file: Path) -> dict[str, str]:
    """Returns synsets by image name without suffix, from a UTF-8 CSV `ImageId,PredictionString`.

    A prediction is a synset and its box, like `n03995372 85 1 499 272`; of several the first counts. An empty
    one is ignored.

    Raises:
        UsageError: the file cannot be read, has another header, or a row is malformed or repeated.
    """
    rows = csv.DictReader(io.StringIO(_read_text(file), newline=""))
    synsets: dict[str, str] = {}
    try:
        if not {"ImageId", "PredictionString"} <= set(rows.fieldnames or ()):
            shown = ",".join(rows.fieldnames or ())[:_SHOWN]
            raise UsageError(f"{file}: the header must be ImageId,PredictionString and is {shown}")
        for row in rows:
            name, prediction = nfc(row["ImageId"]), (row["PredictionString"] or "").split()
            if name in synsets:
                raise UsageError(f"{file}: line {rows.line_num} repeats {name[:_SHOWN]}")
            if not prediction:
                continue
            if not _SYNSET.fullmatch(prediction[0]):
                raise UsageError(
                    f"{file}: line {rows.line_num} predicts {prediction[0][:_SHOWN]!r}, which is not a "
                    "synset like n03995372"
                )
            synsets[name] = prediction[0]
    except csv.Error as error:
        raise UsageError(f"{file} cannot be read as a CSV: {error}") from error
    return synsets


_SYNSET = re.compile(r"n[0-9]{8}")

_SHOWN = 200


def _read_text(file: Path) -> str:
    """Returns the text of a table, without a byte order mark."""
    try:
        require_there(file)
        if not file.is_file():  # reading a pipe may never end
            raise UsageError(f"{file} is not a file; name the table itself")
        if file.stat().st_size > MAX_BYTES:
            raise UsageError(
                f"{file} is larger than {MAX_BYTES // 2**20} MiB, too large for a table of synsets"
            )
        return file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read as UTF-8 text: {error}") from error

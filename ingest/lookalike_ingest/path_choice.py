"""Interprets a path as images: an image or a folder in a dataset, or a file or folder on disk.

A path has several readings, and the first one that matches an image counts: relative to the root of a dataset
before relative to the working directory, literally before as a pattern.
"""

import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument
from lookalike_core.sources.file_systems import is_url
from lookalike_core.text import nfc


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a path, absolute if `is_file`: an image, a folder with all below it, or a `pattern`."""

    path: str
    is_file: bool
    pattern: re.Pattern[str] | None = None

    def fits(self, path: str) -> bool:
        """Returns whether it matches the path of an image, given in composed form (NFC)."""
        if self.pattern is not None:
            return self.pattern.fullmatch(path) is not None
        return path == self.path or path.startswith(f"{self.path.rstrip('/')}/")


def list_readings(text: str) -> list[Reading]:
    """Returns the readings of a path in order; the only wildcard is `*`, for any characters.

    Raises:
        UsageError: the path is empty or ".", which names neither a folder nor a dataset.
    """
    if is_url(text):
        return list(_readings(nfc(text.rstrip("/")), is_file=True))
    relative = posixpath.normpath(text) if text else "."
    if relative == ".":
        raise UsageError(
            f"{text!r} names no image and no folder; name the folder, or the dataset", argument=Argument.PATH
        )
    paths = [(path, True) for path in _list_files(text)]
    if not relative.startswith(("/", "../")) and relative != "..":
        paths.insert(0, (relative, False))
    return [reading for path, is_file in paths for reading in _readings(nfc(path), is_file)]


def _readings(path: str, is_file: bool) -> Iterator[Reading]:
    yield Reading(path, is_file)
    if "*" in path:
        pattern = ".*".join(map(re.escape, path.split("*")))
        yield Reading(path, is_file, re.compile(pattern, re.DOTALL))


def _list_files(text: str) -> list[str]:
    """Returns the absolute paths on disk: as written, and with the links of its folders resolved.

    If the path contains `..` after a folder that may be a link, the resolved one comes first.
    """
    whole = os.path.join(os.getcwd(), os.path.expanduser(text))  # noqa: PTH109, PTH111, PTH118 - keeps ..
    fixed, star, rest = whole.partition("*")
    folder, _, name = (fixed if star else fixed.rstrip("/")).rpartition("/")
    resolved = f"{os.path.realpath(folder or '/').rstrip('/')}/{name}{star}{rest}"
    if not star and os.path.isdir(resolved):  # noqa: PTH112 - never raises
        resolved = os.path.realpath(resolved)
    found = [os.path.normpath(whole), resolved]
    return list(dict.fromkeys(reversed(found) if ".." in whole.split("/") else found))

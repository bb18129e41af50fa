"""Which images a path means: that of an image or a folder in a dataset, else that of a file on the disk.

A path has several readings, and the first that fits an image is what it means: below the root of a dataset
before below the working directory, and as it is written before as a pattern.
"""

import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument
from lookalike_core.text import nfc


@dataclass(frozen=True, slots=True)
class Reading:
    """One thing that a path may mean: an image, a folder with what is below it, or a `pattern` of images."""

    path: str
    is_file: bool
    pattern: re.Pattern[str] | None = None

    def fits(self, path: str) -> bool:
        """Whether it means an image of this path, which is in Unicode's composed form."""
        if self.pattern is not None:
            return self.pattern.fullmatch(path) is not None
        return path == self.path or path.startswith(f"{self.path.rstrip('/')}/")


def readings_of(text: str) -> list[Reading]:
    """Returns what a path may mean, the first first; of a pattern only `*` is one, for any characters.

    Raises:
        UsageError: it is empty, or means a whole folder of the disk or of every dataset without naming it.
    """
    relative = posixpath.normpath(text) if text else "."
    if relative == ".":
        raise UsageError(
            f"{text!r} names no image and no folder; name the folder, or the dataset", argument=Argument.PATH
        )
    paths = [(path, True) for path in _files(text)]
    if not relative.startswith(("/", "../")) and relative != "..":
        paths.insert(0, (relative, False))
    return [reading for path, is_file in paths for reading in _readings(nfc(path), is_file)]


def _readings(path: str, is_file: bool) -> Iterator[Reading]:
    yield Reading(path, is_file)
    if "*" in path:
        pattern = ".*".join(map(re.escape, path.split("*")))
        yield Reading(path, is_file, re.compile(pattern, re.DOTALL))


def _files(text: str) -> list[str]:
    """Where on the disk it may be: as it is named, and with the links of its folders resolved.

    Where it steps out of a folder that may be a link, the disk knows better than the text.
    """
    whole = os.path.join(os.getcwd(), os.path.expanduser(text))  # noqa: PTH109, PTH111, PTH118 - keeps ..
    fixed, star, rest = whole.partition("*")
    folder, _, name = (fixed if star else fixed.rstrip("/")).rpartition("/")
    resolved = f"{os.path.realpath(folder or '/').rstrip('/')}/{name}{star}{rest}"
    if not star and os.path.isdir(resolved):  # noqa: PTH112 - never raises
        resolved = os.path.realpath(resolved)
    found = [os.path.normpath(whole), resolved]
    return list(dict.fromkeys(reversed(found) if ".." in whole.split("/") else found))

"""What a scan finds: images, what of them is skipped, and counts of everything else."""

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from lookalike_core.errors import SkipReason
from lookalike_core.images.open_image import open_file, open_source
from lookalike_core.sources.parquet_rows import RowPlace, read_row
from lookalike_core.text import format_count, valid_text

UNKNOWN_BYTES = -1
"""The size of an image that is not known before it is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file below `root` that is named like an image; `path` is root-relative and POSIX.

    `mtime_ns` and `ctime_ns` are nanoseconds since 1970. Programs can set the first to any time; the second
    is always the last change of content, name or permissions; in an object store there is only one time, and
    an image in a Parquet dataset has that of its Parquet file. `class_level` is that of `FolderRules`.

    It can be pickled, and read by any process that reaches what the root names.
    """

    path: str
    root: Path
    bytes: int
    mtime_ns: int
    ctime_ns: int
    class_level: int = 1
    row: RowPlace | None = None
    """Where in a Parquet dataset the image is; its `bytes` are then unknown until it is read."""
    own_class: str | None = None
    """The class that a Parquet dataset gives the image, "" for none; None if folders name the classes."""

    @property
    def file(self) -> Path:
        """The absolute path; computed on demand, since most files of a known folder are never opened."""
        return self.root / self.path

    @property
    def folder_class(self) -> str | None:
        """The folder that names the class, by default the first below the root; None if there is none.

        A Parquet dataset may have another class for the image, or none.
        """
        if self.own_class is not None:
            return self.own_class or None
        if self.class_level == 1:
            head, slash, _ = self.path.partition("/")
            return head if slash else None
        folders = self.path.split("/")[:-1]
        place = self.class_level - (self.class_level > 0)
        return folders[place] if -len(folders) <= place < len(folders) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An image, or a folder with its content, that is skipped."""

    path: str
    reason: SkipReason
    is_folder: bool = False


@dataclass(slots=True)
class OtherFiles:
    """Counts of what a scan ignores: files not named like images, by suffix, linked folders, exclusions.

    `by_suffix` has suffixes in lower case, "" for names without one; beyond `max_suffixes` suffixes, files
    are counted in `total` alone. `linked_folders` are links to folders that are not followed;
    `excluded_folders` and `excluded_images` are excluded by rules, hidden ones not counted. `passed_over` are
    images that were not wanted.
    """

    total: int = 0
    linked_folders: int = 0
    excluded_folders: int = 0
    excluded_images: int = 0
    passed_over: int = 0
    by_suffix: Counter[str] = field(default_factory=Counter)
    fitting_patterns: set[str] = field(default_factory=set)
    """Exclude patterns that have excluded or re-included something."""
    max_suffixes: int = 1_000
    """The most suffixes that are counted separately: names that end in numbers would give one each."""

    def count(self, name: str) -> None:
        """Counts a file by its name."""
        suffix = _suffix(name)
        self.total += 1
        if suffix in self.by_suffix or len(self.by_suffix) < self.max_suffixes:
            self.by_suffix[suffix] += 1

    @property
    def excluded(self) -> str:
        """Returns how much was excluded: `2 folders, 1 image`."""
        counts = {"folder": self.excluded_folders, "image": self.excluded_images}
        return ", ".join(format_count(count, kind) for kind, count in counts.items() if count)

    def __str__(self) -> str:
        """Returns how many other files there are, by commonest kinds: `17 other files: 12 .mov, 5 .cr2`."""
        kinds = sorted(self.by_suffix.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN_SUFFIXES]
        parts = [f"{count} {valid_text(suffix) or 'without a suffix'}" for suffix, count in kinds]
        if (rest := self.total - sum(count for _, count in kinds)) > 0:
            parts.append(f"{rest} of other kinds")
        return f"{format_count(self.total, 'other file')}: {', '.join(parts)}"


def open_found(found: FoundFile) -> AbstractContextManager[BinaryIO]:
    """Returns a context manager that opens an entry of a scan, as `open_file` does."""
    if found.row is None:
        return open_file(found.file)
    return open_source(found.file, partial(read_row, found.row))


_SHOWN_SUFFIXES = 10
_SUFFIX_CHARACTERS = 16


def _suffix(name: str) -> str:
    """Returns the suffix of a name in lower case; one that is long or has a space counts as none."""
    dot = name.rfind(".")
    suffix = name[dot:].lower() if dot > 0 else ""
    return suffix if 1 < len(suffix) <= _SUFFIX_CHARACTERS and " " not in suffix else ""

"""Finding images: below a folder of this machine or of an object store, or in a Parquet dataset."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from lookalike_core.images.folder_rules import DEFAULT_RULES, FolderRules
from lookalike_core.images.folder_walk import FolderWalk
from lookalike_core.images.found_files import FoundFile, OtherFiles, Skipped
from lookalike_core.images.object_walk import ObjectWalk
from lookalike_core.images.parquet_walk import ParquetWalk
from lookalike_core.sources.source_path import SourcePath

__all__ = [
    "FoundFile",
    "ImageSource",
    "OtherFiles",
    "Skipped",
    "count_images",
    "has_images",
    "look_up",
    "scan",
]


class ImageSource(Protocol):
    """Lists the images below a root."""

    def entries(self) -> Iterator[FoundFile | Skipped]:
        """Yields images and what is skipped, always in the same order."""

    def at(self, paths: Iterable[str]) -> Iterator[FoundFile | Skipped]:
        """Yields the images at these root-relative paths, in their order, without those that do not exist."""

    def image_names(self) -> Iterator[str]:
        """Yields the names of images, in any order; what cannot be read has none."""


def scan(
    root: Path,
    others: OtherFiles | None = None,
    *,
    rules: FolderRules = DEFAULT_RULES,
    takes: Callable[[str], bool] | None = None,
) -> Iterator[FoundFile | Skipped]:
    """Yields images below `root` by name, depth first, and counts everything else in `others`.

    Links to files are followed. Links to folders are followed if the rules say so, after all else: each real
    folder is walked once, by its own path if it is below `root`, so that no loop is followed and nothing is
    found twice; if its own path is excluded, so is the folder, whichever link leads there. A tree may have
    any depth: content below the longest path that the system supports is skipped. Images whose root-relative
    path `takes` does not want are not looked at. `root` may also be one of an object store, or a Parquet
    dataset.

    Raises:
        UsageError: a pattern of the rules is malformed, or there is no such place in an object store.
        LookalikeError: an object store does not answer or refuses.
    """
    return _walk(root, OtherFiles() if others is None else others, rules, takes=takes).entries()


def look_up(
    root: Path, paths: Iterable[str], *, rules: FolderRules = DEFAULT_RULES
) -> Iterator[FoundFile | Skipped]:
    """Returns the files at these root-relative POSIX paths, in their order, regardless of exclusions.

    Paths that do not exist are skipped.
    """
    return _walk(root, OtherFiles(), rules).at(paths)


def count_images(root: Path, *, rules: FolderRules = DEFAULT_RULES) -> int:
    """Returns approximately how many images `scan` finds, by names alone."""
    return sum(1 for _ in _walk(root, OtherFiles(), rules).image_names())


def has_images(root: Path) -> bool:
    """Returns whether any file is named like an image, including hidden, linked and unreadable ones."""
    everything = FolderRules(default_excludes=False, follow_links=True)
    is_open = isinstance(root, SourcePath) or os.access(root, os.R_OK | os.X_OK)
    return not is_open or any(True for _ in _walk(root, OtherFiles(), everything).image_names())


def _walk(
    root: Path, others: OtherFiles, rules: FolderRules, *, takes: Callable[[str], bool] | None = None
) -> ImageSource:
    """Returns the walk for the kind of a root."""
    if not isinstance(root, SourcePath):
        return FolderWalk(root, others, rules, takes=takes)
    kind = ParquetWalk if root.is_parquet else ObjectWalk
    return kind(root, others, rules, takes=takes)

"""The records that `ingest ... --json` prints: builders return them, and the reference documents them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

from lookalike_core.errors import SkipReason
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.images.scan import Skipped as SkippedFile

from lookalike_ingest.status import CollectionStatus


class Skipped(TypedDict):
    """A file that looked like an image and was left out."""

    path: str
    """Relative to the dataset's root, with `/`."""
    reason: SkipReason
    """Why it was left out."""


def skipped_json(files: Sequence[SkippedFile]) -> list[Skipped]:
    """Returns the JSON of files that were left out."""
    return [{"path": file.path, "reason": file.reason} for file in files]


class OtherFiles(TypedDict):
    """Files that were left alone, having the ending of no image."""

    total: int
    """Number of files."""
    by_suffix: dict[str, int]
    """Ending -> number of files, most first."""


class CollectionChange(TypedDict):
    """What an ingest did to one collection, in images; of a dry run what it would have done."""

    name: str
    """The name of the collection."""
    provider: str | None
    """The execution provider that embedded; null where nothing was embedded."""
    added: int
    """Images that were new."""
    updated: int
    """Images with other bytes or another class."""
    moved: int
    """Images with another path."""
    unchanged: int
    """Images that were the same."""
    removed: int
    """Points that were removed."""
    excluded: int
    """Of those removed, how many are excluded now."""
    removed_paths: Sequence[str]
    """Paths of the points that were removed, by `--prune` or since they are excluded."""
    away_paths: Sequence[str]
    """Paths of points that stay, for their folders are empty or links lead nowhere; without `--prune` only of
    those whose images were found elsewhere, too."""


class Excluded(TypedDict):
    """What was left out by `--exclude` or by default, but for what is hidden."""

    folders: int
    """They were not looked into."""
    images: int
    """Number of images."""


class OverlappingDataset(TypedDict):
    """Another dataset of the same collections whose folder is this one's, lies in it or around it."""

    dataset: str
    root: str
    """Absolute path of its folder."""


class GoneDataset(TypedDict):
    """Another dataset of the same collections whose folder is gone, and whose images are here, too."""

    dataset: str
    root: str
    """Where its folder was."""
    points: int
    """Number of its points."""
    shared: int
    """How many of its points have the bytes of an image of this dataset."""


class Ingest(TypedDict):
    """The report of one run, also where it is interrupted."""

    schema: Literal[1]
    dataset: str
    root: Path
    """Absolute path of the folder."""
    store: str
    interrupted: bool
    """Whether it was ended by Ctrl-C, so that not all images were considered; the same command goes on."""
    found: int
    """Image files that were considered."""
    not_taken: int
    """Images that `--max-per-class` left out."""
    skipped: list[Skipped]
    """Files that could not be read."""
    other_files: OtherFiles
    """Files that are not images."""
    excluded: Excluded
    """What the rules left out."""
    linked_folders: int
    """Links to folders that were not followed."""
    rules: FolderRules
    """Those that the folder was walked by."""
    split_classes: list[str]
    """The classes, where all are parts of a split, as train and val, with folders in them; else none."""
    unused_labels: int
    """Rows of the labels that name no image here."""
    overlapping_datasets: list[OverlappingDataset]
    """Datasets whose folders overlap with this one."""
    gone_datasets: list[GoneDataset]
    """Datasets whose folder is gone and whose images are here."""
    collections: list[CollectionChange]
    """What was done to each collection."""
    took_ms: int
    """Duration in milliseconds."""
    images_per_second: float
    """Images that were read, by the duration."""
    from_stored: int
    """Vectors of a head that were computed from stored vectors of its base."""


class FailedIngest(TypedDict):
    """One of several folders that could not be ingested; the others are."""

    schema: Literal[1]
    dataset: str
    root: Path
    """Absolute path of the folder."""
    error: str
    """What is wrong with it."""


class Status(TypedDict):
    """All collections of the store, on one line."""

    schema: Literal[1]
    store: str
    collections: list[CollectionStatus]
    """The status of each collection."""
    ingest_under_way: str | None
    """Which process ingests into the store now; null where none does, and of a server."""


class Rebuild(TypedDict):
    """The report of one rebuild."""

    schema: Literal[1]
    name: str
    """The collection."""
    store: str
    points: int
    """Points of the new collection."""
    gone: int
    """Points that were given up since their images are away."""
    left_out: Sequence[Path]
    """Absolute paths of images that are there and could not be taken in."""
    skipped: list[Skipped]
    """Images that could not be read."""
    embedded: int
    """Images that were embedded again."""
    taken_over: int
    """Vectors that were copied from the old collection."""
    took_ms: int
    """Duration in milliseconds."""


class Removed(TypedDict):
    """How many points one collection lost."""

    name: str
    """The name of the collection."""
    removed: int
    """Number of points."""


class Removal(TypedDict):
    """What was removed from collections: the images that every criterion allows."""

    schema: Literal[1]
    dataset: str | None
    """Null for any."""
    paths: Sequence[str]
    """Empty for any."""
    classes: Sequence[str]
    """Empty for any; "" for images without a class."""
    store: str
    collections: list[Removed]
    """The collections that lost points."""


LINES = {
    "run": [(Ingest,), (FailedIngest,)],
    "status": [(Status,)],
    "rebuild": [(Rebuild,)],
    "remove": [(Removal,)],
}
"""Subcommand -> the forms of a line; the keys of all records of one form stand side by side."""

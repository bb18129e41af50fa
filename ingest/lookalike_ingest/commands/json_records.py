"""The records that `ingest ... --json` prints; the reference documents them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

from lookalike_core.errors import SkipReason
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.images.scan import Skipped as SkippedFile

from lookalike_ingest.status import CollectionStatus


class Skipped(TypedDict):
    """A file with an image's suffix that was not ingested."""

    path: str
    """Relative to the dataset's root, with `/`."""
    reason: SkipReason
    """Why it was left out."""


def skipped_json(files: Sequence[SkippedFile]) -> list[Skipped]:
    """Returns skipped files as JSON records."""
    return [{"path": file.path, "reason": file.reason} for file in files]


class OtherFiles(TypedDict):
    """Files that were ignored, since their suffix is not that of an image."""

    total: int
    """Number of files."""
    by_suffix: dict[str, int]
    """Suffix -> number of files, most frequent first."""


class CollectionChange(TypedDict):
    """What an ingest did to one collection, in numbers of images; in a dry run, what it would do."""

    name: str
    """The name of the collection."""
    provider: str | None
    """The execution provider that embedded images; null if none was embedded."""
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
    """How many of the removed points are excluded by the rules."""
    removed_paths: Sequence[str]
    """Paths of the removed points: of deleted files (`--prune`) and of excluded ones."""
    away_paths: Sequence[str]
    """Paths of points that stay because their folder is empty or a link is broken; without `--prune`, only
    those whose images were also found elsewhere.
    """


class Excluded(TypedDict):
    """Files and folders left out by `--exclude` or by default; hidden ones are not counted."""

    folders: int
    """Excluded folders; the images in them are not counted."""
    images: int
    """Number of images."""


class OverlappingDataset(TypedDict):
    """Another dataset of the same collections whose folder equals, contains or is inside this one's."""

    dataset: str
    root: str
    """Absolute path of its folder."""


class GoneDataset(TypedDict):
    """Another dataset of the same collections whose folder no longer exists; some of its images are here."""

    dataset: str
    root: str
    """Its former folder."""
    points: int
    """Number of its points."""
    shared: int
    """How many of its points have the same bytes as an image of this dataset."""


class Ingest(TypedDict):
    """The report of one run, also of an interrupted one."""

    schema: Literal[1]
    dataset: str
    root: Path
    """Absolute path of the folder."""
    store: str
    interrupted: bool
    """Whether Ctrl-C ended it before all images were considered; the same command continues."""
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
    """The rules applied to the folder."""
    split_classes: list[str]
    """The classes, if all are named like parts of a split (train, val) and have subfolders; else empty."""
    unused_labels: int
    """Rows of the label table that match no image here."""
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
    """Vectors computed by a head from stored vectors of its base network."""


class FailedIngest(TypedDict):
    """One of several folders that could not be ingested; the others are still ingested."""

    schema: Literal[1]
    dataset: str
    root: Path
    """Absolute path of the folder."""
    error: str
    """The error message."""


class Status(TypedDict):
    """All collections of the store, in one object."""

    schema: Literal[1]
    store: str
    collections: list[CollectionStatus]
    """The status of each collection."""
    ingest_under_way: str | None
    """The process that is ingesting into the store; null if there is none, and for a server."""


class Rebuild(TypedDict):
    """The report of one rebuild."""

    schema: Literal[1]
    name: str
    """Name of the collection."""
    store: str
    points: int
    """Points of the new collection."""
    gone: int
    """Points dropped because their images no longer exist."""
    left_out: Sequence[Path]
    """Absolute paths of existing images that could not be ingested."""
    skipped: list[Skipped]
    """Images that could not be read."""
    embedded: int
    """Images that were embedded again."""
    taken_over: int
    """Vectors copied from the old collection."""
    took_ms: int
    """Duration in milliseconds."""


class Removed(TypedDict):
    """How many points were removed from one collection."""

    name: str
    """The name of the collection."""
    removed: int
    """Number of points."""


class Removal(TypedDict):
    """What was removed from collections: the images that match every criterion."""

    schema: Literal[1]
    dataset: str | None
    """The dataset to match; null for any."""
    paths: Sequence[str]
    """The paths to match; empty for any."""
    classes: Sequence[str]
    """The classes to match; empty for any, "" for images without a class."""
    store: str
    collections: list[Removed]
    """The collections that lost points."""


LINES = {
    "run": [(Ingest,), (FailedIngest,)],
    "status": [(Status,)],
    "rebuild": [(Rebuild,)],
    "remove": [(Removal,)],
}
"""Subcommand -> the possible records of a line; all keys of one record are listed together."""

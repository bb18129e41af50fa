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


def skipped_json(files: Sequence[SkippedFile]) -> list[Skipped]:
    """Returns skipped files as JSON records."""
    return [{"path": file.path, "reason": file.reason} for file in files]


class OtherFiles(TypedDict):
    """Files that were ignored, since their suffix is not that of an image."""

    total: int
    by_suffix: dict[str, int]
    """Suffix -> number of files, most frequent first."""


class CollectionChange(TypedDict):
    """What an ingest did to one collection, in numbers of images; in a dry run, what it would do."""

    name: str
    provider: str | None
    """The execution provider that embedded images; null if none was embedded."""
    added: int
    updated: int
    moved: int
    unchanged: int
    removed: int
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


class OverlappingDataset(TypedDict):
    """Another dataset of the same collections whose folder equals, contains or is inside this one's."""

    dataset: str
    root: str


class GoneDataset(TypedDict):
    """Another dataset of the same collections whose folder no longer exists; some of its images are here."""

    dataset: str
    root: str
    """Its former folder."""
    points: int
    shared: int
    """How many of its points have the same bytes as an image of this dataset."""


class Ingest(TypedDict):
    """The report of one run, also of an interrupted one."""

    schema: Literal[1]
    dataset: str
    root: Path
    """Absolute path of the folder."""
    store: str
    """`embedded`, `embedded:DIR` or a server's URL without credentials."""
    interrupted: bool
    """Whether Ctrl-C ended it before all images were considered; the same command continues."""
    found: int
    """Image files that were considered."""
    not_taken: int
    """Images that `--max-per-class` left out."""
    skipped: list[Skipped]
    other_files: OtherFiles
    excluded: Excluded
    linked_folders: int
    """Links to folders that were not followed."""
    rules: FolderRules
    """The rules applied to the folder."""
    split_classes: list[str]
    """The classes, if all are named like parts of a split (train, val) and have subfolders; else empty."""
    unused_labels: int
    """Rows of the label table that match no image here."""
    overlapping_datasets: list[OverlappingDataset]
    gone_datasets: list[GoneDataset]
    collections: list[CollectionChange]
    took_ms: int
    images_per_second: float
    from_stored: int
    """Vectors computed by a head from stored vectors of its base network."""


class FailedIngest(TypedDict):
    """One of several folders that could not be ingested; the others are still ingested."""

    schema: Literal[1]
    dataset: str
    root: Path
    error: str
    """The error message."""


class Status(TypedDict):
    """All collections of the store, in one object."""

    schema: Literal[1]
    store: str
    collections: list[CollectionStatus]
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
    embedded: int
    taken_over: int
    """Vectors copied from the old collection."""
    took_ms: int


class Removed(TypedDict):
    """How many points were removed from one collection."""

    name: str
    removed: int


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


LINES = {
    "run": [(Ingest,), (FailedIngest,)],
    "status": [(Status,)],
    "rebuild": [(Rebuild,)],
    "remove": [(Removal,)],
}
"""Subcommand -> the possible records of a line; all keys of one record are listed together."""

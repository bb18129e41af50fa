"""The records that `ingest ... --json` prints; the reference documents them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

from lookalike_core.errors import SkipReason
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.images.scan import Skipped as SkippedFile
from lookalike_core.stores.server_cluster import Peer

from lookalike_ingest.backup import BackupReport
from lookalike_ingest.integrity.faults import Finding, IndexRecall
from lookalike_ingest.status import CollectionStatus
from lookalike_ingest.watching.schedule import Trigger


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
    waiting: int
    """Points whose files are gone, and that stay until they have been for the time of `--prune-after`."""


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
    part: str | None
    """The part of the dataset that was ingested, as `2/8`; null for all of it."""
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


class WatchedFolder(TypedDict):
    """What one run of a watch did with one folder."""

    root: Path
    """Absolute path of the folder."""
    report: Ingest | None
    """The report of its ingest; null if there was none."""
    waiting: bool
    """Whether the folder is missing or holds no images, so that nothing was done."""
    error: str | None
    """Why it was not ingested; null if it was, or is waited for."""


class Watch(TypedDict):
    """One run of a watch, also one that changed nothing."""

    schema: Literal[1]
    started_at: str
    """When it began: ISO 8601, in UTC."""
    trigger: Trigger
    """Why it began."""
    folders: list[WatchedFolder]
    """What it did with each folder; one that was stopped may not have come to all."""
    took_ms: int
    """Duration in milliseconds."""


class Status(TypedDict):
    """All collections of the store, in one object."""

    schema: Literal[1]
    store: str
    collections: list[CollectionStatus]
    """The status of each collection."""
    ingest_under_way: str | None
    """The process that is ingesting into the store; null if there is none, and for a server."""
    peers: list[Peer]
    """The peers of the server's cluster; none for a server alone, or one that may not say it."""


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


class Import(TypedDict):
    """What was imported into one collection."""

    schema: Literal[1]
    collection: str
    store: str
    file: Path
    """The file that was imported."""
    added: int
    """Images that were new."""
    replaced: int
    """Images that the collection had already."""
    points: int
    """The number of images of the collection now."""
    datasets: Mapping[str, str]
    """The datasets of the file -> their folders, which need not exist on this machine."""
    calibration_imported: bool
    """Whether the collection now has the calibration of the file."""
    missing_head: Path | None
    """Where the head of the collection is expected, if it is not there; else null."""
    took_ms: int
    """Duration in milliseconds."""


class Verify(TypedDict):
    """The verification of one collection."""

    schema: Literal[1]
    collection: str
    """Name of the collection."""
    store: str
    sound: bool
    """Whether no fault was found; exit code 1 if it is false for any collection."""
    points: int
    """Points of the collection."""
    checked: int
    """Points whose id, payload, vector and file were looked at, without reading the file."""
    away: int
    """Points whose files may be on a disk that is not mounted; they are not counted as wrong."""
    reread: int
    """Points whose files were read, hashed and embedded again."""
    all: bool
    """Whether that was to be all of them (`--all`)."""
    sampled: int
    """How many of those are of the random sample; further ones have another size than was ingested."""
    sampled_wrong: int
    """How many points of the sample are wrong."""
    unreadable: int
    """Points that were not compared, since their files cannot be read or decoded here."""
    rounded: int
    """Points whose vectors differ as those of another execution provider do, which is tolerated."""
    touched: int
    """Points whose file has another time and the same size, which is no fault."""
    wrong: int
    """Points with a fault."""
    at_most_wrong: int
    """With 95 % confidence no more points are wrong, of those that are not away."""
    share_at_most_wrong: float
    """The same as a share of the points that are not away, 0 to 1."""
    largest_deviation: float | None
    """The largest distance between a stored vector that was accepted and that of its file, relative to its
    length; null if none was compared."""
    recorded_provider: str
    """The execution provider that the collection's first vectors were computed on."""
    provider: str | None
    """The execution provider that images were embedded on now; null if none was."""
    list_compared: bool
    """Whether the list of points beside the collection was compared with them."""
    recall: IndexRecall | None
    """The recall@10 of the search index; null if there is none."""
    counts: dict[str, int]
    """Kind of fault -> number of findings."""
    findings: Sequence[Finding]
    """The findings, at most 1,000 of each kind."""
    took_ms: int
    """Duration in milliseconds."""


class Copy(TypedDict):
    """A collection that was copied, or whose copy exists already."""

    schema: Literal[1]
    name: str
    """The name of the collection."""
    store: str
    """The store that it is in."""
    new_name: str
    """The name of the copy."""
    new_store: str
    """The store that the copy is in."""
    points: int
    """Points of the copy, each of which was compared with its source."""
    written: int
    """Points that this run wrote; the others were there already."""
    was_whole: bool
    """Whether the copy was complete before this run, which wrote nothing then."""
    compared_ms: int
    """Milliseconds for the last comparison of all points."""
    indexed_ms: int
    """Milliseconds for the search index and the payload cache of an embedded copy."""
    took_ms: int
    """Duration in milliseconds."""


class Backup(TypedDict):
    """A backup that was made, restored, or only checked."""

    schema: Literal[1]
    name: str
    """The name of the collection."""
    file: Path
    """Absolute path of the backup."""
    kind: Literal["embedded", "server"]
    """The kind of store that it is of, and can be restored to."""
    store: str | None
    """The store of the collection; null if the backup was only checked."""
    points: int
    """Number of points."""
    head: str | None
    """The name of the head that the backup holds; null if there is none."""
    files: int
    """Number of files in the backup."""
    bytes: int
    """Bytes of the backup."""
    created_at: str
    """When it was made, ISO 8601 in UTC."""
    took_ms: int
    """Duration in milliseconds."""


def backup_json(report: BackupReport) -> Backup:
    """Returns what was done with a backup as a JSON record."""
    return {
        "schema": 1,
        "name": report.name,
        "file": report.path,
        "kind": report.kind.value,
        "store": report.store,
        "points": report.points,
        "head": report.head,
        "files": report.files,
        "bytes": report.bytes,
        "created_at": report.created_at,
        "took_ms": round(report.took_s * 1000),
    }


LINES = {
    "run": [(Ingest,), (FailedIngest,)],
    "watch": [(Watch,)],
    "status": [(Status,)],
    "verify": [(Verify,)],
    "rebuild": [(Rebuild,)],
    "remove": [(Removal,)],
    "import": [(Import,)],
    "copy": [(Copy,)],
    "backup": [(Backup,)],
    "restore": [(Backup,)],
}
"""Subcommand -> the possible records of a line; all keys of one record are listed together."""

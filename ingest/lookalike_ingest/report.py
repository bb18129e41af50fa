"""The report of an ingest."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from lookalike_core.errors import LookalikeError
from lookalike_core.images.scan import OtherFiles, Skipped
from lookalike_core.text import format_count

from lookalike_ingest.changes import Change
from lookalike_ingest.parts import Part
from lookalike_ingest.request import Dataset

NEARLY_ALL = 0.9
"""Share of a gone dataset's images that must be here for it to count as renamed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneDataset:
    """Another dataset, whose folder is gone; `shared` of its `points` have the bytes of an image here."""

    name: str
    root: str
    points: int
    shared: int

    @property
    def is_renamed(self) -> bool:
        """Whether so many of its images are here that its folder was renamed, rather than not mounted."""
        return self.shared >= NEARLY_ALL * self.points


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlappingDataset:
    """Another dataset that holds files of this one.

    Its folder, with links resolved, equals, contains or is inside this one's, or links lead from one to the
    other.
    """

    name: str
    root: str
    is_stored: bool = True
    """Whether it is in a collection; false if only the same dry run has it."""


@dataclass(slots=True, kw_only=True)
class CollectionReport:
    """What was done to one collection; `provider` is None if nothing was embedded.

    `counts` are of `Change`s, of points "removed" and, among these, "excluded" by the dataset's rules.
    `removed` are the paths of removed points, in a dry run those that would be removed. `away` are paths of
    points that stay although their files are not found, since their disk may not be mounted: all of them with
    pruning, without it those whose bytes are in a new file. `waiting` is the number of points whose files are
    missing for less than the time to prune after. `calibration_dropped` is true if the collection
    had a calibration and lost it, because its images changed.
    """

    name: str
    provider: str | None = None
    counts: Counter[str] = field(default_factory=Counter)
    removed: list[str] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    waiting: int = 0
    calibration_dropped: bool = False


@dataclass(slots=True, kw_only=True)
class IngestReport:
    """What an ingest did. `embedded` counts images, whatever the number of collections.

    `part` is the part of the dataset that was ingested, None for all of it. `found` is the number of images
    to ingest, `not_taken` that of the folder's other images, without those of other parts. `others` are files
    of other kinds, and what else the walk left out. `split_classes` are the classes, if all are named
    like the parts of a split dataset. `from_stored` counts images whose vectors a head made from stored ones
    of its base network. `needed` counts skipped images by the package to install to read them. `reading_s` is
    the time from the first file to the last point written.
    """

    dataset: Dataset
    store: str
    part: Part | None = None
    collections: list[CollectionReport] = field(default_factory=list)
    found: int = 0
    not_taken: int = 0
    embedded: int = 0
    from_stored: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    others: OtherFiles = field(default_factory=OtherFiles)
    needed: Counter[str] = field(default_factory=Counter)
    unused_labels: int = 0
    split_classes: Sequence[str] = ()
    overlapping: list[OverlappingDataset] = field(default_factory=list)
    gone_datasets: list[GoneDataset] = field(default_factory=list)
    interrupted: bool = False
    reading_s: float = 0.0
    took_s: float = 0.0

    @property
    def used(self) -> bool:
        """Whether any of the images is in a collection now."""
        return any(collection.counts[change] for collection in self.collections for change in Change)

    def check(self, *, strict: bool = False) -> None:
        """Raises if no image could be used or, if `strict`, any was skipped.

        Raises:
            LookalikeError: images were found and none could be used, or one was skipped.
        """
        if self.found and not self.used:
            raise LookalikeError(f"no image in {self.dataset.root} could be used, of {self.found} found")
        if strict and self.skipped:
            raise LookalikeError(f"{format_count(len(self.skipped), 'image')} skipped")

    @property
    def images_per_second(self) -> float:
        """Embedded images per second of `reading_s`."""
        return self.embedded / self.reading_s if self.reading_s else 0.0

"""What an ingest did."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from lookalike_core.errors import LookalikeError
from lookalike_core.images.scan import OtherFiles, Skipped
from lookalike_core.text import counted

from lookalike_ingest.changes import Change
from lookalike_ingest.request import Dataset

NEARLY_ALL = 0.9
"""From which part of a gone dataset's images on it counts as renamed, if they are here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneDataset:
    """Another dataset whose folder is not there: `shared` of its `points` have the bytes of an image here."""

    name: str
    root: str
    points: int
    shared: int

    @property
    def is_renamed(self) -> bool:
        """Whether so many of its images are here that its folder is hardly a disk that is away."""
        return self.shared >= NEARLY_ALL * self.points


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlappingDataset:
    """Another dataset that holds files of this one.

    Its folder, links resolved, is this one's, lies in it or around it, or links lead from one to the other.
    """

    name: str
    root: str
    is_stored: bool = True
    """Whether a collection has it already, and not only this dry run."""


@dataclass(slots=True, kw_only=True)
class CollectionReport:
    """What became of one collection; `provider` is None where nothing was embedded.

    `removed` are the paths of the points that went, or in a dry run would go, of which the counted `excluded`
    are left out by the dataset's rules. `away` are those of the points that stay although no file was found,
    for it may be away only: with pruning all, without it those whose bytes were found in a new file.
    `calibration_dropped` says that the collection had one, which what was written has outdated.
    """

    name: str
    provider: str | None = None
    counts: Counter[str] = field(default_factory=Counter)
    removed: list[str] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    calibration_dropped: bool = False


@dataclass(slots=True, kw_only=True)
class IngestReport:
    """What an ingest did. `embedded` counts images, whatever the number of collections.

    `found` are the images that were to be taken in, `not_taken` those of the folder that were not.
    `others` are the files of other kinds that lie beside them, and what else the walk passed over.
    `split_classes` are the classes where all are named like the parts of a dataset that is split.
    `from_stored` are images that no network looked at, since a head was put on their stored vectors.
    `needed` is what has to be installed for some of the skipped images, and for how many.
    """

    dataset: Dataset
    store: str
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
        """Whether any image is in any collection now, however it came there."""
        return any(collection.counts[change] for collection in self.collections for change in Change)

    def check(self, *, strict: bool = False) -> None:
        """Refuses an ingest that came to nothing; a `strict` one, where any image was skipped.

        Raises:
            LookalikeError: images were found and none could be used, or was to be skipped.
        """
        if self.found and not self.used:
            raise LookalikeError(f"no image in {self.dataset.root} could be used, of {self.found} found")
        if strict and self.skipped:
            raise LookalikeError(f"{counted(len(self.skipped), 'image')} skipped")

    @property
    def images_per_second(self) -> float:
        """Images embedded, over the time from the first file looked at to the last point written."""
        return self.embedded / self.reading_s if self.reading_s else 0.0

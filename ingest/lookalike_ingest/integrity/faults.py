"""The kinds of faults that a verification finds, and its report. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

LISTED = 1_000
"""How many findings of each kind are listed; all are counted."""


class Fault(StrEnum):
    """What is wrong with a point, or with the collection."""

    VECTOR_INVALID = "vector-invalid"
    """The stored vector is not finite or, in a cosine collection, not of length 1."""
    VECTOR_DIFFERS = "vector-differs"
    """The stored vector is not that of the file, whose bytes are those that were ingested."""
    VECTORS_SWAPPED = "vectors-swapped"
    """The vector of the file is stored with another image, whose own vector is another one."""
    OTHER_MODEL = "other-model"
    """Most vectors differ from those of the collection's model, or as those of another model do."""
    FILE_REPLACED = "file-replaced"
    """The file has other bytes, with the size and the time that were ingested."""
    FILE_CHANGED = "file-changed"
    """The file has other bytes, and another size or time: it was changed after the last ingest."""
    FILE_MISSING = "file-missing"
    """The file was deleted, and its point is still there."""
    PAYLOAD_DIFFERS = "payload-differs"
    """The payload is malformed, or is not that of the file, although the vector is."""
    ID_DIFFERS = "id-differs"
    """The id does not follow from dataset and path."""
    LIST_DIFFERS = "list-differs"
    """The list of points beside the collection is of other points or payloads than the collection."""
    STORE_DAMAGED = "store-damaged"
    """Files of the collection are lost or damaged: points, payloads or vectors are lost or unreadable."""
    REPLICAS_DIFFER = "replicas-differ"
    """The replicas on a server have other payloads or vectors for the point."""
    INDEX_RECALL = "index-recall"
    """The search index misses neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault: of a point, or of the collection where `path` is None."""

    fault: Fault
    detail: str
    """What was found."""
    dataset: str | None = None
    path: str | None = None
    """The path in the dataset."""
    id: str | None = None
    """The id of the point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRecall:
    """How many of the ten nearest neighbours the search index finds, with a 95 % interval."""

    queries: int
    """How many stored vectors were searched with."""
    value: float
    """The share of the exact neighbours that were found."""
    low: float
    """The lower end of the interval."""
    high: float
    """The upper end of the interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a verification of one collection found; `is_sound` is whether that was nothing."""

    collection: str
    points: int
    """Points of the collection."""
    checked: int
    """Points whose id, payload and vector were checked, which is all that can be read."""
    away: int
    """Points whose files may be on a disk that is not mounted; they are not counted as wrong."""
    reread: int
    """Points whose files were read, hashed and embedded again."""
    is_all: bool
    """Whether the files of all points were to be read again."""
    sampled: int
    """Points of the random sample that were read again."""
    sampled_wrong: int
    """How many of those are wrong."""
    unreadable: int
    """Points whose files cannot be read or decoded here, and were therefore not compared."""
    rounded: int
    """Points whose vectors differ as those of another execution provider do, which is tolerated."""
    touched: int
    """Points whose file has another time and the same size; those that were read have the same bytes."""
    wrong: int
    """Points with a fault."""
    at_most_wrong: int
    """With 95 % confidence, no more points are wrong, of those that are not away."""
    largest_deviation: float | None
    """The largest distance of a tolerated vector from the stored one; None if none was compared."""
    recorded_provider: str
    """The execution provider that the collection's first vectors were computed on."""
    provider: str | None
    """The execution provider that files were embedded on now; None if none was."""
    list_compared: bool
    """Whether the list of points was compared; a server has none, nor has an interrupted ingest."""
    recall: IndexRecall | None
    """The recall of the search index; None if there is no index."""
    counts: Mapping[Fault, int]
    """How many findings there are of each kind."""
    findings: Sequence[Finding]
    """The findings, at most 1,000 of each kind."""
    took_s: float
    """Duration in seconds."""

    @property
    def is_sound(self) -> bool:
        """Whether no fault was found."""
        return not self.counts

    @property
    def share_at_most_wrong(self) -> float:
        """With 95 % confidence, no larger share of the points that are not away is wrong."""
        present = self.points - self.away
        return self.at_most_wrong / present if present else 0.0


class Findings:
    """Collects findings: counts all, lists the first of each kind."""

    def __init__(self, listed: int = LISTED) -> None:
        self._listed = listed
        self._counts: dict[Fault, int] = {}
        self._findings: list[Finding] = []
        self.wrong_ids: set[str] = set()
        """Ids of points with a finding."""

    def add(self, *found: Finding) -> None:
        """Adds findings of points, or of the collection."""
        self.wrong_ids |= {one.id for one in found if one.id is not None}
        for one in found:
            self._counts[one.fault] = self._counts.get(one.fault, 0) + 1
            if self._counts[one.fault] <= self._listed:
                self._findings.append(one)

    @property
    def counts(self) -> dict[Fault, int]:
        """Fault -> number of findings, in the order of `Fault`."""
        return {fault: self._counts[fault] for fault in Fault if fault in self._counts}

    @property
    def listed(self) -> list[Finding]:
        """The listed findings, by kind, dataset and path."""
        order = list(Fault)
        return sorted(
            self._findings,
            key=lambda one: (order.index(one.fault), one.dataset or "", one.path or "", one.id or ""),
        )

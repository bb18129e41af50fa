"""The JSON of an audit, for `search audit --json`, for its report and for `search serve`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

from lookalike_core.errors import SkipReason
from lookalike_core.stores.points import Payload

from lookalike_search.analysis.audit import Across, Audit
from lookalike_search.analysis.audit import WrongLabel as FoundWrongLabel
from lookalike_search.analysis.image_faults import Fault
from lookalike_search.analysis.outliers import Measure
from lookalike_search.asking.answer_records import Classified


class AuditedImage(Classified):
    """An image that an audit names."""

    id: str
    """The point's UUID."""
    dataset: str
    path: str
    """Relative to the dataset's root, with `/`."""
    file: Path | None
    """Absolute path; null where the dataset's root is unknown."""


class WrongLabel(AuditedImage):
    """An image whose class is probably wrong."""

    chance: float
    """The chance that its class is wrong."""
    suggested: str
    """The class that it should have."""
    suggested_chance: float
    """The chance that this class is right."""
    false_discovery_rate: float
    """The expected share of right labels among this one and all likelier ones."""
    example: AuditedImage | None
    """The nearest image of the suggested class."""


class AuditedOutlier(AuditedImage):
    """An image that is unlike the images that have a class."""

    score: float
    """How unlike it is; comparable within one audit only."""
    p: float
    """The share of the images with a class that are at least as unlike the others."""
    false_discovery_rate: float | None
    """The expected share of ordinary images among this one and all less likely ones; null with a class."""


class AuditedPair(TypedDict):
    """Two images that are the same or nearly so."""

    first: AuditedImage
    """The first by dataset and path."""
    second: AuditedImage
    """The second by dataset and path."""
    similarity: float
    """Cosine similarity; 1 where the bytes are the same."""
    identical: bool
    """Whether the bytes are the same."""
    across: Sequence[Across]
    """What lies between them."""


AuditedClass = TypedDict(
    "AuditedClass",
    {"class": str, "other": str, "taken": int, "images": int, "false_discovery_rate": float},
)
"""A class, `taken` of whose `images` have more votes for the other class."""


class FaultyImage(AuditedImage):
    """A blank, dark or blurred image."""

    fault: Fault
    """What is wrong with it."""
    value: float
    """The measure that says so."""
    lower: float
    """The share of the images that were read whose measure is at most that."""


class AuditCounts(TypedDict):
    """How many findings there are of each kind, with those that are not listed."""

    wrong_labels: int
    """Images whose class is probably wrong."""
    outliers: int
    """Images that are unlike the others."""
    near_duplicates: int
    """Pairs of images across classes, datasets or splits."""
    classes: int
    """Classes that are taken for another."""
    faults: int | None
    """Blank, dark and blurred images; null without `--files`."""


class CollectionAudit(TypedDict):
    """What an audit of a collection found, at most `--limit` of each kind."""

    schema: Literal[1]
    collection: str
    store: str
    images: int
    """Images, each file once."""
    unlabelled: int
    """Those of them without a class."""
    judged: int
    """Images whose label was judged."""
    noise: float | None
    """The estimated share of wrong labels among them; null where none were judged."""
    false_discoveries: float
    """The false discovery rate that lists end at."""
    found: AuditCounts
    """How many findings there are of each kind."""
    wrong_labels: list[WrongLabel]
    """The likeliest first."""
    outlier_measure: Measure
    """How outliers were measured."""
    outliers: list[AuditedOutlier]
    """Those without a class first, the most unlike first."""
    near_duplicates: list[AuditedPair]
    """Those of the same bytes first, then the most similar."""
    classes: list[AuditedClass]
    """The likeliest first."""
    faults: list[FaultyImage] | None
    """Those with the lowest measure first; null without `--files`."""
    unread: Mapping[SkipReason, int]
    """Why files could not be read, with their number."""
    notes: Sequence[str]
    """Why something was not audited."""


def audit_json(audit: Audit, store: str, *, limit: int, false_discoveries: float) -> CollectionAudit:
    """Returns an audit as JSON, with at most `limit` findings of each kind."""
    return {
        "schema": 1,
        "collection": audit.collection,
        "store": store,
        "images": audit.images,
        "unlabelled": audit.unlabelled,
        "judged": audit.judged,
        "noise": audit.noise,
        "false_discoveries": false_discoveries,
        "found": {
            "wrong_labels": len(audit.wrong_labels),
            "outliers": len(audit.outliers),
            "near_duplicates": len(audit.near_pairs),
            "classes": len(audit.overlaps),
            "faults": None if audit.faults is None else len(audit.faults),
        },
        "wrong_labels": [label_json(each) for each in audit.wrong_labels[:limit]],
        "outlier_measure": audit.outlier_measure,
        "outliers": [
            {
                **_image_json(each.payload, each.file),
                "score": each.score,
                "p": each.p_value,
                "false_discovery_rate": each.false_discovery_rate,
            }
            for each in audit.outliers[:limit]
        ],
        "near_duplicates": [
            {
                "first": _image_json(each.payload, each.file),
                "second": _image_json(each.other, each.other_file),
                "similarity": each.similarity,
                "identical": each.is_identical,
                "across": each.across,
            }
            for each in audit.near_pairs[:limit]
        ],
        "classes": [
            {
                "class": each.class_name,
                "other": each.other,
                "taken": each.taken,
                "images": each.images,
                "false_discovery_rate": each.false_discovery_rate,
            }
            for each in audit.overlaps[:limit]
        ],
        "faults": None
        if audit.faults is None
        else [
            {
                **_image_json(each.payload, each.file),
                "fault": each.fault,
                "value": each.value,
                "lower": each.lower,
            }
            for each in audit.faults[:limit]
        ],
        "unread": audit.unread,
        "notes": audit.notes,
    }


def label_json(each: FoundWrongLabel) -> WrongLabel:
    """Returns an image whose class is probably wrong as JSON."""
    return {
        **_image_json(each.payload, each.file),
        "chance": each.chance,
        "suggested": each.suggested,
        "suggested_chance": each.suggested_chance,
        "false_discovery_rate": each.false_discovery_rate,
        "example": _image_json(each.example, each.example_file) if each.example else None,
    }


def _image_json(payload: Payload, file: Path | None) -> AuditedImage:
    return {
        "id": payload.id,
        "dataset": payload.dataset,
        "path": payload.path,
        "class": payload.class_name,
        "file": file,
    }

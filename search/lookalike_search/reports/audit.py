"""What an audit's report and its page show; the page of `search audit --html`, with images side by side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from lookalike_search.analysis.audit import Audit
from lookalike_search.analysis.audit_json import AuditedImage, CollectionAudit, audit_json
from lookalike_search.analysis.image_faults import BELOW, Fault
from lookalike_search.reports.page import Page
from lookalike_search.reports.thumbnail_gallery import Frame, Gallery


class Finding(StrEnum):
    """A kind of findings, by its name in the JSON of an audit."""

    WRONG_LABELS = "wrong_labels"
    OUTLIERS = "outliers"
    NEAR_DUPLICATES = "near_duplicates"
    CLASSES = "classes"
    FAULTS = "faults"


_TITLES = {
    Finding.WRONG_LABELS: "Wrong labels",
    Finding.OUTLIERS: "Outliers",
    Finding.NEAR_DUPLICATES: "Near-duplicates",
    Finding.CLASSES: "Classes that look the same",
    Finding.FAULTS: "Faulty images",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPart:
    """The findings of a kind: those of the record, `count` in all, and what they mean."""

    kind: Finding
    title: str
    explanation: str
    count: int
    findings: Sequence[Mapping[str, Any]]


def audit_page(audit: Audit, *, limit: int, false_discoveries: float) -> Page:
    """Returns the page of an audit with at most `limit` findings of each kind."""
    record = audit_json(audit, "", limit=limit, false_discoveries=false_discoveries)
    gallery = Gallery.of(image["file"] for image in _images(record))

    def frame(image: AuditedImage) -> Frame:
        return gallery.frame(image["file"])

    return Page("audit.html", gallery=gallery, frame=frame, audit=record, parts=audit_parts(record), to=None)


def audit_parts(record: CollectionAudit) -> list[AuditPart]:
    """Returns the findings of an audit by their kinds; of faulty images only where files were read."""
    parts = []
    for kind, explanation in _explanations(record["false_discoveries"]).items():
        count = record["found"][kind.value]
        if count is not None:
            findings = cast("Sequence[Mapping[str, Any]]", record[kind.value])
            parts.append(
                AuditPart(
                    kind=kind,
                    title=_TITLES[kind],
                    explanation=explanation,
                    count=count,
                    findings=findings,
                )
            )
    return parts


def _explanations(false_discoveries: float) -> dict[Finding, str]:
    return {
        Finding.WRONG_LABELS: "A chance is that of the label being wrong, by the classes of the image's "
        "nearest neighbours. Of those listed a share of "
        f"about {100 * false_discoveries:.3g} % is right nevertheless.",
        Finding.OUTLIERS: "Images that are unlike any class: those without a class by their false discovery "
        "rate, and of the others the farthest in a hundred.",
        Finding.NEAR_DUPLICATES: "Images that are the same or nearly so, but of other classes, datasets or "
        "splits: a split measures nothing with images that were trained on.",
        Finding.CLASSES: "Classes more than a quarter of whose images have more votes for another class than "
        "for their own.",
        Finding.FAULTS: "By the grey values, 0 to 255, of the square that the networks see: blank with a "
        f"standard deviation below {BELOW[Fault.BLANK]:g}, dark with 95 % of them below "
        f"{BELOW[Fault.DARK]:g}, blurred with a variance of the Laplacian below {BELOW[Fault.BLURRED]:g}.",
    }


def _images(record: CollectionAudit) -> Iterator[AuditedImage]:
    for label in record["wrong_labels"]:
        yield label
        if label["example"] is not None:
            yield label["example"]
    yield from record["outliers"]
    for pair in record["near_duplicates"]:
        yield from (pair["first"], pair["second"])
    yield from record["faults"] or ()

"""The page of `search privacy --html`: figures, and originals beside their reconstructions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lookalike_core.images.resizing import resize
from lookalike_core.images.thumbnails import Thumbnail, encode

from lookalike_search.analysis.inversion import Attacker, ImageArray
from lookalike_search.analysis.inversion_attack import Example, Group
from lookalike_search.analysis.privacy import PrivacyReport
from lookalike_search.reports.page import Page

EDGE = 96
"""Pixels to which 32 x 32 are enlarged on the page, smoothly, as an attacker would."""

QUALITY = 85

_EXPLAINED = {
    Group.TRAINED: "this attacker had these images, and trained on them",
    Group.UNSEEN: "the same images, by decoders that were not trained on them",
    Group.UNSEEN_CLASSES: "images of classes that this attacker did not have",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownExample:
    """An original and its reconstructions, as thumbnails."""

    path: str
    class_name: str | None
    original: Thumbnail
    reconstructions: Sequence[tuple[Attacker, Thumbnail]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The examples of a group."""

    group: Group
    explanation: str
    examples: Sequence[ShownExample]


def privacy_page(report: PrivacyReport, *, seed: int) -> Page:
    """Returns the page of an attack."""
    return Page(
        "privacy.html",
        report=report,
        rows=report.result.rows,
        galleries=list(_galleries(report)),
        seed=seed,
    )


def _galleries(report: PrivacyReport) -> Iterator[Gallery]:
    for group, explanation in _EXPLAINED.items():
        examples = [each for each in report.result.examples if each.group is group]
        if examples:
            yield Gallery(
                group=group, explanation=explanation, examples=[_show(report, each) for each in examples]
            )


def _show(report: PrivacyReport, example: Example) -> ShownExample:
    payload = report.payloads[example.row]
    return ShownExample(
        path=payload.path,
        class_name=payload.class_name or None,
        original=_thumbnail(report.images[example.row]),
        reconstructions=[(name, _thumbnail(image)) for name, image in example.reconstructions.items()],
    )


def _thumbnail(image: ImageArray) -> Thumbnail:
    return encode(resize(image, EDGE, EDGE), quality=QUALITY)

"""The page of `search evaluate --html`: figures, who is taken for whom, and the images behind it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.overlapping_roots import file_of
from lookalike_core.stores.points import Payload
from numpy.typing import NDArray

from lookalike_search.evaluation.comparisons import Comparison
from lookalike_search.evaluation.head_splits import MEANINGS, Part, PartFigures
from lookalike_search.evaluation.leave_one_out import countable
from lookalike_search.evaluation.runs import Setting
from lookalike_search.evaluation.summary import FIGURES, ClassFigures, Evaluation, worst_first
from lookalike_search.reports.page import Page
from lookalike_search.reports.thumbnail_gallery import Gallery

FileOf = Callable[[Payload], Path | None]

RULE = VoteRule.NEARER_TIES
"""The vote whose wrong verdicts are shown, as that of `search query`."""

EXAMPLES = 8
"""Pairs of images shown of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionLimits:
    """How much of a collection's evaluation is shown."""

    table_classes: int = 25
    """Classes in the confusion table; of more, those with the most wrong neighbours."""

    confusions: int = 60
    """Pairs of classes that are shown with examples, the worst first."""

    wrong_queries: int = 1_000
    """Queries with a wrong verdict that are shown, the worst first."""


SECTION_LIMITS = SectionLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageView:
    """An image of the collection; `score` is its similarity or distance where it is a neighbour."""

    path: str
    file: Path | None
    class_name: str
    rank: int = 0
    score: float = 0.0
    is_right: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionView:
    """Neighbours of `intruder`'s class that images of another have; `pairs` are the nearest of them."""

    anchor: str
    own: str
    intruder: str
    count: int
    share: float
    pairs: Sequence[tuple[ImageView, ImageView]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellView:
    """A cell of the confusion table.

    `heat` is 0 to 1 at the worst confusion, `anchor` leads to examples where there are any.
    """

    count: int
    share: float
    heat: float
    is_right: bool
    anchor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongView:
    """A query whose verdict is wrong, with the neighbours that voted."""

    query: ImageView
    verdict: str
    neighbours: Sequence[ImageView]


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionView:
    """One collection: `columns` are the classes of its confusion table, `rows` theirs with their cells.

    `alone` is how many images have no other of their class to find, `in_small_classes` how many fewer than
    ten.
    """

    anchor: str
    evaluation: Evaluation
    differences: Sequence[Comparison]
    parts: Sequence[PartFigures]
    score: str
    alone: int
    in_small_classes: int
    classes: Sequence[ClassFigures]
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[CellView]]]
    confusions: Sequence[ConfusionView]
    wrong: Sequence[WrongView]
    wrong_count: int

    def files(self) -> Iterator[Path | None]:
        """Every image of the section."""
        for confusion in self.confusions:
            for query, neighbour in confusion.pairs:
                yield from (query.file, neighbour.file)
        for case in self.wrong:
            yield case.query.file
            yield from (neighbour.file for neighbour in case.neighbours)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """All that the page says; `figures` are their keys with what people call them."""

    k: int
    sections: Sequence[SectionView]
    figures: Mapping[str, str] = field(default_factory=lambda: FIGURES)
    rule: VoteRule = RULE
    meanings: Mapping[Part, str] = field(default_factory=lambda: MEANINGS)


def evaluation_report(
    settings: Sequence[Setting], manifests: Sequence[CollectionManifest], *, k: int
) -> EvaluationReport:
    """Returns what the page says of evaluated settings, each with the manifest of its first collection."""
    sections = [
        section_view(
            setting.evaluation,
            number=number,
            manifest=manifest,
            differences=setting.differences,
            parts=setting.parts or (),
        )
        for number, (setting, manifest) in enumerate(zip(settings, manifests, strict=True))
    ]
    return EvaluationReport(k=k, sections=sections)


def section_view(
    evaluation: Evaluation,
    *,
    number: int,
    manifest: CollectionManifest,
    differences: Sequence[Comparison] = (),
    parts: Sequence[PartFigures] = (),
    rule: VoteRule = RULE,
    limits: SectionLimits = SECTION_LIMITS,
) -> SectionView:
    """A collection's evaluation as it is shown; `number` tells it from the page's other collections.

    `parts` are those of what a head was learned from, where there is one.

    `manifest` is the collection's, of several fused that of the first, whose images they are.
    """
    images = _Images(evaluation, lambda payload: file_of(manifest, payload.dataset, payload.path))
    table = evaluation.countable_confusion
    worst = _worst_pairs(table)
    shown = worst[: limits.confusions]
    anchors = {(own, other): f"c{number}-{own}-{other}" for own, other in shown}
    columns = _shown_classes(table, limits.table_classes)
    names = evaluation.images.vectors.names
    wrong = _wrong_queries(evaluation, rule)
    return SectionView(
        anchor=f"s{number}",
        evaluation=evaluation,
        differences=differences,
        parts=parts,
        score=_score_name(evaluation, manifest),
        alone=int(evaluation.alone.sum()),
        in_small_classes=int(evaluation.in_small_classes.sum()),
        classes=worst_first(evaluation.classes),
        columns=[names[column] for column in columns],
        rows=[(names[row], _cells(table, row, columns, anchors)) for row in columns],
        confusions=list(_confusions(images, anchors)),
        wrong=[images.wrong(row, rule) for row in wrong[: limits.wrong_queries]],
        wrong_count=len(wrong),
    )


def _score_name(evaluation: Evaluation, manifest: CollectionManifest) -> str:
    if evaluation.fusion:
        return f"{evaluation.fusion.rule} score"
    return "similarity" if manifest.distance.higher_is_nearer else "distance"


def write_evaluation_page(path: Path, report: EvaluationReport) -> None:
    """Writes the page, whole or not at all; images that are gone are said to be."""
    evaluation_page(report).write(path)


def evaluation_page(report: EvaluationReport) -> Page:
    """Returns the page, with thumbnails of the files that are there."""
    gallery = Gallery.of(file for section in report.sections for file in section.files())
    return Page("evaluation.html", report=report, gallery=gallery)


class _Images:
    """An evaluation's images as views."""

    def __init__(self, evaluation: Evaluation, file_of: FileOf) -> None:
        self.evaluation, self._file_of = evaluation, file_of
        self.classes, self.names = evaluation.images.vectors.classes, evaluation.images.vectors.names

    def image(self, row: int) -> ImageView:
        payload = self.evaluation.images.payloads[row]
        return ImageView(path=payload.path, file=self._file_of(payload), class_name=payload.class_name or "")

    def neighbour(self, query: int, place: int) -> ImageView:
        """The neighbour of a query at a place counted from 0."""
        results = self.evaluation.results
        row = int(results.neighbours[query, place])
        payload = self.evaluation.images.payloads[row]
        return ImageView(
            path=payload.path,
            file=self._file_of(payload),
            class_name=payload.class_name or "",
            rank=place + 1,
            score=float(results.scores[query, place]),
            is_right=bool(self.classes[row] == self.classes[query]),
        )

    def wrong(self, query: int, rule: VoteRule) -> WrongView:
        """A query with its wrong verdict."""
        results = self.evaluation.results
        there = int((results.neighbours[query] >= 0).sum())
        return WrongView(
            query=self.image(query),
            verdict=self.names[results.verdicts[rule][query]],
            neighbours=[self.neighbour(query, place) for place in range(there)],
        )


def _worst_pairs(table: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Pairs of different classes, of whose neighbours any is wrong, by the share of the first's."""
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    pairs = np.argwhere(shares > 0)
    order = np.argsort(-shares[pairs[:, 0], pairs[:, 1]], kind="stable")
    return [(int(own), int(other)) for own, other in pairs[order]]


def _shown_classes(table: NDArray[np.int64], most: int) -> list[int]:
    """The classes of the table, in their own order: all, or those with the most wrong neighbours."""
    wrong = table.sum(axis=0) + table.sum(axis=1) - 2 * table.diagonal()
    return sorted(int(number) for number in np.argsort(-wrong, kind="stable")[:most])


def _cells(
    table: NDArray[np.int64], row: int, columns: Sequence[int], anchors: Mapping[tuple[int, int], str]
) -> list[CellView]:
    total = max(int(table[row].sum()), 1)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    hottest = float((shares - np.diag(shares.diagonal())).max()) or 1.0
    return [
        CellView(
            count=int(table[row, column]),
            share=table[row, column] / total,
            heat=min(1.0, float(np.sqrt(table[row, column] / total / hottest))),
            is_right=row == column,
            anchor=anchors.get((row, column)),
        )
        for column in columns
    ]


def _confusions(images: _Images, anchors: Mapping[tuple[int, int], str]) -> Iterator[ConfusionView]:
    table, names = images.evaluation.countable_confusion, images.names
    found = countable(images.evaluation.results)
    intruders = np.where(found >= 0, images.classes[found], -1)
    for (own, other), anchor in anchors.items():
        rows, places = np.nonzero((images.classes[:, np.newaxis] == own) & (intruders == other))
        rows, first = np.unique(rows, return_index=True)  # of each query the nearest intruder
        places = places[first]
        nearest = np.argsort(places, kind="stable")[:EXAMPLES]
        yield ConfusionView(
            anchor=anchor,
            own=names[own],
            intruder=names[other],
            count=int(table[own, other]),
            share=table[own, other] / table[own].sum(),
            pairs=[
                (images.image(int(rows[i])), images.neighbour(int(rows[i]), int(places[i]))) for i in nearest
            ],
        )


def _wrong_queries(evaluation: Evaluation, rule: VoteRule) -> list[int]:
    """Rows of verdicts that are wrong and could be right.

    Those with the fewest right neighbours come first, then by average precision.
    """
    verdicts, classes = evaluation.results.verdicts[rule], evaluation.images.vectors.classes
    rows = np.flatnonzero((verdicts >= 0) & (verdicts != classes) & ~evaluation.alone)
    precision = evaluation.values["precision_at_10"][rows]
    average = np.nan_to_num(evaluation.values["mean_average_precision"][rows])
    return [int(row) for row in rows[np.lexsort((rows, average, precision))]]

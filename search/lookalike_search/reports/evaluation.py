"""The page of `search evaluate --html`: figures, confused classes, and their images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.overlapping_roots import file_of
from lookalike_core.stores.points import Payload
from numpy.typing import NDArray

from lookalike_search.asking.answers import Neighbour
from lookalike_search.evaluation.head_splits import MEANINGS
from lookalike_search.evaluation.leave_one_out import keep_countable
from lookalike_search.evaluation.runs import Setting
from lookalike_search.evaluation.summary import FIGURES, Evaluation, sort_worst_first
from lookalike_search.reports.page import Page
from lookalike_search.reports.thumbnail_gallery import Gallery

RULE = VoteRule.NEARER_TIES
"""The vote whose wrong verdicts are shown, as that of `search query`."""

EXAMPLES = 8
"""Pairs of images shown of each confusion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionLimits:
    """The largest numbers of classes, confusions and queries that a section shows."""

    table_classes: int = 25
    """Classes in the confusion table; of more, those with the most wrong neighbours."""

    confusions: int = 60
    """Pairs of classes that are shown with examples, the worst first."""

    wrong_queries: int = 1_000
    """Queries with a wrong verdict that are shown, the worst first."""


SECTION_LIMITS = SectionLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of the confusion table: `heat` is 0 to 1 at the worst confusion, `anchor` leads to examples."""

    count: int
    share: float
    heat: float
    is_right: bool
    anchor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Neighbours of the class `intruder` that queries of the class `own` have; `pairs` are the nearest."""

    anchor: str
    own: str
    intruder: str
    count: int
    share: float
    pairs: Sequence[tuple[Payload, Neighbour]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongQuery:
    """A query with a wrong verdict, and the neighbours that voted."""

    query: Payload
    verdict: str
    neighbours: Sequence[Neighbour]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One setting: `columns` are the classes of its confusion table, `rows` the same with their cells.

    `manifest` is the collection's; of several fused it is that of the first, whose images they are.
    """

    anchor: str
    setting: Setting
    manifest: CollectionManifest
    score: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    confusions: Sequence[Confusion]
    wrong: Sequence[WrongQuery]
    wrong_count: int

    def file(self, payload: Payload) -> Path | None:
        """Returns the path of an image's file; None where its dataset's folder is not known."""
        return file_of(self.manifest, payload.dataset, payload.path)

    def files(self) -> Iterator[Path | None]:
        """Yields the file of every image of the section."""
        for confusion in self.confusions:
            for query, neighbour in confusion.pairs:
                yield from (self.file(query), neighbour.file)
        for case in self.wrong:
            yield self.file(case.query)
            yield from (neighbour.file for neighbour in case.neighbours)


def evaluation_page(
    settings: Sequence[Setting],
    manifests: Sequence[CollectionManifest],
    *,
    k: int,
    limits: SectionLimits = SECTION_LIMITS,
) -> Page:
    """Returns the page of evaluated settings, each with its manifest, and thumbnails of their images."""
    pairs = zip(settings, manifests, strict=True)
    sections = [section_of(*pair, number=number, limits=limits) for number, pair in enumerate(pairs)]
    return Page(
        "evaluation.html",
        k=k,
        sections=sections,
        figures=FIGURES,
        rule=RULE,
        meanings=MEANINGS,
        sort_classes=sort_worst_first,
        gallery=Gallery.of(file for section in sections for file in section.files()),
    )


def section_of(
    setting: Setting,
    manifest: CollectionManifest,
    *,
    number: int,
    limits: SectionLimits = SECTION_LIMITS,
) -> Section:
    """Returns the section of a setting; `number` makes its anchors differ from those of other sections."""
    evaluation = setting.evaluation
    images = _Images(evaluation, manifest)
    table = evaluation.countable_confusion
    shown = _worst_pairs(table)[: limits.confusions]
    anchors = {(own, other): f"c{number}-{own}-{other}" for own, other in shown}
    columns = _shown_classes(table, limits.table_classes)
    names = evaluation.images.vectors.names
    wrong = _wrong_queries(evaluation)
    return Section(
        anchor=f"s{number}",
        setting=setting,
        manifest=manifest,
        score=f"{evaluation.fusion.rule} score" if evaluation.fusion else manifest.distance.score_name,
        columns=[names[column] for column in columns],
        rows=list(_rows(table, columns, names, anchors)),
        confusions=list(_confusions(images, anchors)),
        wrong=[images.wrong(row) for row in wrong[: limits.wrong_queries]],
        wrong_count=len(wrong),
    )


class _Images:
    """The images of an evaluation by their rows."""

    def __init__(self, evaluation: Evaluation, manifest: CollectionManifest) -> None:
        self.evaluation, self._manifest = evaluation, manifest
        self.payloads = evaluation.images.payloads
        self.classes, self.names = evaluation.images.vectors.classes, evaluation.images.vectors.names

    def neighbour(self, query: int, place: int) -> Neighbour:
        """Returns the neighbour of a query at a place counted from 0."""
        results = self.evaluation.results
        payload = self.payloads[results.neighbours[query, place]]
        return Neighbour(
            rank=place + 1,
            score=float(results.scores[query, place]),
            payload=payload,
            file=file_of(self._manifest, payload.dataset, payload.path),
        )

    def wrong(self, query: int) -> WrongQuery:
        """Returns the record of a query with a wrong verdict."""
        results = self.evaluation.results
        count = int((results.neighbours[query] >= 0).sum())
        return WrongQuery(
            query=self.payloads[query],
            verdict=self.names[results.verdicts[RULE][query]],
            neighbours=[self.neighbour(query, place) for place in range(count)],
        )


def _row_shares(table: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the counts of a table as shares of their rows."""
    shares: NDArray[np.float64] = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    return shares


def _worst_pairs(table: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Returns pairs of confused classes, by the share of the second among the first's neighbours."""
    shares = _row_shares(table)
    np.fill_diagonal(shares, 0)
    pairs = np.argwhere(shares > 0)
    order = np.argsort(-shares[pairs[:, 0], pairs[:, 1]], kind="stable")
    return [(int(own), int(other)) for own, other in pairs[order]]


def _shown_classes(table: NDArray[np.int64], most: int) -> list[int]:
    """Returns the classes of the table in their order: all, or the `most` with the most wrong neighbours."""
    wrong = table.sum(axis=0) + table.sum(axis=1) - 2 * table.diagonal()
    return sorted(int(number) for number in np.argsort(-wrong, kind="stable")[:most])


def _rows(
    table: NDArray[np.int64],
    columns: Sequence[int],
    names: Sequence[str],
    anchors: Mapping[tuple[int, int], str],
) -> Iterator[tuple[str, Sequence[Cell]]]:
    shares = _row_shares(table)
    hottest = float((shares - np.diag(shares.diagonal())).max()) or 1.0
    for row in columns:
        yield (
            names[row],
            [
                Cell(
                    count=int(table[row, column]),
                    share=float(shares[row, column]),
                    heat=min(1.0, float(np.sqrt(shares[row, column] / hottest))),
                    is_right=row == column,
                    anchor=anchors.get((row, column)),
                )
                for column in columns
            ],
        )


def _confusions(images: _Images, anchors: Mapping[tuple[int, int], str]) -> Iterator[Confusion]:
    table, names = images.evaluation.countable_confusion, images.names
    found = keep_countable(images.evaluation.results)
    intruders = np.where(found >= 0, images.classes[found], -1)
    for (own, other), anchor in anchors.items():
        rows, places = np.nonzero((images.classes[:, np.newaxis] == own) & (intruders == other))
        rows, first = np.unique(rows, return_index=True)  # of each query the nearest intruder
        places = places[first]
        nearest = np.argsort(places, kind="stable")[:EXAMPLES]
        yield Confusion(
            anchor=anchor,
            own=names[own],
            intruder=names[other],
            count=int(table[own, other]),
            share=table[own, other] / table[own].sum(),
            pairs=[
                (images.payloads[rows[i]], images.neighbour(int(rows[i]), int(places[i]))) for i in nearest
            ],
        )


def _wrong_queries(evaluation: Evaluation) -> list[int]:
    """Returns the rows of verdicts that are wrong and could be right.

    Those with the fewest right neighbours come first, then by average precision.
    """
    verdicts, classes = evaluation.results.verdicts[RULE], evaluation.images.vectors.classes
    rows = np.flatnonzero((verdicts >= 0) & (verdicts != classes) & ~evaluation.alone)
    precision = evaluation.values["precision_at_10"][rows]
    average = np.nan_to_num(evaluation.values["mean_average_precision"][rows])
    return [int(row) for row in rows[np.lexsort((rows, average, precision))]]

"""The page of `search evaluate --html`: figures, confused classes, and their images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.overlapping_roots import file_of
from lookalike_core.stores.points import Payload

from lookalike_search.asking.answers import Neighbour
from lookalike_search.evaluation.head_splits import MEANINGS
from lookalike_search.evaluation.leave_one_out import SHOWN
from lookalike_search.evaluation.mistakes import RULE, find_confused_classes, find_wrong_queries
from lookalike_search.evaluation.runs import Setting
from lookalike_search.evaluation.summary import FIGURES, Evaluation, sort_worst_first
from lookalike_search.evaluation.vote_study import StudiedRule
from lookalike_search.reports.page import Page
from lookalike_search.reports.shown_evaluation import (
    TABLE_CLASSES,
    Cell,
    ShownEvaluation,
    confusion_rows,
    show_evaluation,
    shown_classes,
)
from lookalike_search.reports.thumbnail_gallery import Gallery
from lookalike_search.reports.vote_plots import vote_plot_url


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionLimits:
    """The largest numbers of classes, confusions and queries that a section shows."""

    table_classes: int = TABLE_CLASSES
    """Classes in the confusion table; of more, those with the most wrong neighbours."""

    confusions: int = 60
    """Pairs of classes that are shown with examples, the worst first."""

    wrong_queries: int = 1_000
    """Queries with a wrong verdict that are shown, the worst first."""


SECTION_LIMITS = SectionLimits()


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
    `anchors` are those of confusions by their two classes, `vote_plot` is the URL of the plot of studied
    votes, None without a study.
    """

    anchor: str
    setting: Setting
    shown: ShownEvaluation
    manifest: CollectionManifest
    score: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    confusions: Sequence[Confusion]
    wrong: Sequence[WrongQuery]
    wrong_count: int
    anchors: Mapping[tuple[int, int], str]
    vote_plot: str | None = None

    def address(self, cell: Cell) -> str:
        """Returns the address of the images of a cell, `""` where none are shown."""
        anchor = self.anchors.get((cell.own, cell.other))
        return f"#{anchor}" if anchor else ""

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
    sections = [section_of(*pair, number=number, k=k, limits=limits) for number, pair in enumerate(pairs)]
    return Page(
        "evaluation.html",
        k=k,
        sections=sections,
        figures=FIGURES,
        rule=RULE,
        studied_rules=list(StudiedRule),
        meanings=MEANINGS,
        sort_classes=sort_worst_first,
        gallery=Gallery.of(file for section in sections for file in section.files()),
    )


def section_of(
    setting: Setting,
    manifest: CollectionManifest,
    *,
    number: int,
    k: int = SHOWN,
    limits: SectionLimits = SECTION_LIMITS,
) -> Section:
    """Returns the section of a setting; `number` makes its anchors differ from those of other sections."""
    evaluation = setting.evaluation
    shown = show_evaluation(setting, k=k)
    confusions = list(_confusions(evaluation, manifest, number=number, most=limits.confusions))
    columns = shown_classes(shown.confusion, limits.table_classes)
    images = _Images(evaluation, manifest)
    wrong = find_wrong_queries(evaluation)
    return Section(
        anchor=f"s{number}",
        setting=setting,
        shown=shown,
        manifest=manifest,
        score=f"{evaluation.fusion.rule} score" if evaluation.fusion else manifest.distance.score_name,
        columns=[shown.names[column] for column in columns],
        rows=list(confusion_rows(shown, columns)),
        confusions=[confusion for _, confusion in confusions],
        wrong=[images.wrong(row) for row in wrong[: limits.wrong_queries]],
        wrong_count=len(wrong),
        anchors={classes: confusion.anchor for classes, confusion in confusions},
        vote_plot=vote_plot_url(evaluation) if evaluation.vote_study else None,
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


def _confusions(
    evaluation: Evaluation, manifest: CollectionManifest, *, number: int, most: int
) -> Iterator[tuple[tuple[int, int], Confusion]]:
    """Yields confusions by the numbers of their two classes."""
    images, names = _Images(evaluation, manifest), evaluation.images.vectors.names
    for found in find_confused_classes(evaluation, most=most):
        yield (
            (found.own, found.other),
            Confusion(
                anchor=f"c{number}-{found.own}-{found.other}",
                own=names[found.own],
                intruder=names[found.other],
                count=found.count,
                share=found.share,
                pairs=[(images.payloads[row], images.neighbour(row, place)) for row, place in found.pairs],
            ),
        )

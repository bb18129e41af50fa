"""The page of `search query --html`: each query with its verdict and its neighbours."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.neighbours.vote import Verdict, VoteRule
from lookalike_core.stores.collection_manifest import CollectionManifest

from lookalike_search.asking.answers import (
    Answer,
    Neighbour,
    QueryOptions,
    Unanswered,
    paths_collide,
    why_empty,
)
from lookalike_search.reports.page import Page
from lookalike_search.reports.thumbnail_gallery import Gallery


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacingView:
    """Where one network of several puts a neighbour; None where it does not."""

    network: str
    rank: int | None
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourView:
    """A neighbour as it is shown. `is_right` is None where the query's own class is not known.

    `dataset` is None where the path alone says which image it is. `near` are the places of
    near-duplicates that are folded into it, their paths as a rule.
    """

    rank: int
    score: float
    class_name: str | None
    dataset: str | None
    path: str
    file: Path | None
    is_right: bool | None
    chance: float | None
    placings: Sequence[PlacingView]
    near: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictView:
    """What the voters vote for, with its share of the vote, and the chance of being right where known."""

    class_name: str
    share: float
    voters: int
    chance: float | None
    is_right: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryView:
    """A query as it is shown.

    `problem` says why it has no neighbours, where it could not be read; `is_unlike` that it has no verdict,
    since nothing that is indexed is like it; `why_empty` why there is no neighbour. `left_out` are the places
    of the first of `left_out_total` other images with the same bytes.
    """

    name: str
    file: Path | None
    class_name: str | None
    examples: str
    verdict: VerdictView | None
    neighbours: Sequence[NeighbourView]
    is_unlike: bool = False
    problem: str | None = None
    left_out: Sequence[str] = ()
    left_out_total: int = 0
    why_empty: str = ""

    @property
    def classes(self) -> list[tuple[str, int]]:
        """The neighbours' classes with how many have each, the most frequent first."""
        return Counter(hit.class_name for hit in self.neighbours if hit.class_name).most_common()

    @property
    def is_wrong(self) -> bool:
        """Whether the verdict is known to be wrong."""
        return self.verdict is not None and self.verdict.is_right is False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryReport:
    """All that the page says. `score` names what stands beside a neighbour, and how it is read."""

    searched: str
    score: str
    rule: VoteRule
    k: int
    is_fused: bool
    queries: Sequence[QueryView]

    @property
    def judged(self) -> int:
        """How many verdicts are known to be right or wrong."""
        return sum(query.verdict is not None and query.verdict.is_right is not None for query in self.queries)

    @property
    def right(self) -> int:
        """How many verdicts are known to be right."""
        return sum(query.verdict is not None and query.verdict.is_right is True for query in self.queries)

    @property
    def has_chances(self) -> bool:
        """Whether a calibration says anything of any neighbour."""
        return any(hit.chance is not None for query in self.queries for hit in query.neighbours)

    def files(self) -> Iterator[Path | None]:
        """Every image on the page."""
        for query in self.queries:
            yield query.file
            yield from (neighbour.file for neighbour in query.neighbours)


def query_report(
    outcomes: Sequence[Answer | Unanswered],
    manifests: Sequence[CollectionManifest],
    options: QueryOptions,
) -> QueryReport:
    """What was asked of these collections, and what they said."""
    score = f"{options.fusion} score"
    if len(manifests) == 1:
        score = "similarity" if manifests[0].distance.higher_is_nearer else "distance"
    return QueryReport(
        searched=" and ".join(manifest.collection for manifest in manifests),
        score=score,
        rule=options.vote,
        k=options.k,
        is_fused=len(manifests) > 1,
        queries=[
            query_view(outcome, options, _short_names(manifests))
            if isinstance(outcome, Answer)
            else unread(outcome)
            for outcome in outcomes
        ],
    )


def _short_names(manifests: Sequence[CollectionManifest]) -> dict[str, str]:
    """Collection -> its network's name, where that tells it from the others."""
    networks = [manifest.identity.backbone for manifest in manifests]
    if len(set(networks)) < len(networks):
        return {}
    return {manifest.collection: manifest.identity.backbone for manifest in manifests}


def query_view(
    answer: Answer, options: QueryOptions, networks: Mapping[str, str] = MappingProxyType({})
) -> QueryView:
    """An answer as it is shown; `networks` are the names to show of collections, instead of their own."""
    own, shown = answer.class_name, [each for hit in answer.hits for each in hit.scene]
    with_, without = (", ".join(names) for names in (answer.positives, answer.negatives))
    said = [f"and {with_}" if with_ else "", f"not {without}" if without else ""]
    return QueryView(
        name=answer.query,
        file=answer.file,
        class_name=own,
        examples="; ".join(filter(None, said)),
        verdict=_verdict_view(answer.verdict, answer) if answer.verdict else None,
        neighbours=[
            _neighbour_view(hit, own, networks, has_dataset=paths_collide(shown)) for hit in answer.hits
        ],
        is_unlike=bool(answer.unlike_anything),
        left_out=[each.place for each in answer.left_out],
        left_out_total=answer.left_out_total,
        why_empty=f"{why_empty(answer, options).capitalize()}.",
    )


def _verdict_view(verdict: Verdict, answer: Answer) -> VerdictView:
    return VerdictView(
        class_name=verdict.class_name,
        share=verdict.share,
        voters=verdict.voters,
        chance=answer.verdict_chance,
        is_right=None if answer.class_name is None else verdict.class_name == answer.class_name,
    )


def unread(outcome: Unanswered) -> QueryView:
    """A query that could not be answered, with the reason."""
    return QueryView(
        name=outcome.query,
        file=outcome.file,
        class_name=None,
        examples="",
        verdict=None,
        neighbours=(),
        problem=str(outcome.error),
    )


def _neighbour_view(
    hit: Neighbour, own: str | None, networks: Mapping[str, str], *, has_dataset: bool
) -> NeighbourView:
    return NeighbourView(
        rank=hit.rank,
        score=hit.score,
        class_name=hit.payload.class_name,
        dataset=hit.payload.dataset if has_dataset else None,
        path=hit.payload.path,
        file=hit.file,
        is_right=None if own is None else hit.payload.class_name == own,
        chance=hit.chance,
        placings=[
            PlacingView(
                network=networks.get(collection, collection),
                rank=placing.rank if placing else None,
                score=placing.score if placing else None,
            )
            for collection, placing in hit.placings.items()
        ],
        near=[
            f"{near.payload.dataset}: {near.payload.path}" if has_dataset else near.payload.path
            for near in hit.near
        ],
    )


def write_query_page(path: Path, report: QueryReport, *, max_pixels: int = MAX_PIXELS) -> None:
    """Writes the page, whole or not at all; images that are gone are said to be."""
    query_page(report, max_pixels=max_pixels).write(path)


def query_page(report: QueryReport, *, max_pixels: int = MAX_PIXELS) -> Page:
    """Returns the page, with thumbnails of the files that are there."""
    gallery = Gallery.of(report.files(), max_pixels=max_pixels)
    return Page("query.html", report=report, gallery=gallery)

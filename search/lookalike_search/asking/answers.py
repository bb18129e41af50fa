"""The options of a search and its answer: the records that tables, JSON and pages show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.images.region import Part, Region
from lookalike_core.models.calibration_curves import percent
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import Verdict, VoteRule
from lookalike_core.stores.points import EVERYTHING, Payload, PointFilter
from numpy.typing import NDArray

from lookalike_search.asking.choice import NO_CHOICE, HitChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryOptions:
    """The options of a search among the images of `where`. `k` neighbours vote by `vote`.

    `fusion` is how the rankings of several networks become one; a single network needs none. Neighbours are
    shown after the first `offset`, at most `limit` of them. Those below `min_score`, a cosine similarity, or
    beyond `max_distance`, a Euclidean one, are neither shown nor do they vote. With `without_near_above` a
    hit whose cosine similarity to a better ranked one exceeds it is folded into that one, and only the others
    are neighbours. `confidence`, above 0 and below 1, asks for a prediction set. Of each query only its
    `region` is embedded. `locate` asks for the place of the similarity in each neighbour. By `choice` fewer
    or other neighbours are shown, and the same ones vote.
    """

    limit: int = 10
    offset: int = 0
    min_score: float | None = None
    max_distance: float | None = None
    where: PointFilter = EVERYTHING
    exact: bool = False
    include_self: bool = False
    max_pixels: int = MAX_PIXELS
    vote: VoteRule = VoteRule.NEARER_TIES
    k: int = 10
    fusion: FusionRule = FusionRule.RRF
    without_near_above: float | None = None
    confidence: float | None = None
    region: Region | None = None
    locate: bool = False
    choice: HitChoice = NO_CHOICE

    @property
    def last(self) -> int:
        """The rank of the last neighbour that is shown."""
        return self.offset + self.limit

    def is_near_enough(self, score: float) -> bool:
        """Returns whether a neighbour of this score is within the cut-off."""
        is_similar = self.min_score is None or score >= self.min_score
        return is_similar and (self.max_distance is None or score <= self.max_distance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """A neighbour's score and rank in one of several fused networks; the score is Qdrant's own.

    `rank` is None where the image is not among the network's candidates.
    """

    rank: int | None
    score: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Located:
    """Where in a neighbour its similarity to the query comes from.

    `shares` float64 `[H, W]` are those of its cells, which sum to the cosine similarity. `place` is the ninth
    of the image with the largest part of them, `part` that part. `box` is the cell with the largest share:
    left, top, width and height in percent of the upright image, and `box_part` what it has of the sum.
    """

    place: str
    part: float
    box: tuple[float, float, float, float]
    box_part: float
    shares: NDArray[np.float64]


def describe_place(located: Located | SkipReason | None) -> str:
    """Returns in words where in a neighbour the similarity comes from, or why that is not known."""
    if isinstance(located, Located):
        return f"{located.place} {located.part:.0%}"
    return "-" if located is None else str(located)


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """A hit that is folded into a better ranked one; `score` and `also_in` are as a neighbour's."""

    score: float
    payload: Payload
    file: Path | None
    also_in: Sequence[Payload] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One hit, `rank` from 1, by its place in the answer. `file` is its path, None where it is unknown.

    `score` is Qdrant's own (cosine similarity or Euclidean distance); in a fused answer it is the fused one,
    and higher is nearer. `placings` holds its score and rank in each collection of a fused answer, None where
    the collection lacks it; it is empty for a single collection. `chance` is the estimated chance that it has
    the query's class, 0 to 1, None without a usable calibration. `also_in` holds the payloads of the same
    file in other datasets whose folders overlap. `near` holds its folded near-duplicates, best first.
    `located` is where in it the similarity comes from, or why its file cannot be read; None unless requested.
    """

    rank: int
    score: float
    payload: Payload
    file: Path | None
    placings: Mapping[str, Placing | None] = field(default_factory=dict)
    chance: float | None = None
    also_in: Sequence[Payload] = ()
    near: Sequence[NearDuplicate] = ()
    located: Located | SkipReason | None = None

    @property
    def scene(self) -> "Sequence[Neighbour | NearDuplicate]":
        """The neighbour and the hits that are folded into it."""
        return (self, *self.near)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactDuplicate:
    """An indexed image with the same bytes as the query or an example; `file` is its path, if known."""

    payload: Payload
    file: Path | None

    @property
    def place(self) -> str:
        """Its file, or its dataset and path where no file is known."""
        return str(self.file) if self.file else f"{self.payload.dataset}: {self.payload.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionSet:
    """Classes among which the query's own is, best first: at least in so many of 100 cases.

    That holds for images of the same kind as the collection's, and of classes that are indexed.
    """

    confidence: float
    """The confidence that was asked for, between 0 and 1."""
    classes: Sequence[str]
    """The classes, best first and never none; those without a near image are at the end, by name."""
    is_every_class: bool
    """Whether these are all classes of the collection, since less would not hold the right one so often."""
    images: int
    """The number of images that the set was learned from."""
    images_needed: int
    """The least number of images for this confidence; with fewer every set holds every class."""

    @property
    def percent(self) -> str:
        """The confidence in percent, not rounded: `95` or `99.99999999999`."""
        return f"{(100 * Decimal(repr(self.confidence))).normalize():f}"


def paths_collide(hits: Sequence[Neighbour | NearDuplicate]) -> bool:
    """Returns whether two of the hits have the same path, in different datasets."""
    return len({hit.payload.path for hit in hits}) < len(hits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The neighbours of one image, best first, and what each step took in milliseconds.

    `verdict` is the class that they vote for; None where none has one, where one class alone was searched, or
    where the image is out-of-distribution (`unlike_anything`). `verdict_chance` is the chance that the
    verdict is right, 0 to 1. Without a calibration it and `unlike_anything` are None. `prediction_set` is
    None where none was asked for.

    `query` is its name as the user gave it, `file` its path (standard input has none), and `indexed` its
    payload where it is indexed with the same bytes. `positives` and `negatives` are the names of the other
    examples. `left_out_total` counts exact duplicates, which are no neighbours unless `include_self` keeps
    them, and `left_out` holds the first `limit` of them by dataset and path. `provider` is what embedded the
    image, None where every vector was stored. `passed_over` says how many neighbours were passed over,
    `cut_off` how many of the next ones are below a floor, and `cut_off_score` and `cut_off_chance` are the
    score and the chance of the first of these.
    `part` is the part of the image that was searched with, None without a region. `vectors` holds the vector
    float32 `[D]` that each network was searched with.
    """

    query: str
    file: Path | None
    indexed: Payload | None
    hits: Sequence[Neighbour]
    verdict: Verdict | None
    provider: str | None
    load_ms: float
    embed_ms: float
    search_ms: float
    positives: Sequence[str] = ()
    negatives: Sequence[str] = ()
    left_out: Sequence[ExactDuplicate] = ()
    left_out_total: int = 0
    passed_over: int = 0
    cut_off: int = 0
    cut_off_score: float | None = None
    cut_off_chance: float | None = None
    verdict_chance: float | None = None
    unlike_anything: bool | None = None
    prediction_set: PredictionSet | None = None
    part: Part | None = None
    vectors: Sequence[FloatVector] = field(default=(), repr=False, compare=False)

    @property
    def class_name(self) -> str | None:
        """The query's own class, if it is known."""
        return self.indexed.class_name if self.indexed else None


def why_empty(answer: Answer, options: QueryOptions) -> str:
    """Returns in words why an answer has no neighbours."""
    if answer.cut_off_score is not None:
        behind = f" behind the first {answer.passed_over}" if answer.passed_over else ""
        if options.is_near_enough(answer.cut_off_score):
            return f"none{behind} {_why_unlikely(answer, options.choice)}"
        limit = f"reaches {options.min_score:g}" if options.min_score is not None else ""
        if options.max_distance is not None:
            limit = f"is within {options.max_distance:g}"
        return f"none{behind} {limit}; the nearest has {answer.cut_off_score:.4f}"
    match answer.passed_over:
        case 0 if options.where == EVERYTHING:
            is_indexed = answer.indexed is not None or answer.left_out_total
            return "there is no other image" if is_indexed else "there are no images"
        case 0:
            return "no image fits"
        case 1:
            return "there is 1 neighbour, and it is passed over"
        case count:
            return f"there are {count} neighbours, and all of them are passed over"


def _why_unlikely(answer: Answer, choice: HitChoice) -> str:
    chance = answer.cut_off_chance
    nearest = "is not known" if chance is None else f"is {percent(chance)}"
    return f"has a chance of {choice.min_chance:.4g}; that of the nearest {nearest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """A query that could not be read, and why."""

    query: str
    file: Path | None
    error: ImageError

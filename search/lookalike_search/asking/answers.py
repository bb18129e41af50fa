"""What a search is told and what it answers: the records that tables, JSON and pages are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lookalike_core.errors import ImageError
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import Verdict, VoteRule
from lookalike_core.stores.points import Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryOptions:
    """How to search: `class_name=""` asks for images without a class. `k` neighbours vote by `vote`.

    `fusion` is how several networks become one ranking; one alone needs none. Neighbours are shown after the
    first `offset`, at most `limit` of them. Those below `min_score`, a cosine similarity, or beyond
    `max_distance`, a Euclidean one, are neither shown nor do they vote. With `without_near_above` hits whose
    cosine similarity to a better ranked one is over it are folded into that one, and neighbours are what is
    left.
    """

    limit: int = 10
    offset: int = 0
    min_score: float | None = None
    max_distance: float | None = None
    class_name: str | None = None
    dataset: str | None = None
    exact: bool = False
    include_self: bool = False
    max_pixels: int = MAX_PIXELS
    vote: VoteRule = VoteRule.NEARER_TIES
    k: int = 10
    fusion: FusionRule = FusionRule.RRF
    without_near_above: float | None = None

    @property
    def last(self) -> int:
        """The rank of the last neighbour that is shown."""
        return self.offset + self.limit

    def is_near_enough(self, score: float) -> bool:
        """Whether a neighbour of this score counts."""
        is_similar = self.min_score is None or score >= self.min_score
        return is_similar and (self.max_distance is None or score <= self.max_distance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Where one network puts a neighbour: Qdrant's own score there, and the rank.

    `rank` is None where the image is not among the network's candidates.
    """

    rank: int | None
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """A hit that is folded into a better ranked one; `score` and `also_in` are as a neighbour's."""

    score: float
    payload: Payload
    file: Path | None
    also_in: Sequence[Payload] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One hit, `rank` from 1. `file` is where the image lies, as far as the collection knows.

    `score` is Qdrant's own (cosine similarity, or Euclidean distance), of a fused answer the fused one, of
    which the higher is nearer. `placings` says for each collection of a fused answer where the neighbour
    stands there, None where it is not in it; empty for a single collection. `chance` is the chance that it
    has the query's class, 0 to 1, None where nothing is known of that. `also_in` is what other datasets know
    of the same file, whose folders overlap with that of this one. `near` are its near-duplicates among the
    hits, best first, where they are folded into it.
    """

    rank: int
    score: float
    payload: Payload
    file: Path | None
    placings: Mapping[str, Placing | None] = field(default_factory=dict)
    chance: float | None = None
    also_in: Sequence[Payload] = ()
    near: Sequence[NearDuplicate] = ()

    @property
    def scene(self) -> "Sequence[Neighbour | NearDuplicate]":
        """It, and what is folded into it."""
        return (self, *self.near)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactDuplicate:
    """An indexed image with the same bytes as the query or an example; `file` is where it lies, if known."""

    payload: Payload
    file: Path | None

    @property
    def place(self) -> str:
        """Where it lies, as far as that is known."""
        return str(self.file) if self.file else f"{self.payload.dataset}: {self.payload.path}"


def paths_collide(hits: Sequence[Neighbour | NearDuplicate]) -> bool:
    """Whether two of the hits have the same path, in different datasets."""
    return len({hit.payload.path for hit in hits}) < len(hits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The neighbours of one image, best first, and what each step took in milliseconds.

    `verdict` is the class that they vote for; None where none has one, where one class alone was searched, or
    where the image is `unlike_anything` that is indexed. `verdict_chance` is the chance that it is right, 0
    to 1. That and whether it is unlike anything are None where no calibration says so.

    `query` is its name as it was asked for, `file` where it lies, if it does (standard input does not), and
    `indexed` what is known of it where it is in the collection with the bytes that it has. `positives` and
    `negatives` are the names of the other examples. `left_out_total` says how many other images have the
    same bytes, which are no neighbours unless they were to be kept, and `left_out` holds the first of them by
    dataset and path, as many as there may be neighbours. `provider` is what embedded it, None where every
    vector was known. `passed_over` says how many neighbours were passed over, `cut_off` how many of the next
    ones are not near enough, and `cut_off_score` is the best score among these.
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
    verdict_chance: float | None = None
    unlike_anything: bool | None = None

    @property
    def class_name(self) -> str | None:
        """The query's own class, where it is known."""
        return self.indexed.class_name if self.indexed else None


def why_empty(answer: Answer, options: QueryOptions) -> str:
    """Returns in words why an answer has no neighbours."""
    if answer.cut_off_score is not None:
        behind = f" behind the first {answer.passed_over}" if answer.passed_over else ""
        limit = f"reaches {options.min_score:g}" if options.min_score is not None else ""
        if options.max_distance is not None:
            limit = f"is within {options.max_distance:g}"
        return f"none{behind} {limit}; the nearest has {answer.cut_off_score:.4f}"
    match answer.passed_over:
        case 0:
            return "no image fits"
        case 1:
            return "there is 1 neighbour, and it is passed over"
        case count:
            return f"there are {count} neighbours, and all of them are passed over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """A query that could not be read, and why."""

    query: str
    file: Path | None
    error: ImageError

"""The options of a search and its answer: the records that tables, JSON and pages show."""

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
    """The options of a search: `class_name=""` means images without a class. `k` neighbours vote by `vote`.

    `fusion` is how the rankings of several networks become one; a single network needs none. Neighbours are
    shown after the first `offset`, at most `limit` of them. Those below `min_score`, a cosine similarity, or
    beyond `max_distance`, a Euclidean one, are neither shown nor do they vote. With `without_near_above` a
    hit whose cosine similarity to a better ranked one exceeds it is folded into that one, and only the others
    are neighbours.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """A hit that is folded into a better ranked one; `score` and `also_in` are as a neighbour's."""

    score: float
    payload: Payload
    file: Path | None
    also_in: Sequence[Payload] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One hit, `rank` from 1. `file` is the path of its file, None where the collection does not know it.

    `score` is Qdrant's own (cosine similarity or Euclidean distance); in a fused answer it is the fused one,
    and higher is nearer. `placings` holds its score and rank in each collection of a fused answer, None where
    the collection lacks it; it is empty for a single collection. `chance` is the estimated chance that it has
    the query's class, 0 to 1, None without a usable calibration. `also_in` holds the payloads of the same
    file in other datasets whose folders overlap. `near` holds its folded near-duplicates, best first.
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


def paths_collide(hits: Sequence[Neighbour | NearDuplicate]) -> bool:
    """Returns whether two of the hits have the same path, in different datasets."""
    return len({hit.payload.path for hit in hits}) < len(hits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The neighbours of one image, best first, and what each step took in milliseconds.

    `verdict` is the class that they vote for; None where none has one, where one class alone was searched, or
    where the image is out-of-distribution (`unlike_anything`). `verdict_chance` is the chance that the
    verdict is right, 0 to 1. Without a calibration it and `unlike_anything` are None.

    `query` is its name as the user gave it, `file` its path (standard input has none), and `indexed` its
    payload where it is indexed with the same bytes. `positives` and `negatives` are the names of the other
    examples. `left_out_total` counts exact duplicates, which are no neighbours unless `include_self` keeps
    them, and `left_out` holds the first `limit` of them by dataset and path. `provider` is what embedded the
    image, None where every vector was stored. `passed_over` says how many neighbours were passed over,
    `cut_off` how many of the next ones are beyond the cut-off, and `cut_off_score` the best score of these.
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
        """The query's own class, if it is known."""
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

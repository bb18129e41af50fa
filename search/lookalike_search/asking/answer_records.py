"""The records of answers to queries, as `search query --json` prints them and `search serve` sends them.

`answer_json` builds them, and the reference documents them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from lookalike_core.errors import SkipReason
from lookalike_core.models.backbones import Pooling
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.stores.collection_manifest import Distance

from lookalike_search.asking.answers import Placing

Classified = TypedDict("Classified", {"class": str | None})
Labelled = TypedDict("Labelled", {"class": str})
"""Written so since `class` is a keyword of Python."""


class Milliseconds(TypedDict):
    """How long each step took."""

    load: float
    """Loading the model; 0 after the first answer, and where nothing was embedded."""
    embed: float
    """Reading and embedding the query."""
    search: float
    """Searching the collections."""


class Verdict(Labelled):
    """The class that wins the vote of the nearest neighbours that have a class."""

    rule: VoteRule
    """The rule of the vote."""
    k: int
    """How many neighbours may vote."""
    voters: int
    """How many voted: fewer than `k` where fewer neighbours have a class."""
    share: float
    """The share of the vote that the class has, 0 to 1."""
    chance: float | None
    """The calibrated chance that the verdict is right; null without a calibration."""


class SameFile(Classified):
    """A neighbour's file in another dataset whose folder overlaps with that of its own."""

    dataset: str
    path: str
    """Relative to that dataset's root, with `/`."""


class AlsoIn(TypedDict):
    """Other datasets that hold the same file."""

    also_in: NotRequired[list[SameFile]]
    """The same file in other datasets, if it is in any."""


class NearHit(Classified, AlsoIn):
    """A near-duplicate of a neighbour, which is folded into it."""

    score: float
    """Its own score, as that of a neighbour."""
    dataset: str
    path: str
    """Relative to the dataset's root, with `/`."""
    file: Path | None
    """Absolute path; null where the dataset's root is unknown."""
    id: str
    """The point's UUID."""


class Folded(TypedDict):
    """The near-duplicates that are folded into a neighbour."""

    near: NotRequired[list[NearHit]]
    """With `--without-near`: its near-duplicates among the hits, best first."""


class ExactDuplicate(Classified):
    """An image with the same bytes as the query or an example, which is left out of the neighbours."""

    dataset: str
    path: str
    """Relative to the dataset's root, with `/`."""
    file: Path | None
    """Absolute path; null where the dataset's root is unknown."""
    id: str
    """The point's UUID."""


class Synset(TypedDict):
    """The synset of a class, if it has one."""

    synset: NotRequired[str]
    """The WordNet id, if the class is a synset."""


class Cell(TypedDict):
    """A cell of the network's last feature map, as a box in percent of the upright image."""

    x: float
    y: float
    width: float
    height: float


class Located(TypedDict):
    """Where in a neighbour its similarity to the query comes from."""

    place: str
    """The ninth of the image with the largest part of the similarity, as `top left`."""
    part: float
    """That part, 0 to 1; a ninth where it is spread evenly."""
    cell: Cell
    """The cell with the largest share."""
    cell_part: float
    """Its part of the similarity, 0 to 1."""
    shares: list[list[float]]
    """Rows of cells of the image's centre square; all sum to the cosine similarity."""


class NotLocated(TypedDict):
    """A neighbour whose file is of no use."""

    error: SkipReason
    """Why; `unreadable` where it has changed since it was ingested."""


class Locatable(TypedDict):
    """Where in a neighbour its similarity comes from."""

    located: NotRequired[Located | NotLocated]
    """With `--locate`: where the similarity comes from."""


class Hit(Classified, Synset, AlsoIn, Folded, Locatable):
    """One neighbour."""

    rank: int
    """The rank of the hit, from 1: its place in the answer, which `--diverse` changes, too."""
    score: float
    """Cosine similarity, Euclidean distance (lower is nearer) or, fused, the fused score."""
    chance: float | None
    """The calibrated chance that it has the query's class, 0 to 1; null without a calibration."""
    dataset: str
    path: str
    """Relative to the dataset's root, with `/`."""
    file: Path | None
    """Absolute path; null where the dataset's root is unknown."""
    id: str
    """The point's UUID."""


class FusedHit(Hit):
    """A neighbour of a fused answer."""

    networks: Mapping[str, Placing | None]
    """Collection -> rank and score there; null where the collection lacks the image."""


class RegionBox(TypedDict):
    """The part of the query that was searched with, in pixels of the upright image."""

    x: int
    """Its left edge."""
    y: int
    """Its upper edge."""
    width: int
    height: int


class Regional(TypedDict):
    """A query of which a part was searched with."""

    region: NotRequired[RegionBox]
    """With `--region`: that part."""


class Query(Regional):
    """A query and its examples."""

    schema: Literal[1]
    query: str
    """The query as it was named."""
    positives: NotRequired[list[str]]
    """The further examples of `--and`, where there are any."""
    negatives: NotRequired[list[str]]
    """The examples of `--not`, where there are any."""


class Space(TypedDict):
    """The collection that was searched."""

    collection: str
    backbone: str
    layer: str
    pooling: Pooling
    distance: Distance


class FusedSpaces(TypedDict):
    """The collections that were searched; lists are in their order."""

    collection: list[str]
    """The names of the collections."""
    backbone: list[str]
    """The backbones of their networks."""
    layer: list[str]
    """The Keras layers that vectors are taken from."""
    pooling: list[Pooling]
    """How feature maps became vectors."""
    distance: list[Distance]
    """The distances that vectors are compared by."""
    fusion: FusionRule
    """The rule by which rankings were fused."""


class PredictionSet(TypedDict):
    """Classes among which the query's own is with a confidence.

    That holds for images of the same kind as the collection's. Their class must be among the indexed ones.
    """

    confidence: float
    """The confidence that was asked for, between 0 and 1."""
    classes: list[str]
    """The classes, best first and never none; those without a near image are at the end, by name."""
    every_class: bool
    """Whether these are all classes of the collection, since less would not hold the right one so often."""
    pictures: int
    """The number of images that the set was learned from."""
    pictures_needed: int
    """The least number of images for this confidence; with fewer every set holds every class."""


class WithPredictionSet(TypedDict):
    """The prediction set of a query."""

    prediction_set: NotRequired[PredictionSet]
    """With `--confidence`: the prediction set, of a query that is out-of-distribution, too."""


class Outcome(WithPredictionSet):
    """The result of a search without its neighbours, for one network and for several."""

    provider: str | None
    """The execution provider that embedded the query; null where every vector was stored."""
    store: str
    took_ms: Milliseconds
    """How long each step took."""
    verdict: Verdict | None
    """The verdict; null without a class among the neighbours, with `--class`, and out of distribution."""
    unlike_anything: bool | None
    """Whether the query is out-of-distribution: nothing indexed is near; null without a calibration."""
    left_out: list[ExactDuplicate]
    """The first exact duplicates that are left out of the hits, at most `--limit`."""
    left_out_total: int
    """The number of all such duplicates."""
    passed_over: int
    """Neighbours that `--offset` passed over; fewer than `--offset` where there are no more."""
    cut_off: int
    """The number of the next neighbours, at most `--limit`, that a floor of score or chance left out."""


class Answer(Query, Space, Outcome):
    """The neighbours of one query in one collection."""

    hits: list[Hit]
    """Best first."""


class FusedAnswer(Query, FusedSpaces, Outcome):
    """The neighbours of one query in several collections; lists are in the order of the networks."""

    hits: list[FusedHit]
    """Best first."""


class Unreadable(TypedDict):
    """A query that cannot be read; the others are answered, and the exit code is 4."""

    schema: Literal[1]
    query: str
    """The query as it was named."""
    error: SkipReason
    """Why it cannot be read."""

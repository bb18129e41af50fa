"""The records that `search ... --json` prints: builders return them, and the reference documents them.

Builders import them for type checking alone, since they import every analysis and evaluation.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from lookalike_core.errors import SkipReason
from lookalike_core.models.backbones import Pooling
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.stores.collection_manifest import Distance

from lookalike_search.analysis.attribution import Pair
from lookalike_search.analysis.duplicates import KeptBecause, Match
from lookalike_search.analysis.file_state import FileState
from lookalike_search.analysis.projection import Method
from lookalike_search.asking.answers import Placing
from lookalike_search.evaluation.head_splits import Part
from lookalike_search.evaluation.summary import Fusion

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


class Hit(Classified, Synset, AlsoIn, Folded):
    """One neighbour."""

    rank: int
    """The rank of the hit, from 1."""
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


class Query(TypedDict):
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


class Outcome(TypedDict):
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
    """The number of the next neighbours, at most `--limit`, that a cut-off by score left out."""


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


class PlainNearHit(Classified):
    """A near-duplicate of a neighbour in a table of all neighbours."""

    score: float
    """Cosine similarity to the query, or Euclidean distance (lower is nearer)."""
    dataset: str
    path: str
    """Relative to the dataset's root, with `/`."""


class PlainFolded(TypedDict):
    """The near-duplicates that are folded into a neighbour in a table of all neighbours."""

    near: NotRequired[list[PlainNearHit]]
    """With `--without-near`: its near-duplicates among the hits, best first."""


class PlainHit(Classified, PlainFolded):
    """One neighbour in a table of all neighbours."""

    rank: int
    """The rank of the hit, from 1."""
    score: float
    """Cosine similarity, or Euclidean distance (lower is nearer)."""
    dataset: str
    path: str
    """Relative to the dataset's root, with `/`."""


class ImageNeighbours(Classified):
    """One image of the collection and its neighbours."""

    schema: Literal[1]
    dataset: str
    path: str
    """Relative to the dataset's root, with `/`."""
    hits: list[PlainHit]
    """Its neighbours, best first."""


class Member(Classified):
    """An image of a group."""

    dataset: str
    path: str
    """Relative to the dataset's root, with `/`."""
    file: Path | None
    """Absolute path; null where the dataset's root is unknown."""
    state: FileState
    """Whether the file is unchanged since it was ingested."""
    sha256: str
    """SHA-256 of the file's bytes, in hex."""
    width: int
    """In pixels, as the image is shown."""
    height: int
    """In pixels, as the image is shown."""
    bytes: int
    """Size of the file."""


class OtherMember(Member):
    """An image of a group that is not the one to keep."""

    similarity: float
    """Cosine similarity to the kept image; 1 where the bytes are the same."""
    match: Match
    """`near-duplicate` is proven on the pixels, `similar` is not."""
    identical: bool
    """Whether the bytes are those of the kept image."""
    redundant: bool
    """Whether the file could be deleted."""
    frees: int
    """Bytes of disk that deleting it would free."""


class DuplicateGroup(TypedDict):
    """A group of duplicates, or of images that are only similar."""

    schema: Literal[1]
    collection: str
    group: int
    """The number of the group, from 1."""
    because: KeptBecause
    """Why that file is the one to keep."""
    proven: bool
    """Whether any of the others is proven to be the same image."""
    frees: int
    """Bytes of disk that deleting all redundant files would free."""
    kept: Member
    """The image whose file is the one to keep."""
    others: list[OtherMember]
    """Most similar first."""


class Interval(TypedDict):
    """A mean and its 95 % bootstrap interval; null for too few queries."""

    value: float | None
    """The mean."""
    low: float | None
    """The lower end of the interval."""
    high: float | None
    """The upper end of the interval."""


class CalibrationError(TypedDict):
    """Expected calibration errors on held-out halves."""

    bins: int
    """Number of bins."""
    neighbours: float
    """The error of neighbours' chances, by bins of equal width."""
    neighbours_equal_mass: float
    """The error of neighbours' chances, by bins of equal mass."""
    verdict: Mapping[VoteRule, float]
    """The error of verdicts' chances, for each rule of the vote."""


class BestFigures(TypedDict):
    """The figures of a perfect ranking: below 1 where classes are small; null without queries."""

    precision_at_1: float | None
    precision_at_5: float | None
    precision_at_10: float | None
    mean_average_precision: float | None
    at_least_5_of_10: float | None


class Figures(TypedDict):
    """How good neighbours are, over the queries with at least one other image of their class."""

    precision_at_1: Interval
    precision_at_5: Interval
    precision_at_10: Interval
    mean_average_precision: Interval
    at_least_5_of_10: Interval
    best_possible: BestFigures
    """The figures of a perfect ranking."""


class Abstaining(TypedDict):
    """How a threshold that was learned from one half of the images changes verdicts on the other half."""

    answered: Interval
    """Share of queries within the threshold, among those with another image of their class."""
    accuracy: Interval
    """Share of the answered queries whose verdict by `nearer-ties` is right."""


class ClassFigures(Labelled, Figures):
    """The figures of the queries of one class."""

    pictures: int
    """Images of the class."""


class Confusion(TypedDict):
    """Classes of queries (rows) and of their ten neighbours (columns), counted."""

    classes: Sequence[str]
    """The class of each row and column."""
    cells: list[list[int]]
    """Row, column and count of each cell that is not 0."""
    neighbours: list[list[int]] | None
    """All rows of the table; null for more than 100 classes."""


class Difference(Interval):
    """The difference between this setting's figure and another's, over the images that both hold."""

    to: str
    """The other setting."""
    figure: str
    """The figure that is compared."""
    pictures: int
    """Images that both settings hold."""
    p: float
    """The p of a paired sign-flip test, corrected (Holm) for all comparisons of the setting."""
    certain: bool
    """Whether p is below 0.05 and the interval is without 0."""


class Index(TypedDict):
    """How the store's index compares with exact search."""

    has_index: bool
    """Whether the store has an ANN index."""
    indexed_vectors: int
    """Vectors that the index covers."""
    points: int
    """Points of the collection."""
    overlap: Interval
    """Recall@10: the share of the exact ten neighbours that the index finds."""
    all_the_same: Interval
    """Share of queries with a recall of 1."""
    precision_at_1: Interval
    precision_at_5: Interval
    precision_at_10: Interval


class BestHeadFigures(TypedDict):
    """The figures that a perfect ranking would have; null without queries."""

    precision_at_1: float | None
    precision_at_10: float | None
    mean_average_precision: float | None


class HeadPart(TypedDict):
    """A part of the queries, by what the head was fitted to."""

    part: Part
    """Whether the head was fitted to these queries, to their classes only, or to neither."""
    pictures: int
    """Number of queries."""
    classes: int
    """Number of their classes."""
    precision_at_1: Interval
    precision_at_10: Interval
    mean_average_precision: Interval
    best_possible: BestHeadFigures
    """The figures of a perfect ranking."""


class Evaluation(Figures):
    """One setting: a collection, or several fused by one rule."""

    schema: Literal[1]
    collection: str
    """The name of the collection; of a fusion a name made of theirs and the rule."""
    store: str
    pictures: int
    """Images with a class, each of which is a query."""
    unlabelled: int
    """Images without a class, which are left out."""
    near_identical: int
    """Queries that have a near-duplicate."""
    alone: int
    """Queries without another image of their class: no neighbour can be right, and no figure counts them."""
    in_small_classes: int
    """Queries with fewer than ten others of their class: not all of their ten neighbours can be right."""
    k: int
    """How many neighbours vote."""
    accuracy: dict[VoteRule, Interval]
    """Share of the queries whose verdict is right."""
    expected_calibration_error: CalibrationError | None
    """How far chances are off on held-out images; null for too few images, and for a fusion."""
    abstaining: Abstaining | None
    """The effect of a threshold for verdicts; null for too few images, and for a fusion."""
    classes: list[ClassFigures]
    """The figures of each class."""
    confusion: Confusion
    """Which classes the neighbours of each class have."""
    differences: list[Difference]
    """The differences from the other settings."""
    fusion: Fusion | None
    """How rankings were fused; null for a single collection."""
    indexed: Index | None
    """The measurements of the store's index; null without `--indexed`."""
    head: list[HeadPart] | None
    """The figures of each part of the images; null without a head."""


class NeighbourChance(TypedDict):
    """A point of the piecewise linear curve from score to chance."""

    score: float
    """Score of a neighbour."""
    chance: float
    """Chance that a neighbour of this score has the query's class."""


class VerdictChance(TypedDict):
    """A point of the piecewise linear curve from share of the vote to chance."""

    share: float
    """Share of the vote."""
    chance: float
    """Chance that a verdict with this share is right."""


class UnlikeThreshold(TypedDict):
    """A threshold: a query whose nearest image is less similar (or more distant) is out-of-distribution."""

    score: float
    """The threshold."""
    refused: float
    """Share of the indexed images that it refuses."""
    caught: float
    """Share of them that it would refuse if no other image of their class were indexed."""


class CollectionCalibration(TypedDict):
    """The calibration that was learned from a collection."""

    schema: Literal[1]
    collection: str
    store: str
    created_at: str
    """ISO 8601, in UTC."""
    pictures: int
    """Images with a class, from which it was learned."""
    unlabelled: int
    """Images without a class, which are left out."""
    classes: int
    """Number of classes."""
    k: int
    """The number of neighbours of each image."""
    pairs: int
    """Pairs of an image and a neighbour, without exact duplicates."""
    expected_calibration_error: CalibrationError
    """How far chances are off on held-out images."""
    neighbours: list[NeighbourChance]
    """The curve from score to chance for neighbours."""
    verdicts: dict[VoteRule, list[VerdictChance]]
    """The curve from share of the vote to chance, for each rule of the vote."""
    threshold: UnlikeThreshold
    """The threshold for out-of-distribution queries."""


class Explanation(TypedDict):
    """Where the similarity of two images comes from, by one network."""

    schema: Literal[1]
    query: str
    """The query as it was named."""
    neighbour: str
    """The neighbour as it was named."""
    collection: str
    backbone: str
    layer: str
    pooling: Pooling
    distance: Distance
    provider: str
    """The execution provider that computed the cells."""
    filled_on: str | None
    """The execution provider that filled the collection."""
    store: str
    score: float
    """The score that `search query` shows."""
    cosine: float
    """Cosine similarity of the vectors that `search query` compares."""
    query_vector: Literal["stored", "computed"]
    """Whether the query's vector was read from the collection or computed."""
    neighbour_vector: Literal["stored", "computed"]
    """Whether the neighbour's vector was read from the collection or computed."""
    agreement: float
    """The lower of the two cosines between a vector and the sum of its cells."""
    query_shares: list[list[float]]
    """Rows of cells; all sum to `cosine`."""
    neighbour_shares: list[list[float]]
    """Rows of cells; all sum to `cosine`."""
    pairs: Sequence[Pair]
    """The pairs of cells that add most to the cosine, the largest first."""


class Place(Classified):
    """The place of an image on the map."""

    id: str
    """The point's UUID."""
    dataset: str
    path: str
    """Relative to the dataset's root, with `/`."""
    x: float
    """Horizontal place; units have no meaning."""
    y: float
    """Vertical place; units have no meaning."""


class CollectionMap(TypedDict):
    """A map of a collection in two dimensions, and how faithful it is."""

    schema: Literal[1]
    collection: str
    store: str
    html: Path
    """The page that was written."""
    pictures: int
    """Images on the map."""
    total: int
    """Images in the collection."""
    seed: int
    """The seed of the sample and of the layout."""
    method: Method
    """The method by which images were placed."""
    perplexity: float | None
    """The perplexity of t-SNE; null for other methods."""
    kl_divergence: float | None
    """The loss of t-SNE at its end; null for other methods."""
    trustworthiness: float | None
    """Over 10 neighbours, 1 is perfect; null for too few images."""
    same_class_on_map: float | None
    """Share of the 10 nearest on the map that have an image's class."""
    same_class_in_space: float | None
    """Share of the 10 nearest in the collection that have an image's class."""
    places: list[Place]
    """The place of each image."""


LINES = {
    "query": [(Answer,), (FusedAnswer,), (Unreadable,)],
    "evaluate": [(Evaluation,)],
    "calibrate": [(CollectionCalibration,)],
    "neighbours": [(ImageNeighbours,)],
    "duplicates": [(DuplicateGroup,)],
    "explain": [(Explanation,)],
    "map": [(CollectionMap,)],
}
"""Subcommand -> the forms of a line; the keys of all records of one form stand side by side."""

"""The records that `search ... --json` prints: builders return them, and the reference documents them.

Builders import them for type checking alone, since they import every analysis and evaluation.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from lookalike_core.neighbours.vote import VoteRule

from lookalike_search.analysis.audit_json import CollectionAudit
from lookalike_search.analysis.duplicate_json import DuplicateGroup
from lookalike_search.analysis.explanation_json import Explanation
from lookalike_search.analysis.inversion import Attacker
from lookalike_search.analysis.inversion_attack import Group
from lookalike_search.analysis.privacy import LeftOut
from lookalike_search.analysis.projection import Method
from lookalike_search.asking.answer_records import (
    Answer,
    Classified,
    FusedAnswer,
    Labelled,
    Unreadable,
)
from lookalike_search.evaluation.head_splits import Part
from lookalike_search.evaluation.summary import Fusion
from lookalike_search.evaluation.vote_study import StudiedRule


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
    cut_off: NotRequired[int]
    """With `--min-chance`: how many of the next neighbours, at most `--limit`, it left out."""


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
    countable_cells: list[list[int]]
    """The same of as many neighbours of each query as could all be right."""
    neighbours: list[list[int]] | None
    """All rows of the table; null for more than 100 classes."""


class IndexedImage(TypedDict):
    """An indexed image."""

    id: str
    """The point's UUID."""
    dataset: str
    path: str
    """Relative to the dataset's root, with `/`."""


class ConfusedPair(TypedDict):
    """A query and a neighbour of another class."""

    query: IndexedImage
    neighbour: IndexedImage
    rank: int
    """The rank of the neighbour, from 1."""
    score: float
    """The score of the neighbour."""


class ConfusedClasses(Labelled):
    """Neighbours of another class that queries of a class have, as far as they could have been right."""

    neighbour_class: str
    """The class of the neighbours."""
    neighbours: int
    """Number of these neighbours."""
    share: float
    """Their share of the neighbours of the class."""
    pairs: list[ConfusedPair]
    """At most 8, of each query the nearest such neighbour; the nearest ones first."""


class WrongQuery(IndexedImage, Labelled):
    """A query with a wrong verdict that could be right."""

    verdict: str
    """The class that the vote `nearer-ties` names."""
    precision_at_10: float
    """The share of its ten neighbours that has its class, of those that could all have it."""


class WrongQueries(TypedDict):
    """The queries with a wrong verdict."""

    total: int
    """How many there are."""
    queries: list[WrongQuery]
    """The first 1,000: those with the fewest right neighbours first."""


class ReliabilityBin(TypedDict):
    """Held-out cases with similar chances, a tenth of the scale wide."""

    cases: int
    """Number of neighbours or verdicts."""
    chance: float
    """Their mean chance."""
    right: float
    """The share of them that was right."""


class ReliabilityBins(TypedDict):
    """A reliability diagram: chances that were learned from one half of the images, on the other half."""

    neighbours: list[ReliabilityBin]
    """The bins of neighbours' chances that hold any."""
    verdict: list[ReliabilityBin]
    """The bins of the chances of verdicts by `nearer-ties`."""


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


class StudyVotes(TypedDict):
    """How often each rule of the vote is right, with one number of voters."""

    k: int
    """How many neighbours vote."""
    accuracy: dict[StudiedRule, Interval]
    """Share of the queries whose verdict is right."""
    tied: Interval
    """Share of the queries with several classes that have the most voters."""


class StudyPart(TypedDict):
    """The votes of the same queries, by the number of voters."""

    noise: float | None
    """Standard deviation of the noise on the queries' pixels, of 0 to 255; null for stored vectors."""
    pictures: int
    """Number of queries: all images with a class, or with noise a sample of them."""
    votes: list[StudyVotes]
    """The figures for each number of voters."""


class VoteDifference(Interval):
    """How much more often a vote is right than another with the same number of voters."""

    rule: StudiedRule
    """The rule of the vote."""
    k: int
    """How many neighbours vote."""
    noise: float | None
    """The noise on its queries; null for stored vectors."""
    against_rule: StudiedRule
    """The rule of the other vote."""
    against_noise: float | None
    """The noise on the queries of the other vote; null for stored vectors."""
    p: float
    """The p of a paired sign-flip test, corrected (Holm) for all comparisons of its list."""
    certain: bool
    """Whether p is below 0.05 and the interval is without 0."""


class VoteStudy(TypedDict):
    """How votes depend on the number of voters and on noise on the queries."""

    provider: str | None
    """The execution provider that embedded the sample; null without noise."""
    left_out: int
    """Images that were drawn for the sample and could not be embedded again."""
    parts: list[StudyPart]
    """The votes by stored vectors, and with each level of noise."""
    rules: list[VoteDifference]
    """Each rule compared with `majority`, for the same queries and number of voters."""
    levels: list[VoteDifference]
    """Each level of noise compared with 0, for the same rule and number of voters."""


class Studied(TypedDict):
    """The study of votes."""

    vote_study: NotRequired[VoteStudy]
    """With several `--k` or with `--noise`: how votes depend on them."""


class Mistakes(TypedDict):
    """The images behind wrong neighbours and wrong verdicts."""

    confused: list[ConfusedClasses]
    """The worst confusions first, until there are 1,000 pairs of images."""
    wrong: WrongQueries
    """The queries with a wrong verdict."""


class Evaluation(Figures, Mistakes, Studied):
    """One setting: a collection, or several fused by one rule."""

    schema: Literal[1]
    collection: str
    """The name of the collection; of a fusion a name made of theirs and the rule."""
    store: str
    pictures: int
    """Images with a class."""
    queries: int
    """How many of them were queries: all, or with `--queries` a random sample."""
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
    reliability: ReliabilityBins | None
    """A reliability diagram; null for too few images, and for a fusion."""
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


class SetCoverage(TypedDict):
    """How prediction sets of a confidence did on held-out images."""

    confidence: float
    """The confidence, between 0 and 1."""
    coverage: float
    """The share of images whose class was in their set, 0 to 1."""
    mean_classes: float
    """The mean number of classes of a set."""
    one_class: float
    """The share of sets of one class, 0 to 1."""
    pictures_needed: int
    """The least number of images for this confidence; with fewer every set holds every class."""


class PredictionSets(TypedDict):
    """What prediction sets were learned from, and how they did."""

    pictures: int
    """Different images that they were learned from: not those that are the only one of their class."""
    coverage: list[SetCoverage]
    """The coverage of usual confidences, learned from each half of the images and measured on the other."""


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
    prediction_sets: PredictionSets | None
    """The prediction sets of `search query --confidence`."""


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
    html: Path | None
    """The page that was written; null without `--html`."""
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
    landmarks: int | None
    """Images that were placed by the method, the others stand around them; null where it placed all."""
    trustworthiness: float | None
    """Over 10 neighbours, 1 is perfect; null for too few images."""
    same_class_on_map: float | None
    """Share of the 10 nearest on the map that have an image's class."""
    same_class_in_space: float | None
    """Share of the 10 nearest in the collection that have an image's class."""
    places: list[Place]
    """The place of each image."""


class Reconstructed(TypedDict):
    """The figures of a group of images as they are reconstructed, or of what is shown in their place."""

    group: Group
    """The images, or what is shown in their place."""
    attacker: Attacker | None
    """The attacker that reconstructs them; null for what is shown without a reconstruction."""
    images: int
    """Images that the figures are means over."""
    candidates: int
    """Images among which the own one is looked for: chance is 1 of them for `first`."""
    psnr: Interval
    """Peak signal-to-noise ratio in dB; 58.9 for equal pixels."""
    ssim: Interval
    """Structural similarity; 1 for equal pixels."""
    first: Interval
    """How often the own image is the nearest to the reconstruction, by its pixels."""
    in_ten: Interval
    """How often it is among the ten nearest."""
    recognised: Interval | None
    """How often the network finds the right class in the reconstruction; null where that was not measured."""
    embedded: int
    """Reconstructions that `recognised` is a mean over."""


class Asymmetry(Interval):
    """How much more often `first` holds by a decoder that was trained on the same images."""

    attacker: Attacker
    """The attacker."""
    images: int
    """Images that were reconstructed by both decoders."""
    p: float
    """The p of a paired sign-flip test, corrected (Holm) for the number of attackers."""


class CollectionPrivacy(TypedDict):
    """What an attacker reconstructs from the vectors of a collection."""

    schema: Literal[1]
    collection: str
    store: str
    html: Path | None
    """The page that was written; null for none."""
    images: int
    """Images that were attacked."""
    total: int
    """Images of different bytes in the collection."""
    duplicates: int
    """Further images, with the same bytes as others, which were left out."""
    left_out: Mapping[LeftOut, int]
    """Images of the sample whose file could not be used, by the reason."""
    trained_on: int
    """Images that a decoder was trained on."""
    seed: int
    """The seed of the sample, the splits and the decoders."""
    provider: str | None
    """What embedded reconstructions; null where none were."""
    groups: list[Reconstructed]
    """The groups, attacker by attacker, and then what is shown without a reconstruction."""
    asymmetries: list[Asymmetry]
    """Images trained on compared with the same images unseen, for each attacker."""
    unseen_classes: Sequence[str]
    """The classes that no decoder of that group was trained on."""
    missing: Sequence[str]
    """Why groups or figures are left out."""


class Export(TypedDict):
    """What was exported from one collection."""

    schema: Literal[1]
    collection: str
    store: str
    output: Path
    """The file that was written."""
    table: Path | None
    """The table of the rows of a matrix, beside it; null for the other formats."""
    images: int
    """The number of images, which are the rows."""
    dimension: int
    """The number of values of a vector."""
    without_thumbnail: int
    """Images whose thumbnail was wanted, and whose file is gone, unreadable or has changed."""
    bytes: int
    """The size of all that was written."""
    took_ms: int
    """Duration in milliseconds."""


LINES = {
    "query": [(Answer,), (FusedAnswer,), (Unreadable,)],
    "evaluate": [(Evaluation,)],
    "calibrate": [(CollectionCalibration,)],
    "neighbours": [(ImageNeighbours,)],
    "export": [(Export,)],
    "duplicates": [(DuplicateGroup,)],
    "audit": [(CollectionAudit,)],
    "explain": [(Explanation,)],
    "map": [(CollectionMap,)],
    "privacy": [(CollectionPrivacy,)],
}
"""Subcommand -> the forms of a line; the keys of all records of one form stand side by side."""

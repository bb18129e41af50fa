"""Summarises an evaluation: figures with their intervals, overall and per class. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
from lookalike_core.models.calibration_curves import Reliability
from lookalike_core.neighbours.precision import best_precision_at, precision_at
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from numpy.typing import NDArray

from lookalike_search.evaluation.bootstrap import Estimate, estimate, mean_of
from lookalike_search.evaluation.calibration import (
    Abstaining,
    measure_abstaining,
    measure_reliability,
    measure_reliability_bins,
)
from lookalike_search.evaluation.index_recall import IndexFigures
from lookalike_search.evaluation.labelled_vectors import IntVector, LabelledImages
from lookalike_search.evaluation.leave_one_out import (
    CUTOFFS,
    SHOWN,
    QueryResults,
    confusion,
    keep_countable,
    right_of,
)
from lookalike_search.evaluation.reliability_bins import ReliabilityBins
from lookalike_search.evaluation.vote_study import VoteStudy

FIGURES = {
    "precision_at_1": "precision@1",
    "precision_at_5": "precision@5",
    "precision_at_10": "precision@10",
    "mean_average_precision": "mean average precision",
    "at_least_5_of_10": "queries with at least 5 of 10",
}
"""The figures of an evaluation, and their names in tables."""

ENOUGH = 5
"""Right ones of ten neighbours that make an answer a good one: the report's "5 of 10 are cats"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """The figures of one class of queries; `best_possible` are those of a perfect ranking.

    `mistaken_for` is the most frequent other class among the neighbours that could have been right, and
    `mistaken_share` its share of them.
    """

    name: str
    images: int
    figures: Mapping[str, Estimate]
    best_possible: Mapping[str, float]
    mistaken_for: str | None
    mistaken_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """How an evaluation fused the rankings of `collections`.

    `only_in_some` images are missing in some of them and were left out.
    """

    rule: FusionRule
    collections: Sequence[str]
    only_in_some: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The figures of a collection, or of several fused; `collection` is then made of their names.

    `values` are those of single queries, float64 `[N]` by figure; NaN, which no figure counts, for a query
    that is `alone` and for an image that was no query. `best_possible` are the figures of a perfect ranking,
    below 1 where classes are small.

    `accuracy` is how often the verdict of a vote is the query's class. `confusion` counts all neighbours,
    `countable_confusion` as many of each query as could all be right. `reliability` says how well a
    calibration learned from half of the images holds for the others, with `reliability_bins` for a diagram,
    and `abstaining` what a threshold learned so would do; they are None for too few images and for a fusion.
    `images` of a fusion are those of its first collection. `indexed` is how good the store's index is, where
    that was measured, and `vote_study` how the votes depend on their number and on noise, where that was
    studied.
    """

    collection: str
    images: LabelledImages
    results: QueryResults
    values: Mapping[str, NDArray[np.float64]]
    figures: Mapping[str, Estimate]
    best_possible: Mapping[str, float]
    accuracy: Mapping[VoteRule, Estimate]
    classes: Sequence[ClassFigures]
    confusion: NDArray[np.int64]
    countable_confusion: NDArray[np.int64]
    reliability: Reliability | None
    abstaining: Abstaining | None
    fusion: Fusion | None = None
    indexed: IndexFigures | None = None
    vote_study: VoteStudy | None = None
    reliability_bins: ReliabilityBins | None = None

    @property
    def collections(self) -> Sequence[str]:
        """The names of the collections that were evaluated: one, or those that were fused."""
        return self.fusion.collections if self.fusion else [self.collection]

    @property
    def queries(self) -> int:
        """How many of the images were queries: all, or a random sample."""
        return len(self.results.queries)

    @property
    def near_identical(self) -> int:
        """How many queries have a near-duplicate."""
        return int((self.results.near_identical > 0).sum())

    @property
    def alone(self) -> NDArray[np.bool_]:
        """Which queries have no other image of their class to find, bool `[N]`."""
        return np.asarray(self.results.relevant == 0)

    @property
    def in_small_classes(self) -> NDArray[np.bool_]:
        """Which queries have fewer than ten others of their class, but some, bool `[N]`."""
        return np.asarray((self.results.relevant > 0) & (self.results.relevant < SHOWN))

    def classes_of(self, queries: NDArray[np.bool_]) -> int:
        """Returns the number of classes of some of the queries, bool `[N]`."""
        return len(np.unique(self.images.vectors.classes[queries]))


def summarise(
    name: str,
    images: LabelledImages,
    results: QueryResults,
    *,
    seed: int = 0,
    fusion: Fusion | None = None,
) -> Evaluation:
    """Returns the figures of an evaluated collection or fusion, with bootstrap intervals over its queries."""
    classes, count = images.vectors.classes, len(images.vectors.names)
    values, best = values_of(results, classes), best_values_of(results)
    counted = confusion(keep_countable(results), classes, count=count)
    return Evaluation(
        collection=name,
        images=images,
        results=results,
        values=values,
        figures={figure: estimate(each, seed=seed) for figure, each in values.items()},
        best_possible={figure: mean_of(each) for figure, each in best.items()},
        accuracy={
            rule: estimate(np.where(results.relevant > 0, verdicts == classes, np.nan), seed=seed)
            for rule, verdicts in results.verdicts.items()
        },
        classes=list(_class_figures(images, values, best, counted, seed)),
        confusion=confusion(results.neighbours, classes, count=count),
        countable_confusion=counted,
        reliability=None if fusion else measure_reliability(images.vectors, results, seed=seed),
        abstaining=None if fusion else measure_abstaining(images.vectors, results, seed=seed),
        fusion=fusion,
        reliability_bins=None if fusion else measure_reliability_bins(images.vectors, results, seed=seed),
    )


def sort_worst_first(classes: Sequence[ClassFigures]) -> list[ClassFigures]:
    """Sorts classes by the share of their best possible precision@10 that they reach; NaN comes last."""

    def share(each: ClassFigures) -> float:
        found = each.figures["precision_at_10"].value / each.best_possible["precision_at_10"]
        return float("inf") if isnan(found) else found

    return sorted(classes, key=share)


def values_of(results: QueryResults, classes: IntVector) -> dict[str, NDArray[np.float64]]:
    """Returns each query's figures, float64 `[N]` by name; NaN where no neighbour can be right."""
    right = right_of(results.neighbours, classes)
    values = {f"precision_at_{k}": precision_at(k, right, results.relevant) for k in CUTOFFS}
    values["mean_average_precision"] = results.average_precision
    values["at_least_5_of_10"] = _is_enough(right[:, :SHOWN].sum(axis=1), results.relevant)
    return values


def best_values_of(results: QueryResults) -> dict[str, NDArray[np.float64]]:
    """Returns each query's figures in a perfect ranking, float64 `[N]` by name; NaN as in `values_of`."""
    relevant = results.relevant
    values = {f"precision_at_{k}": best_precision_at(k, relevant) for k in CUTOFFS}
    values["mean_average_precision"] = np.where(relevant > 0, 1.0, np.nan)
    values["at_least_5_of_10"] = _is_enough(relevant, relevant)
    return values


def _is_enough(right: IntVector, relevant: IntVector) -> NDArray[np.float64]:
    return np.where(relevant > 0, right >= ENOUGH, np.nan)


def _class_figures(
    images: LabelledImages,
    values: Mapping[str, NDArray[np.float64]],
    best: Mapping[str, NDArray[np.float64]],
    table: NDArray[np.int64],
    seed: int,
) -> Iterator[ClassFigures]:
    for number, name in enumerate(images.vectors.names):
        own = images.vectors.classes == number
        wrong = table[number].copy()
        wrong[number] = 0
        worst = int(wrong.argmax())
        yield ClassFigures(
            name=name,
            images=int(own.sum()),
            figures={figure: estimate(each[own], seed=seed) for figure, each in values.items()},
            best_possible={figure: mean_of(each[own]) for figure, each in best.items()},
            mistaken_for=images.vectors.names[worst] if wrong[worst] else None,
            mistaken_share=float(wrong[worst] / max(table[number].sum(), 1)),
        )

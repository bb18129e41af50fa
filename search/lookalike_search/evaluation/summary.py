"""What an evaluation says: figures with their intervals, overall and per class, and how settings compare."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from lookalike_core.models.calibration_curves import Reliability
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from numpy.typing import NDArray

from lookalike_search.evaluation.calibration import Abstaining, abstaining, reliability
from lookalike_search.evaluation.index_recall import IndexFigures
from lookalike_search.evaluation.labelled_vectors import LabelledPictures
from lookalike_search.evaluation.leave_one_out import (
    CUTOFFS,
    SHOWN,
    Estimate,
    IntVector,
    QueryResults,
    confusion,
    estimate,
    precision_at,
)

FIGURES = {
    "precision_at_1": "precision@1",
    "precision_at_5": "precision@5",
    "precision_at_10": "precision@10",
    "mean_average_precision": "mean average precision",
    "at_least_5_of_10": "queries with at least 5 of 10",
}
"""The figures of an evaluation, and what people call them."""

ENOUGH = 0.5
"""Of the ten neighbours: the report's "5 of 10 are cats"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """One class of queries; `mistaken_for` is the class that most of its wrong neighbours have."""

    name: str
    pictures: int
    figures: Mapping[str, Estimate]
    mistaken_for: str | None
    mistaken_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """How the ranking of an evaluation was made of those of `collections`.

    `only_in_some` pictures are not in all of them and were left out.
    """

    rule: FusionRule
    collections: Sequence[str]
    only_in_some: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A collection's figures, or those of several fused, which have a name of their own.

    `values` are those of single queries, float64 `[N]` each, by name.

    Accuracy is that of a vote's verdict on the query; similarity is no part of it. `reliability` says how
    well a calibration learned from half of the pictures holds for the others, and `abstaining` what a
    threshold learned so would do; None where they are too few, and of a fusion, which has none. `pictures`
    of a fusion are those of its first collection. `indexed` is how the store's index did, where it was
    asked.
    """

    collection: str
    pictures: LabelledPictures
    results: QueryResults
    values: Mapping[str, NDArray[np.float64]]
    figures: Mapping[str, Estimate]
    accuracy: Mapping[VoteRule, Estimate]
    classes: Sequence[ClassFigures]
    confusion: NDArray[np.int64]
    reliability: Reliability | None
    abstaining: Abstaining | None
    fusion: Fusion | None = None
    indexed: IndexFigures | None = None

    @property
    def collections(self) -> Sequence[str]:
        """The names of the collections whose neighbours these are: one, or those that are fused."""
        return self.fusion.collections if self.fusion else [self.collection]

    @property
    def near_identical(self) -> int:
        """How many queries have a near-identical picture."""
        return int((self.results.near_identical > 0).sum())


def summed_up(
    name: str,
    pictures: LabelledPictures,
    results: QueryResults,
    *,
    seed: int = 0,
    fusion: Fusion | None = None,
) -> Evaluation:
    """The figures of an evaluated collection or fusion, with bootstrap intervals over its queries."""
    classes = pictures.vectors.classes
    values = values_of(results, classes)
    table = confusion(results, classes, count=len(pictures.vectors.names))
    return Evaluation(
        collection=name,
        pictures=pictures,
        results=results,
        values=values,
        figures={figure: estimate(each, seed=seed) for figure, each in values.items()},
        accuracy={
            rule: estimate((verdicts == classes).astype(np.float64), seed=seed)
            for rule, verdicts in results.verdicts.items()
        },
        classes=list(_classes(pictures, classes, values, table, seed)),
        confusion=table,
        reliability=None if fusion else reliability(pictures.vectors, results, seed=seed),
        abstaining=None if fusion else abstaining(pictures.vectors, results, seed=seed),
        fusion=fusion,
    )


def values_of(results: QueryResults, classes: IntVector) -> dict[str, NDArray[np.float64]]:
    """What each query's neighbours are worth, float64 `[N]` by figure."""
    values = {f"precision_at_{cutoff}": precision_at(results, classes, cutoff) for cutoff in CUTOFFS}
    values["mean_average_precision"] = results.average_precision
    values["at_least_5_of_10"] = (values[f"precision_at_{SHOWN}"] >= ENOUGH).astype(np.float64)
    return values


def _classes(
    pictures: LabelledPictures,
    classes: IntVector,
    values: Mapping[str, NDArray[np.float64]],
    table: NDArray[np.int64],
    seed: int,
) -> Iterator[ClassFigures]:
    for number, name in enumerate(pictures.vectors.names):
        own = classes == number
        wrong = table[number].copy()
        wrong[number] = 0
        worst = int(wrong.argmax())
        yield ClassFigures(
            name=name,
            pictures=int(own.sum()),
            figures={figure: estimate(each[own], seed=seed) for figure, each in values.items()},
            mistaken_for=pictures.vectors.names[worst] if wrong[worst] else None,
            mistaken_share=float(wrong[worst] / max(table[number].sum(), 1)),
        )

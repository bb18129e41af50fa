"""An evaluation as `evaluation_parts.html` shows it, made of an evaluation or read from its JSON record."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from lookalike_core.models.calibration_curves import Reliability
from lookalike_core.neighbours.vote import VoteRule
from numpy.typing import NDArray

from lookalike_search.evaluation.bootstrap import Estimate
from lookalike_search.evaluation.calibration import Abstaining
from lookalike_search.evaluation.head_splits import Part, PartFigures
from lookalike_search.evaluation.index_recall import IndexFigures
from lookalike_search.evaluation.mistakes import row_shares
from lookalike_search.evaluation.reliability_bins import ReliabilityBin, ReliabilityBins
from lookalike_search.evaluation.runs import Setting
from lookalike_search.evaluation.summary import FIGURES, ClassFigures, Fusion

TABLE_CLASSES = 25
"""Classes in a confusion table; of more, those with the most wrong neighbours."""

HEAT_STEPS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownEvaluation:
    """The figures of an evaluation; fields are as those of `Evaluation`, with numbers for arrays."""

    collection: str
    k: int
    images: int
    queries: int
    names: Sequence[str]
    unlabelled: int
    near_identical: int
    alone: int
    in_small_classes: int
    figures: Mapping[str, Estimate]
    best_possible: Mapping[str, float]
    accuracy: Mapping[VoteRule, Estimate]
    reliability: Reliability | None
    reliability_bins: ReliabilityBins | None
    abstaining: Abstaining | None
    indexed: IndexFigures | None
    classes: Sequence[ClassFigures]
    confusion: NDArray[np.int64]
    """The countable ones."""
    fusion: Fusion | None
    parts: Sequence[PartFigures]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of the confusion table: `heat` is 0 to 1 at the worst confusion, the numbers are of classes."""

    own: int
    other: int
    count: int
    share: float
    heat: float

    @property
    def is_right(self) -> bool:
        """Whether it counts neighbours of the query's class."""
        return self.own == self.other

    @property
    def step(self) -> int:
        """The heat as a whole number of `HEAT_STEPS`; at least 1, so that every confusion is seen."""
        return max(1, round(HEAT_STEPS * self.heat))


def show_evaluation(setting: Setting, *, k: int) -> ShownEvaluation:
    """Returns an evaluation as it is shown."""
    evaluation = setting.evaluation
    return ShownEvaluation(
        collection=evaluation.collection,
        k=k,
        images=len(evaluation.images.payloads),
        queries=evaluation.queries,
        names=evaluation.images.vectors.names,
        unlabelled=evaluation.images.unlabelled,
        near_identical=evaluation.near_identical,
        alone=int(evaluation.alone.sum()),
        in_small_classes=int(evaluation.in_small_classes.sum()),
        figures=evaluation.figures,
        best_possible=evaluation.best_possible,
        accuracy=evaluation.accuracy,
        reliability=evaluation.reliability,
        reliability_bins=evaluation.reliability_bins,
        abstaining=evaluation.abstaining,
        indexed=evaluation.indexed,
        classes=evaluation.classes,
        confusion=evaluation.countable_confusion,
        fusion=evaluation.fusion,
        parts=setting.parts or (),
    )


def read_evaluation(record: Mapping[str, Any]) -> ShownEvaluation:
    """Returns an evaluation of one collection as it is shown, from what `search evaluate --json` prints."""
    names = record["confusion"]["classes"]
    table = _table(record["confusion"]["countable_cells"], len(names))
    return ShownEvaluation(
        collection=record["collection"],
        k=record["k"],
        images=record["pictures"],
        queries=record["queries"],
        names=names,
        unlabelled=record["unlabelled"],
        near_identical=record["near_identical"],
        alone=record["alone"],
        in_small_classes=record["in_small_classes"],
        figures=_figures(record),
        best_possible=_numbers(record["best_possible"]),
        accuracy={VoteRule(rule): _estimate(found) for rule, found in record["accuracy"].items()},
        reliability=_reliability(record["expected_calibration_error"]),
        reliability_bins=_bins(record["reliability"]),
        abstaining=_abstaining(record["abstaining"]),
        indexed=_index(record["indexed"]),
        classes=list(_classes(record["classes"], names, table)),
        confusion=table,
        fusion=None,
        parts=[_part(part) for part in record["head"] or ()],
    )


def confusion_rows(shown: ShownEvaluation, columns: Sequence[int]) -> Iterator[tuple[str, Sequence[Cell]]]:
    """Yields the names of some classes with their cells of the confusion table."""
    shares = row_shares(shown.confusion)
    hottest = float((shares - np.diag(shares.diagonal())).max()) or 1.0
    for row in columns:
        yield (
            shown.names[row],
            [
                Cell(
                    own=row,
                    other=column,
                    count=int(shown.confusion[row, column]),
                    share=float(shares[row, column]),
                    heat=min(1.0, float(np.sqrt(shares[row, column] / hottest))),
                )
                for column in columns
            ],
        )


def shown_classes(table: NDArray[np.int64], most: int = TABLE_CLASSES) -> list[int]:
    """Returns the classes of the table in their order: all, or the `most` with the most wrong neighbours."""
    wrong = table.sum(axis=0) + table.sum(axis=1) - 2 * table.diagonal()
    return sorted(int(number) for number in np.argsort(-wrong, kind="stable")[:most])


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: _number(value) for name, value in values.items()}


def _estimate(found: Mapping[str, float | None]) -> Estimate:
    return Estimate(value=_number(found["value"]), low=_number(found["low"]), high=_number(found["high"]))


def _figures(record: Mapping[str, Any]) -> dict[str, Estimate]:
    return {key: _estimate(record[key]) for key in FIGURES if key in record}


def _reliability(found: Mapping[str, Any] | None) -> Reliability | None:
    if found is None:
        return None
    return Reliability(
        bins=found["bins"],
        neighbours=found["neighbours"],
        neighbours_equal_mass=found["neighbours_equal_mass"],
        verdicts=found["verdict"],
    )


def _bins(found: Mapping[str, Any] | None) -> ReliabilityBins | None:
    if found is None:
        return None
    neighbours, verdicts = (
        [
            ReliabilityBin(cases=each["cases"], chance=each["chance"], right=each["right"])
            for each in found[of]
        ]
        for of in ("neighbours", "verdict")
    )
    return ReliabilityBins(neighbours=neighbours, verdicts=verdicts)


def _abstaining(found: Mapping[str, Any] | None) -> Abstaining | None:
    if found is None:
        return None
    return Abstaining(answered=_estimate(found["answered"]), accuracy=_estimate(found["accuracy"]))


def _index(found: Mapping[str, Any] | None) -> IndexFigures | None:
    if found is None:
        return None
    return IndexFigures(
        covered=found["indexed_vectors"],
        points=found["points"],
        overlap=_estimate(found["overlap"]),
        complete=_estimate(found["all_the_same"]),
        figures=_figures(found),
    )


def _table(cells: Sequence[Sequence[int]], count: int) -> NDArray[np.int64]:
    table = np.zeros((count, count), dtype=np.int64)
    for row, column, number in cells:
        table[row, column] = number
    return table


def _classes(
    records: Sequence[Mapping[str, Any]], names: Sequence[str], table: NDArray[np.int64]
) -> Iterator[ClassFigures]:
    shares = row_shares(table)
    np.fill_diagonal(shares, 0)
    for row, each in enumerate(records):
        worst = int(shares[row].argmax())
        yield ClassFigures(
            name=each["class"],
            images=each["pictures"],
            figures=_figures(each),
            best_possible=_numbers(each["best_possible"]),
            mistaken_for=names[worst] if shares[row, worst] else None,
            mistaken_share=float(shares[row, worst]),
        )


def _part(found: Mapping[str, Any]) -> PartFigures:
    return PartFigures(
        part=Part(found["part"]),
        images=found["pictures"],
        classes=found["classes"],
        figures=_figures(found),
        best_possible=_numbers(found["best_possible"]),
    )

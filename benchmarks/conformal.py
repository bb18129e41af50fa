"""Measures the coverage and size of prediction sets over random splits of existing collections.

    python benchmarks/conformal.py [--store STORE] [--splits 100] COLLECTION [COLLECTION ...]

For each split a random half of the images, exact duplicates together, is the collection: `search calibrate`'s
function learns from it by leave-one-out, and the images of the other half are queries with its images as
neighbours. So for each dataset of a collection and for all together, and for all with a long tail, where a
split has few images of most classes (2 + 2 Pareto(1) of each). Queries whose class is not in the first half
are left out. Figures are means over the splits; the interval is from the 2.5th to the 97.5th percentile of
the splits, and `short` is the share of splits whose coverage is more than 1.5 points below the level.
`unlike ones` is the coverage of those queries that are out-of-distribution, of all splits together.

Then one dataset is the collection and the images of the others, of classes that it lacks, are queries: the
share of them that are out-of-distribution, and those with a set of one class, several, and every class.

--euclid takes the Euclidean distances of the same vectors; --nearest N counts so many neighbours of a class;
--score takes another nonconformity: 1 less the class's share of the ten nearest (`votes`), or of the weights
exp(similarity / T) of the hundred nearest (`share`, with --temperature T), or 0 for the class with the most;
--only takes one of the datasets, or `all`, `long-tail`, or `unknown` for the queries of other classes.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

import numpy as np
from lookalike_core.models.conformal_scores import ConformalScores
from lookalike_core.neighbours import nonconformity
from lookalike_core.neighbours.cosine import clip_cosines, normalise_rows
from lookalike_core.neighbours.rank_fusion import CANDIDATES
from lookalike_core.neighbours.vote import TEMPERATURE, VoteRule
from lookalike_core.settings import Settings
from lookalike_core.stores.open_store import open_store
from lookalike_search.evaluation import conformal
from lookalike_search.evaluation import leave_one_out as leave_one_out_module
from lookalike_search.evaluation.calibration import measure_threshold
from lookalike_search.evaluation.conformal import LEVELS, learn_conformal_scores
from lookalike_search.evaluation.isotonic import draw_half
from lookalike_search.evaluation.labelled_vectors import LabelledVectors, load_labelled
from lookalike_search.evaluation.leave_one_out import leave_one_out
from lookalike_search.evaluation.similarity_blocks import nearest_rows
from machine import describe
from numpy.typing import NDArray

LONG_TAIL = "long-tail"

SHORT = 0.015
"""By how much the coverage of a level may fall short."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The sets of one level; `unlike_covered` counts right ones of out-of-distribution queries."""

    coverage: float
    unlike_covered: int
    classes: float
    one_class: float
    several: float
    every_class: float


def main() -> None:
    """Prints a table for each collection and dataset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collections", nargs="+")
    parser.add_argument("--store")
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--euclid", action="store_true")
    parser.add_argument("--score", choices=("closeness", "votes", "share"), default="closeness")
    parser.add_argument("--temperature", type=float, default=TEMPERATURE)
    parser.add_argument("--only")
    parser.add_argument("--nearest", type=int, default=nonconformity.NEAREST)
    arguments = parser.parse_args()
    print(describe())
    measure = {
        "closeness": nonconformity.measure_nonconformity,
        "votes": partial(_measure_shares, voters=10, temperature=np.inf),
        "share": partial(_measure_shares, voters=CANDIDATES, temperature=arguments.temperature),
    }[arguments.score]
    with (
        patch.object(nonconformity, "NEAREST", arguments.nearest),
        patch.object(conformal, "measure_nonconformity", measure),
        patch.object(leave_one_out_module, "find_verdicts", lambda *_: dict.fromkeys(VoteRule, (-1, np.nan))),
        patch.object(leave_one_out_module, "average_precision", lambda *_: np.empty(0)),
    ):  # neither votes nor precision matter here, and they would take most of the time
        for name in arguments.collections:
            images, datasets = _load(name, arguments.store, euclid=arguments.euclid)
            names = np.unique(datasets).tolist()
            for dataset in [*(names if len(names) > 1 else ()), "all", LONG_TAIL]:
                if arguments.only in (None, dataset):
                    rows = np.flatnonzero((datasets == dataset) | (dataset in ("all", LONG_TAIL)))
                    _measure_splits(name, dataset, _select(images, rows), arguments.splits)
            for dataset in names if len(names) > 1 and arguments.only in (None, "unknown") else ():
                _measure_unknown(name, dataset, images, datasets == dataset)


def _load(name: str, store_name: str | None, *, euclid: bool) -> tuple[LabelledVectors, NDArray[np.str_]]:
    store = open_store(store_name, Settings.from_environment())
    with store.open(name) as collection:
        loaded = load_labelled(collection)
    store.close()
    found = loaded.vectors
    images = LabelledVectors(
        vectors=found.vectors,
        classes=found.classes,
        copies=found.copies,
        names=found.names,
        higher_is_nearer=found.higher_is_nearer and not euclid,
    )
    return images, np.array([payload.dataset for payload in loaded.payloads])


def _select(images: LabelledVectors, rows: Rows) -> LabelledVectors:
    """Returns some of the images, with the classes numbered by those that are there."""
    numbers, classes = np.unique(images.classes[rows], return_inverse=True)
    return LabelledVectors(
        vectors=images.vectors[rows],
        classes=classes,
        copies=images.copies[rows],
        names=[images.names[number] for number in numbers],
        higher_is_nearer=images.higher_is_nearer,
    )


def _measure_splits(name: str, dataset: str, images: LabelledVectors, splits: int) -> None:
    started = time.perf_counter()
    print(
        f"\n{name}, {dataset}: {len(images.classes)} images of {len(images.names)} classes, {splits} splits"
    )
    found: list[list[Figures]] = []
    every, asked, unlike, learned_from, alone = images, 0, 0, [], []
    for seed in range(splits):
        images = _keep_long_tail(every, seed) if dataset == LONG_TAIL else every
        half = draw_half(images.copies, seed=seed)
        indexed = np.flatnonzero(half)
        is_known = np.isin(images.classes, images.classes[indexed])
        learned, least, _ = _calibrate(_select(images, indexed), seed)
        queries = np.flatnonzero(~half & is_known)
        figures, count = _ask(images, indexed, queries, learned, least)
        found.append(figures)
        own = images.classes[indexed]
        alone.append(np.mean(np.bincount(own)[own] == 1))
        asked, unlike = asked + len(queries), unlike + count
        learned_from.append(learned.images)
    print(
        f"learned from {np.mean(learned_from):.0f} images; {np.mean(alone):.1%} of the indexed ones are the "
        f"only one of their class; {unlike} of {asked} queries are unlike anything indexed"
    )
    print("level  coverage (2.5 to 97.5 %)     short  unlike ones  classes in a set  one class  every class")
    for column, level in enumerate(LEVELS):
        at = [figures[column] for figures in found]
        coverage = np.array([each.coverage for each in at])
        low, high = np.quantile(coverage, [0.025, 0.975])
        print(
            f"{level:>5.0%}  {coverage.mean():.2%} ({low:.2%} to {high:.2%})  "
            f"{np.mean(coverage < level - SHORT):>6.1%}  "
            f"{sum(each.unlike_covered for each in at) / max(1, unlike):>11.1%}  "
            f"{_mean(at, 'classes'):>16.2f}  {_mean(at, 'one_class'):>9.1%}  "
            f"{_mean(at, 'every_class'):>11.1%}"
        )
    print(f"{time.perf_counter() - started:.0f} s", flush=True)


def _keep_long_tail(images: LabelledVectors, seed: int) -> LabelledVectors:
    """Returns a random sample with few images of most classes, and many of some."""
    random, count = np.random.default_rng(seed), len(images.names)
    rows = [random.permutation(np.flatnonzero(images.classes == number)) for number in range(count)]
    kept = [own[: 2 + int(2 * random.pareto(1))] for own in rows]
    return _select(images, np.sort(np.concatenate(kept)))


def _measure_unknown(name: str, dataset: str, images: LabelledVectors, is_indexed: NDArray[np.bool_]) -> None:
    """Prints what queries get whose classes are not in the collection."""
    indexed = np.flatnonzero(is_indexed)
    queries = np.flatnonzero(~is_indexed & ~np.isin(images.classes, images.classes[indexed]))
    learned, least, caught = _calibrate(_select(images, indexed), 0)
    figures, count = _ask(images, indexed, queries, learned, least)
    print(f"\n{name}, {dataset} indexed: {len(queries)} queries of classes that it lacks, none can be right")
    unlike = count / len(queries)
    print(f"unlike anything indexed: {unlike:.1%} (estimated by the calibration: {caught:.1%})")
    print("level  one class  several  every class")
    for level, each in zip(LEVELS, figures, strict=True):
        print(f"{level:>5.0%}  {each.one_class:>9.1%}  {each.several:>7.1%}  {each.every_class:>11.1%}")


def _calibrate(indexed: LabelledVectors, seed: int) -> tuple[ConformalScores, float, float]:
    """Returns what `search calibrate` learns: scores, and the impostor test's threshold with its catch."""
    results = leave_one_out(indexed, depth=CANDIDATES)
    threshold = measure_threshold(indexed, results)
    learned = learn_conformal_scores(indexed, results, seed=seed)
    return learned, threshold.nearness, threshold.caught


def _ask(
    images: LabelledVectors, indexed: Rows, queries: Rows, learned: ConformalScores, least: float
) -> tuple[list[Figures], int]:
    """Returns the figures of each level, and the number of queries that are out-of-distribution."""
    units = normalise_rows(images.vectors)
    nearness = clip_cosines(units[queries] @ units[indexed].T)
    if not images.higher_is_nearer:
        nearness = -np.sqrt(np.maximum(2 - 2 * nearness.astype(np.float64), 0))
    rows, values = nearest_rows(nearness, min(CANDIDATES, len(indexed)))
    is_unlike = values[:, 0] < least
    fit = _measure_fit(images, images.classes[indexed[rows]], values)
    fit = fit[:, np.unique(images.classes[indexed])]
    right = np.unique(images.classes[indexed]) == images.classes[queries, np.newaxis]
    figures = []
    for level in LEVELS:
        threshold = learned.threshold(level)
        chosen = fit <= (np.inf if threshold is None else threshold)
        count, is_covered = chosen.sum(axis=1), (chosen & right).any(axis=1)
        figures.append(
            Figures(
                coverage=float(is_covered.mean()),
                unlike_covered=int(is_covered[is_unlike].sum()),
                classes=float(count.mean()),
                one_class=float(np.mean(count == 1)),
                several=float(np.mean((count > 1) & (count < fit.shape[1]))),
                every_class=float(np.mean(count == fit.shape[1])),
            )
        )
    return figures, int(is_unlike.sum())


def _measure_fit(
    images: LabelledVectors, classes: Rows, nearness: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Returns the nonconformity of every class to each query, float64 `[M, C]`."""
    scores = nearness if images.higher_is_nearer else -nearness
    measured = conformal.measure_nonconformity(classes, scores, higher_is_nearer=images.higher_is_nearer)
    fit = np.repeat(measured.of_others[:, np.newaxis], len(images.names), axis=1)
    np.put_along_axis(fit, classes, measured.of_neighbours, axis=1)
    return fit


def _measure_shares(
    classes: Rows,
    scores: NDArray[np.floating],
    *,
    higher_is_nearer: bool,
    voters: int,
    temperature: float,
) -> nonconformity.Nonconformity:
    """Measures 1 less the share of each class in the weighted vote of so many neighbours."""
    similarity = scores if higher_is_nearer else -scores / scores[:, -1:]
    weights = np.exp((similarity - similarity[:, :1]) / temperature)
    weights[:, voters:] = 0
    shares = np.zeros(classes.shape)
    for number in np.unique(classes):
        is_own = classes == number
        shares += is_own * (weights * is_own).sum(axis=1, keepdims=True)
    shares /= weights.sum(axis=1, keepdims=True)
    measured = np.where(shares == shares.max(axis=1, keepdims=True), 0, 1 - shares)  # so that no set is empty
    return nonconformity.Nonconformity(of_neighbours=measured, of_others=np.ones(len(classes)))


def _mean(figures: Sequence[Figures], name: str) -> float:
    return float(np.mean([getattr(each, name) for each in figures]))


if __name__ == "__main__":
    main()

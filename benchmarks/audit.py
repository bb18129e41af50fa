"""Measures what `search audit` finds of faults that are made on purpose, in existing collections.

    python benchmarks/audit.py [--store STORE] [--seeds 10] [--share 0.05] [--dataset NAME] COLLECTION [...]

Wrong labels: for each dataset and seed, a random share of the images gets a random other class. Of the
likeliest suspects, as many as there are wrong labels, `precision` is the share of wrong ones; `named` is the
share of all wrong labels whose right class is the suggested one; `listed` and `false` are the number of those
listed at a false discovery rate of 5 %, as a share of the wrong ones, and the share of right labels among
them; `noise` is the estimated share of wrong labels. `error` is the expected calibration error of the chances
over ten bins. Where cleanlab is installed (the dependency group `audit-judge`), its ranking by normalised
margin and its `find_label_issues` get chances of the same vectors by the votes of the 10 nearest.

Outliers, of datasets with at least 20 classes: a random half of the classes is indexed, and 10 images of each
of the others are put in without a class. `AP` is the average precision of their scores, by which all images
are ranked.
"""

import argparse
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

import numpy as np
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.settings import Settings
from lookalike_core.stores.open_store import open_store
from lookalike_core.stores.points import PointFilter
from lookalike_search.analysis.false_discoveries import rates_by_chances
from lookalike_search.analysis.label_noise import VOTERS, find_judged, judge_labels
from lookalike_search.analysis.outliers import measure_outlyingness
from lookalike_search.evaluation.labelled_vectors import LabelledVectors, load_labelled
from lookalike_search.evaluation.similarity_blocks import nearest_rows, ranked_blocks
from machine import describe
from numpy.typing import NDArray

VOTERS_OF_JUDGE = 10
OUTLIERS_OF_EACH = 10
MIN_CLASSES = 20
BINS = 10


def main() -> None:
    """Prints a line for each collection, dataset and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("collections", nargs="+")
    parser.add_argument("--store")
    parser.add_argument("--dataset")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--share", type=float, default=0.05)
    asked = parser.parse_args()
    print(describe())
    if find_spec("cleanlab") is None:
        print("cleanlab is not installed: it judges nothing")
    store = open_store(asked.store, Settings.from_environment())
    for name in asked.collections:
        with store.open(name) as source:
            parts = {
                each: load_labelled(source, PointFilter(dataset=each)) for each in source.manifest.datasets
            }
        for dataset, images in parts.items():
            if asked.dataset not in (None, dataset):
                continue
            print(f"{name}, {dataset}", flush=True)
            for line in _measure_labels(images.vectors, asked.seeds, asked.share):
                print(f"  {line}", flush=True)
            if len(images.vectors.names) >= MIN_CLASSES:
                print(f"  {_measure_outliers(images.vectors, asked.seeds)}", flush=True)


def _measure_labels(images: LabelledVectors, seeds: int, share: float) -> Iterator[str]:
    depth = min(VOTERS, len(images.classes) - 1)
    blocks = ranked_blocks([images], FusionRule.RRF, near_above=1, without_near=False, on_done=lambda _: None)
    found = [nearest_rows(block.similarity, depth) for block in blocks]
    neighbours, nearness = (np.concatenate(each) for each in zip(*found, strict=True))
    ours, theirs = [], []
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        count, total = len(images.names), len(images.classes)
        rows = random.choice(total, round(share * total), replace=False)
        labels = images.classes.copy()
        labels[rows] = (labels[rows] + random.integers(1, count, len(rows))) % count
        is_wrong = np.zeros(total, dtype=bool)
        is_wrong[rows] = True
        chances = judge_labels(labels, find_judged(labels, images.copies), neighbours, nearness)
        wrong = np.nan_to_num(chances.wrong)
        top = np.argsort(-wrong, kind="stable")[: len(rows)]
        listed = rates_by_chances(wrong) <= share
        bins = np.minimum((wrong * BINS).astype(int), BINS - 1)
        ours.append(
            [
                is_wrong[top].mean(),
                (chances.suggested[rows] == images.classes[rows]).mean(),
                listed.sum() / len(rows),
                1 - is_wrong[listed].mean() if listed.any() else 0.0,
                chances.noise,
                np.abs(np.bincount(bins, weights=wrong - is_wrong, minlength=BINS)).sum() / total,
            ]
        )
        if find_spec("cleanlab") is not None:
            theirs.append(_ask_cleanlab(labels, neighbours, is_wrong, images.classes))
    names = ("precision", "named", "listed", "false", "noise", "error")
    yield "lookalike: " + _show(names, ours)
    if theirs:
        yield "cleanlab:  " + _show(("precision", "named", "listed", "false"), theirs)


def _ask_cleanlab(
    labels: NDArray[np.int64],
    neighbours: NDArray[np.int64],
    is_wrong: NDArray[np.bool_],
    right: NDArray[np.int64],
) -> list[float]:
    """Returns the figures of cleanlab's ranking and of its list, by the votes of the nearest."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    votes = labels[neighbours[:, :VOTERS_OF_JUDGE]]
    chances = np.stack([(votes == each).mean(axis=1) for each in range(labels.max() + 1)], axis=1)
    quality = get_label_quality_scores(labels, chances, method="normalized_margin")
    listed = find_label_issues(labels, chances)
    count = int(is_wrong.sum())
    top = np.argsort(quality, kind="stable")[:count]
    named = (chances.argmax(axis=1) == right)[is_wrong].mean()
    false = 1 - is_wrong[listed].mean() if listed.any() else 0.0
    return [is_wrong[top].mean(), named, listed.sum() / count, false]


def _measure_outliers(images: LabelledVectors, seeds: int) -> str:
    from sklearn.metrics import average_precision_score

    found = []
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        count = len(images.names)
        known = np.isin(images.classes, random.permutation(count)[: count // 2])
        unknown = [np.flatnonzero(images.classes == each) for each in np.unique(images.classes[~known])]
        out = np.concatenate([random.choice(each, OUTLIERS_OF_EACH, replace=False) for each in unknown])
        rows = np.concatenate([np.flatnonzero(known), out])
        classes = np.where(known[rows], images.classes[rows], -1)
        measured = measure_outlyingness(
            images.vectors[rows], classes, images.copies[rows], np.zeros((len(rows), 1)), known=known[rows]
        )
        found.append([average_precision_score(~known[rows], measured.scores)])
    return "outliers:  " + _show(("AP",), found)


def _show(names: Sequence[str], figures: Sequence[Sequence[float]]) -> str:
    means = np.mean(figures, axis=0)
    return "  ".join(f"{name} {mean:.3f}" for name, mean in zip(names, means, strict=True))


if __name__ == "__main__":
    main()

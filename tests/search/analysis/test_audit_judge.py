"""Judges suspects of wrong labels by cleanlab, which is installed by the dependency group `audit-judge`."""

import numpy as np
import pytest
from lookalike_search.analysis.label_noise import judge_labels

rank = pytest.importorskip("cleanlab.rank", reason="cleanlab is not installed (group audit-judge)")


def test_suspects_are_as_often_wrong_as_those_of_cleanlab() -> None:
    """Both rank the labels of overlapping clouds by the same neighbours; ten seeds, 5 % wrong labels."""
    ours, theirs = [], []
    for seed in range(10):
        random = np.random.default_rng(seed)
        right = np.arange(400) % 5
        vectors = 3 * np.eye(5, 8)[right] + random.normal(size=(400, 8))
        labels, rows = right.copy(), random.choice(400, 20, replace=False)
        labels[rows] = (labels[rows] + random.integers(1, 5, 20)) % 5
        nearness = -np.linalg.norm(vectors[:, np.newaxis] - vectors, axis=2)
        np.fill_diagonal(nearness, -np.inf)
        neighbours = np.argsort(-nearness, axis=1)[:, :100]
        found = judge_labels(
            labels, np.ones(400, dtype=bool), neighbours, np.take_along_axis(nearness, neighbours, axis=1)
        )
        votes = labels[neighbours[:, :10]]
        chances = np.stack([(votes == each).mean(axis=1) for each in range(5)], axis=1)
        quality = rank.get_label_quality_scores(labels, chances, method="normalized_margin")
        ours.append(np.isin(np.argsort(-found.wrong, kind="stable")[:20], rows).mean())
        theirs.append(np.isin(np.argsort(quality, kind="stable")[:20], rows).mean())
    assert np.mean(ours) > np.mean(theirs) - 0.02

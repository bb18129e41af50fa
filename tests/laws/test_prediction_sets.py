"""Prediction sets hold the right class as often as was asked, whatever the images are, and are nested."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lookalike_core.models.conformal_scores import keep_scores
from lookalike_search.asking.prediction_sets import choose_classes
from lookalike_search.evaluation.conformal import LEVELS, learn_conformal_scores
from lookalike_search.evaluation.labelled_vectors import LabelledVectors
from lookalike_search.evaluation.leave_one_out import leave_one_out
from numpy.typing import NDArray

CLASSES = 6
INDEXED, ASKED, ROUNDS = 150, 150, 16

NEIGHBOURS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.floats(0, 1, width=32)), min_size=1, max_size=30
).map(lambda found: sorted(found, key=lambda each: -each[1]))
SCORES = st.lists(st.floats(0, 1, width=32), max_size=120)
CONFIDENCES = st.floats(0.01, 0.99)


def sample(count: int, random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Draws images of classes of very unequal size, shape and overlap, in four dimensions."""
    shares = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
    centres = np.random.default_rng(7).normal(size=(CLASSES, 4))
    widths = np.array([0.3, 1.5, 0.6, 1.0, 0.4, 0.8])
    classes = random.choice(CLASSES, count, p=shares)
    return centres[classes] + widths[classes, np.newaxis] * random.normal(size=(count, 4)), classes


def covered(seed: int, *, cosine: bool) -> dict[float, float]:
    """Returns the coverage of each level for new images, after learning from others of the same kind."""
    random = np.random.default_rng(seed)
    vectors, classes = sample(INDEXED, random)
    queries, right = sample(ASKED, random)
    if cosine:
        vectors, queries = (each / np.linalg.norm(each, axis=1)[:, np.newaxis] for each in (vectors, queries))
    one = LabelledVectors(
        vectors=vectors,
        classes=classes,
        copies=np.arange(INDEXED),
        names=[f"class {number}" for number in range(CLASSES)],
        higher_is_nearer=cosine,
    )
    learned = learn_conformal_scores(one, leave_one_out(one, depth=100))
    nearness = queries @ vectors.T if cosine else -np.linalg.norm(queries[:, np.newaxis] - vectors, axis=2)
    hits = dict.fromkeys(LEVELS, 0)
    known = np.isin(right, classes)
    for query in np.flatnonzero(known):
        order = np.argsort(-nearness[query], kind="stable")[:100]
        scores = nearness[query, order] if cosine else -nearness[query, order]
        for level in LEVELS:
            chosen, has_others = choose_classes(
                classes[order].astype(str).tolist(),
                scores.tolist(),
                threshold=learned.threshold(level),
                higher_is_nearer=cosine,
            )
            hits[level] += has_others or str(right[query]) in chosen
    return {level: count / int(known.sum()) for level, count in hits.items()}


@pytest.mark.parametrize("cosine", [True, False])
def test_sets_hold_the_right_class_as_often_as_was_asked(cosine: bool) -> None:
    """The mean of independent rounds is at most four standard errors short.

    The coverage of a round varies as a beta-binomial's: by the images that were learned from, and by those
    that are asked with.
    """
    rounds = [covered(seed, cosine=cosine) for seed in range(ROUNDS)]
    for level in LEVELS:
        mean = np.mean([each[level] for each in rounds])
        error = np.sqrt(level * (1 - level) * (1 / INDEXED + 1 / ASKED) / ROUNDS)
        assert mean >= level - 4 * error, level
    ninety = np.mean([each[0.9] for each in rounds])
    assert ninety < 0.95, "sets of all classes would hold every right one"


@given(NEIGHBOURS, SCORES, CONFIDENCES, CONFIDENCES)
def test_sets_grow_with_the_confidence_and_are_never_empty(
    found: Sequence[tuple[str, float]], scores: Sequence[float], one: float, other: float
) -> None:
    """That of a higher confidence holds that of a lower one, best first in both."""
    learned, low, high = keep_scores(scores), min(one, other), max(one, other)
    small, few_others = choose(found, learned.threshold(low))
    large, more_others = choose(found, learned.threshold(high))
    assert small
    assert large[: len(small)] == small
    assert more_others or not few_others


@given(NEIGHBOURS, st.permutations("abcdef"), st.floats(0, 1))
def test_other_names_of_classes_give_the_same_set_under_these_names(
    found: Sequence[tuple[str, float]], names: Sequence[str], threshold: float
) -> None:
    """No class is preferred by its name, also where classes tie."""
    renamed = dict(zip("abcdef", names, strict=True))
    chosen, has_others = choose(found, threshold)
    other, other_has = choose([(renamed[name], score) for name, score in found], threshold)
    assert ([renamed[name] for name in chosen], has_others) == (other, other_has)


def choose(found: Sequence[tuple[str, float]], threshold: float | None) -> tuple[list[str], bool]:
    """Returns the set for neighbours given as pairs of class and similarity."""
    names, scores = zip(*found, strict=True)
    return choose_classes(names, scores, threshold=threshold, higher_is_nearer=True)

"""Conformal scores of collections: which images count, duplicates, coverage, too few images."""

from dataclasses import replace

import numpy as np
import pytest
from lookalike_core.models.conformal_scores import ConformalScores
from lookalike_core.neighbours.nonconformity import measure_nonconformity
from lookalike_search.evaluation.conformal import LEVELS, learn_conformal_scores
from lookalike_search.evaluation.labelled_vectors import LabelledVectors
from lookalike_search.evaluation.leave_one_out import QueryResults, leave_one_out


def images(
    count: int = 200, *, classes: int = 4, cosine: bool = True, spread: float = 1.0, seed: int = 0
) -> LabelledVectors:
    """Makes overlapping clouds around a centre for each class."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(classes, 8))
    labels = random.integers(0, classes, count)
    return LabelledVectors(
        vectors=centres[labels] + spread * random.normal(size=(count, 8)),
        classes=labels,
        copies=np.arange(count),
        names=[f"class {number}" for number in range(classes)],
        higher_is_nearer=cosine,
    )


def learn(one: LabelledVectors, *, depth: int = 100) -> ConformalScores:
    """Learns from a whole collection."""
    return learn_conformal_scores(one, leave_one_out(one, depth=depth))


@pytest.mark.parametrize("cosine", [True, False])
def test_scores_are_those_of_each_images_own_class(cosine: bool) -> None:
    """They are its nonconformity with all other images as neighbours, one for each image."""
    one = images(60, cosine=cosine)
    results = leave_one_out(one, depth=100)
    expected = []
    for row in range(60):
        found = results.neighbours[row][results.neighbours[row] >= 0]
        classes = one.classes[found][np.newaxis]
        measured = measure_nonconformity(
            classes, results.scores[row, : len(found)][np.newaxis], higher_is_nearer=cosine
        )
        expected.append(measured.of_class(classes, one.classes[row : row + 1])[0])
    learned = learn(one)
    assert learned.images == 60
    np.testing.assert_allclose(learned.scores, np.sort(expected))
    assert len(set(learned.scores)) > 10, "most would be 0 if classes did not overlap"


def test_images_that_are_the_only_one_of_their_class_are_left_out() -> None:
    """They have no right answer, and one far from all others has one like any."""
    one = images(60)
    alone = replace(one, classes=np.where(np.arange(60) == 0, 4, one.classes), names=[*one.names, "alone"])
    assert learn(alone).images == 59
    far = replace(one, vectors=np.where(np.arange(60)[:, np.newaxis] == 0, -1e3, one.vectors))
    assert learn(far).images == 60


def test_exact_duplicates_count_once() -> None:
    """Images with the same bytes and class are one case; with another class they are another."""
    one = images(60)
    copies, classes = np.arange(60), one.classes.copy()
    copies[1] = copies[2] = copies[0]
    classes[1], classes[2] = classes[0], (classes[0] + 1) % 4
    assert learn(replace(one, copies=copies, classes=classes)).images == 59


def test_levels_are_measured_on_held_out_images() -> None:
    """Coverage is at least near each level, and sets grow with it; 8 dimensions overlap enough."""
    found = learn(images(1_000, spread=1.2)).coverages
    assert [each.confidence for each in found] == list(LEVELS)
    for each in found:
        assert each.coverage > each.confidence - 0.03
    sizes = [each.mean_classes for each in found]
    assert sizes == sorted(sizes)
    assert 1 < sizes[1] < sizes[3] < 4
    assert found[0].one_class > found[3].one_class


def test_too_few_images_for_a_level_mean_every_class() -> None:
    """20 images are enough for 95 %, their halves are not."""
    learned = learn(images(20))
    assert learned.threshold(0.95) is not None
    assert learned.threshold(0.99) is None
    assert (learned.coverages[2].mean_classes, learned.coverages[2].coverage) == (4, 1)


def test_a_class_beyond_the_neighbours_has_a_score_too() -> None:
    """With one neighbour of the depth, an image whose own class is another one's has the best's closeness."""
    one = images(100, spread=3.0)
    learned = learn(one, depth=5)
    results: QueryResults = leave_one_out(one, depth=5)
    beyond = ~(one.classes[results.neighbours] == one.classes[:, np.newaxis]).any(axis=1)
    assert beyond.any()
    assert learned.images == 100
    assert np.isfinite(learned.scores).all()


def test_the_same_images_and_seed_give_the_same_scores() -> None:
    """So do the images in another order, but for the held-out halves."""
    one = images(100)
    assert learn(one) == learn(one)
    order = np.random.default_rng(0).permutation(100)
    other = replace(one, vectors=one.vectors[order], classes=one.classes[order])
    np.testing.assert_allclose(learn(other).scores, learn(one).scores, atol=1e-12)

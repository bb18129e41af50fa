"""Nonconformity of classes: by hand, against a plain loop, without a unit, and with missing neighbours."""

import numpy as np
import pytest
from lookalike_core.neighbours.nonconformity import NEAREST, measure_nonconformity


def plain(classes: list[int], distances: list[float]) -> dict[int, float]:
    """Returns the nonconformity of each class among the neighbours of one image, by a loop."""
    far = max(distances)
    closeness = {}
    for name in set(classes):
        own = [1 - d / far for each, d in zip(classes, distances, strict=True) if each == name]
        closeness[name] = sum(own[:NEAREST]) / NEAREST
    best = max(closeness.values())
    return {name: best - value for name, value in closeness.items()}


def test_nonconformity_can_be_followed_with_a_pencil() -> None:
    """Distances are 0.1, 0.2, 0.3 and 0.4 of 0.5; class 0 has the mean of 0.8, 0.4 and 0, class 2 nothing."""
    found = measure_nonconformity(
        np.array([[0, 1, 0, 1, 2]]), np.array([[0.9, 0.8, 0.7, 0.6, 0.5]]), higher_is_nearer=True
    )
    np.testing.assert_allclose(found.of_neighbours, [[0, 0.4 / 3, 0, 0.4 / 3, 0.4]], atol=1e-12)
    np.testing.assert_allclose(found.of_others, [0.4])
    np.testing.assert_allclose(found.of_class(np.array([[0, 1, 0, 1, 2]]), np.array([7])), [0.4])


@pytest.mark.parametrize("higher_is_nearer", [True, False])
def test_many_images_are_measured_as_by_a_plain_loop(higher_is_nearer: bool) -> None:
    """Classes repeat, and rows differ in all things."""
    random = np.random.default_rng(0)
    classes = random.integers(0, 6, (50, 30))
    distances = np.sort(random.random((50, 30)) + 0.1, axis=1)
    scores = 1 - distances if higher_is_nearer else np.sqrt(distances)
    found = measure_nonconformity(classes, scores, higher_is_nearer=higher_is_nearer)
    for row in range(50):
        expected = plain(classes[row].tolist(), distances[row].tolist())
        for name, value in expected.items():
            own = found.of_neighbours[row][classes[row] == name]
            np.testing.assert_allclose(own, value, atol=1e-12)
            assert found.of_class(classes, np.full(50, name))[row] == own[0]
    assert np.all(found.of_others >= np.nanmax(found.of_neighbours, axis=1) - 1e-12)


def test_both_distances_of_unit_vectors_and_all_units_agree() -> None:
    """A Euclidean collection of normalised vectors has the same sets, and so has one of scaled vectors."""
    random = np.random.default_rng(1)
    classes = random.integers(0, 4, (20, 25))
    cosines = -np.sort(-random.random((20, 25)), axis=1)
    euclidean = np.sqrt(2 - 2 * cosines)
    by_cosine = measure_nonconformity(classes, cosines, higher_is_nearer=True)
    for unit in (1.0, 1e-6, 1e9):
        found = measure_nonconformity(classes, unit * euclidean, higher_is_nearer=False)
        np.testing.assert_allclose(found.of_neighbours, by_cosine.of_neighbours, atol=1e-9)


def test_missing_neighbours_and_equal_images_are_no_fault() -> None:
    """A row may have none, or only such as are equal to the query; the best class is always at 0."""
    classes = np.array([[0, 1, -1], [0, 0, 1], [-1, -1, -1]])
    scores = np.array([[0.9, 0.5, np.nan], [1.0, 1.0, 1.0], [np.nan] * 3])
    found = measure_nonconformity(classes, scores, higher_is_nearer=True)
    np.testing.assert_allclose(found.of_neighbours[0, :2], [0, 0.8 / 3])
    np.testing.assert_allclose(found.of_neighbours[1], [0, 0, 1 / 3])
    assert np.isnan(found.of_neighbours[2]).all()
    assert found.of_others[2] == 0

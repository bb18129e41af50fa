"""Folding near-duplicates in a ranking, by hand and against a loop over images."""

import numpy as np
import pytest
from lookalike_core.neighbours.near_duplicates import are_near, fold_near


def at(*degrees: float) -> np.ndarray:
    """Returns vectors at these angles, of different lengths."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.arange(1, len(degrees) + 1)[:, np.newaxis]


ABOVE = float(np.cos(np.deg2rad(5)))
"""The similarity of images that are 5 degrees apart."""


def test_a_near_duplicate_is_folded_into_the_best_ranked_match() -> None:
    """The images at 0 and 8 degrees represent themselves; 4 is near both and is folded into the first."""
    assert fold_near([[at(0, 8, 4, 3, 20)]], above=ABOVE, limit=9) == [0, 1, 0, 0, 4]


def test_a_folded_image_represents_no_other() -> None:
    """In a drifting burst, 4 is folded into 0; 8, which is near 4 only, represents itself."""
    assert fold_near([[at(0, 4, 8, 12)]], above=ABOVE, limit=9) == [0, 0, 2, 2]


def test_folding_stops_before_the_first_image_over_the_limit() -> None:
    """All images before it are returned, and no further block is read."""

    def blocks() -> object:
        yield [at(0, 40, 1)]
        yield [at(41, 80, 2)]
        pytest.fail("the answer is complete")

    assert fold_near(blocks(), above=ABOVE, limit=2) == [0, 1, 0, 1]  # type: ignore[arg-type]


def test_near_duplicates_in_one_network_are_folded() -> None:
    """An image missing in a network has a zero vector there, which is near nothing."""
    one, other = at(0, 30, 60), np.array([[0.0, 0.0], [3, 1], [9, 3]])
    assert fold_near([[one, other]], above=ABOVE, limit=9) == [0, 1, 1]
    assert fold_near([[one, np.zeros((3, 2))]], above=0, limit=9) == [0, 0, 0]
    assert fold_near([[np.zeros((3, 2)), np.zeros((3, 2))]], above=0, limit=9) == [0, 1, 2]


@pytest.mark.parametrize("size", [1, 7, 64, 300])
@pytest.mark.parametrize("limit", [1, 20, 300])
def test_folding_in_blocks_equals_a_loop_over_images(size: int, limit: int) -> None:
    """The 300 images form 40 clusters."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(40, 8))[random.integers(0, 40, 300)] + random.normal(0, 0.05, (300, 8))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected: list[int] = []
    for row in range(300):
        standing = [other for other in sorted(set(expected)) if units[row] @ units[other] > 0.98]
        if not standing and len(set(expected)) == limit:
            break
        expected.append(standing[0] if standing else row)
    blocks = ([vectors[start : start + size]] for start in range(0, 300, size))
    assert fold_near(blocks, above=0.98, limit=limit) == expected


def test_a_similarity_rounded_above_1_counts_as_1() -> None:
    """It is not above a threshold of 1."""
    assert are_near(np.array([0.98, 0.99, 1.0000002]), 0.985).tolist() == [False, True, True]
    assert not are_near(np.array([1.0000002]), 1).any()

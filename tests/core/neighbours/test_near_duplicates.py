"""What stands for what in a ranking, by hand and beside a loop that compares one by one."""

import numpy as np
import pytest
from lookalike_core.neighbours.near_duplicates import are_near, fold_near


def at(*degrees: float) -> np.ndarray:
    """Vectors at angles, of any length."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.arange(1, len(degrees) + 1)[:, np.newaxis]


ABOVE = float(np.cos(np.deg2rad(5)))
"""Of images that are 5 degrees apart."""


def test_an_image_is_folded_into_the_best_ranked_one_that_it_is_near_to() -> None:
    """At 0 and 8 degrees stand two; 4 is near to both and goes to the better ranked one."""
    assert fold_near([[at(0, 8, 4, 3, 20)]], above=ABOVE, limit=9) == [0, 1, 0, 0, 4]


def test_what_is_folded_stands_for_nothing() -> None:
    """A burst that drifts: 4 goes to 0, and 8, near to 4 alone, stands for itself."""
    assert fold_near([[at(0, 4, 8, 12)]], above=ABOVE, limit=9) == [0, 0, 2, 2]


def test_the_next_one_that_would_stand_for_itself_ends_the_answer() -> None:
    """With all that comes before it, and nothing behind is read."""

    def blocks() -> object:
        yield [at(0, 40, 1)]
        yield [at(41, 80, 2)]
        pytest.fail("the answer is complete")

    assert fold_near(blocks(), above=ABOVE, limit=2) == [0, 1, 0, 1]  # type: ignore[arg-type]


def test_one_network_is_enough_to_be_near() -> None:
    """A network that lacks an image has zeros for it, which are near to nothing."""
    one, other = at(0, 30, 60), np.array([[0.0, 0.0], [3, 1], [9, 3]])
    assert fold_near([[one, other]], above=ABOVE, limit=9) == [0, 1, 1]
    assert fold_near([[one, np.zeros((3, 2))]], above=0, limit=9) == [0, 0, 0]
    assert fold_near([[np.zeros((3, 2)), np.zeros((3, 2))]], above=0, limit=9) == [0, 1, 2]


@pytest.mark.parametrize("size", [1, 7, 64, 300])
@pytest.mark.parametrize("limit", [1, 20, 300])
def test_blocks_of_any_size_give_what_a_loop_gives(size: int, limit: int) -> None:
    """Of 300 images in 40 clouds."""
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


def test_nothing_is_nearer_than_the_same() -> None:
    """However a similarity of 1 is rounded."""
    assert are_near(np.array([0.98, 0.99, 1.0000002]), 0.985).tolist() == [False, True, True]
    assert not are_near(np.array([1.0000002]), 1).any()

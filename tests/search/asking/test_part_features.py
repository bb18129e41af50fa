"""Features of a part: what its crop and the cells that it covers add to its vector."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lookalike_core.images.region import Box, Part
from lookalike_search.asking.part_features import combine_features
from numpy.typing import NDArray

EXACT = 1e-9


def features(seed: int, *shape: int) -> NDArray[np.float32]:
    """Returns random features of both signs."""
    return np.random.default_rng(seed).normal(0.3, 1, shape).astype(np.float32)


def covered_mean(whole: NDArray[np.float32], part: Part) -> NDArray[np.float64]:
    """Returns the mean of the cells that a part covers, computed point by point."""
    side = min(part.width, part.height)
    left, top = (part.width - side) / 2, (part.height - side) / 2
    total, count = np.zeros(whole.shape[2]), 0
    fine = 20  # points a pixel, among which the edges of cells lie
    for y in (np.arange(part.box.top * fine, part.box.bottom * fine) + 0.5) / fine:
        for x in (np.arange(part.box.left * fine, part.box.right * fine) + 0.5) / fine:
            row, column = (y - top) * whole.shape[0] / side, (x - left) * whole.shape[1] / side
            if 0 <= row < whole.shape[0] and 0 <= column < whole.shape[1]:
                total += whole[int(row), int(column)]
                count += 1
    return total / count


def test_the_vector_is_that_of_the_crop_and_of_the_covered_cells() -> None:
    """Each cell counts by the area of it that is covered, and the crop twice as much as all cells."""
    crop, whole = features(1, 2, 3, 4), features(2, 4, 5, 4)
    part = Part(box=Box(left=3, top=1, width=4, height=3), width=10, height=8)
    found = combine_features(crop, whole, part)
    assert found.shape == crop.shape
    own, cells = crop.mean(axis=(0, 1), dtype=np.float64), covered_mean(whole, part)
    expected = (2 * own + cells * np.linalg.norm(own) / np.linalg.norm(cells)) / 3
    assert found.sum(axis=(0, 1)) == pytest.approx(expected, abs=1e-6)


def test_covered_cells_are_at_their_places() -> None:
    """A strong cell of the whole is found in the crop's cell that shows the same place."""
    crop, whole = np.zeros((2, 2, 2), np.float32), np.zeros((4, 4, 2), np.float32)
    crop[..., 0] = 6
    whole[1, 2, 1] = 1  # the upper right of the part
    part = Part(box=Box(left=25, top=25, width=50, height=50), width=100, height=100)
    found = combine_features(crop, whole, part)
    assert found[..., 0] == pytest.approx(np.ones((2, 2)))
    assert found[..., 1] == pytest.approx(np.array([[0, 2], [0, 0]]))


def test_a_part_outside_of_the_centre_square_has_only_its_crop() -> None:
    """Networks see nothing of it in the whole image."""
    crop, whole = features(1, 2, 2, 3), features(2, 2, 2, 3)
    part = Part(box=Box(left=0, top=0, width=20, height=40), width=100, height=40)
    assert combine_features(crop, whole, part).sum(axis=(0, 1)) == pytest.approx(
        crop.mean(axis=(0, 1), dtype=np.float64), abs=EXACT
    )


@given(left=st.integers(0, 59), top=st.integers(0, 39), width=st.integers(1, 60), height=st.integers(1, 40))
def test_equal_cells_have_their_value_whatever_the_part(left: int, top: int, width: int, height: int) -> None:
    """The weights of the crop and of the covered cells sum to one."""
    box = Box(left=left, top=top, width=min(width, 60 - left), height=min(height, 40 - top))
    same = np.full((7, 7, 2), 3, np.float32)
    found = combine_features(same, same, Part(box=box, width=60, height=40))
    assert found.sum(axis=(0, 1)) == pytest.approx([3, 3], abs=EXACT)

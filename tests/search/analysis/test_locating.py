"""Places in neighbours: cells as boxes of the whole image, and shares for any query vector."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lookalike_search.analysis.attribution import share_among_cells
from lookalike_search.analysis.locating import find_cell_box

EXACT = 1e-9


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 30), columns=st.integers(1, 30))
def test_shares_sum_to_the_cosine_with_any_vector(seed: int, rows: int, columns: int) -> None:
    """Even where the image's vector was computed elsewhere and differs from the sum of its cells."""
    random = np.random.default_rng(seed)
    features = random.normal(0.2, 1, (rows, columns, 6)).astype(np.float32)
    stored = (features.sum(axis=(0, 1)) + random.normal(0, 1e-3, 6)).astype(np.float32)
    query = random.normal(0, 1, 6).astype(np.float32)
    shares = share_among_cells(query, features, stored)
    one, other = query.astype(np.float64), stored.astype(np.float64)
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert shares.sum() == pytest.approx(cosine, abs=EXACT)


def test_a_query_that_is_one_cell_has_its_share_there() -> None:
    """Cells that have nothing in common with the query have no share."""
    features = np.zeros((3, 3, 2), np.float32)
    features[..., 0] = 1
    features[2, 1] = (0, 5)
    shares = share_among_cells(np.float32([0, 1]), features, features.sum(axis=(0, 1)))
    assert np.unravel_index(shares.argmax(), shares.shape) == (2, 1)
    assert shares[2, 1] == pytest.approx(shares.sum())


def test_a_vector_without_length_has_no_shares() -> None:
    """It has no cosine either."""
    with pytest.raises(ValueError, match="zero or not finite"):
        share_among_cells(np.zeros(2, np.float32), np.ones((2, 2, 2), np.float32), np.float32([1, 1]))


@pytest.mark.parametrize(
    ("size", "first", "last"),
    [
        ((100, 100), (0, 0, 25, 25), (75, 75, 25, 25)),
        ((200, 100), (25, 0, 12.5, 25), (62.5, 75, 12.5, 25)),
        ((100, 400), (0, 37.5, 25, 6.25), (75, 56.25, 25, 6.25)),
    ],
    ids=["square", "wide", "high"],
)
def test_cells_divide_the_centre_square(
    size: tuple[int, int], first: tuple[float, ...], last: tuple[float, ...]
) -> None:
    """A network sees no more of an image; the box is in percent of all of it."""
    cells = np.zeros((4, 4))
    assert find_cell_box(cells, 0, 0, size) == pytest.approx(first)
    assert find_cell_box(cells, 3, 3, size) == pytest.approx(last)

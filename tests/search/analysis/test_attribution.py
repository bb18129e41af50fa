"""Parts of a similarity: exact sums in float64, and the part of an image with the largest shares."""

import numpy as np
import pytest
from lookalike_search.analysis.attribution import (
    MOST_CELLS,
    agreement,
    explain,
    find_focus,
    strongest_pairs,
)
from numpy.typing import NDArray

EXACT = 1e-9
"""Between float64 computations of the same sum in another order."""


def features(seed: int, *shape: int, low: float = 0.0) -> NDArray[np.float32]:
    """Returns random features, positive as after a ReLU by default."""
    return np.random.default_rng(seed).uniform(low, 1, shape).astype(np.float32)


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Returns the cosine of the means over all cells, computed independently of the parts."""
    a, b = (each.reshape(-1, each.shape[-1]).astype(np.float64).mean(axis=0) for each in (one, other))
    return float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)))


@pytest.mark.parametrize("low", [0.0, -0.9], ids=["positive", "of both signs"])
@pytest.mark.parametrize("shape", [(7, 7, 64), (5, 3, 4), (1, 1, 8)])
def test_shares_sum_to_the_cosine(shape: tuple[int, int, int], low: float) -> None:
    """The shares of each image sum to the cosine, and so do those of all pairs of cells."""
    one, other = features(1, *shape, low=low), features(2, *shape, low=low)
    explanation = explain(one, other)
    expected = cosine(one, other)
    assert explanation.cosine == pytest.approx(expected, abs=EXACT)
    assert explanation.query.shape == explanation.neighbour.shape == shape[:2]
    for parts in (explanation.query, explanation.neighbour, explanation.pairs):
        assert parts.sum() == pytest.approx(expected, abs=EXACT)


def test_a_share_is_the_sum_of_its_pairs() -> None:
    """Shares equal those computed cell by cell from the definition."""
    one, other = features(1, 3, 2, 5, low=-1), features(2, 2, 4, 5, low=-1)
    explanation = explain(one, other)
    a, b = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(a.sum(axis=(0, 1))) * np.linalg.norm(b.sum(axis=(0, 1)))
    for row, column in np.ndindex(3, 2):
        expected = sum(a[row, column] @ b[cell] for cell in np.ndindex(2, 4)) / lengths
        assert explanation.query[row, column] == pytest.approx(expected, abs=EXACT)
    for row, column in np.ndindex(2, 4):
        expected = sum(b[row, column] @ a[cell] for cell in np.ndindex(3, 2)) / lengths
        assert explanation.neighbour[row, column] == pytest.approx(expected, abs=EXACT)
    assert explanation.pairs[2 * 2 + 1, 1 * 4 + 3] == pytest.approx(a[2, 1] @ b[1, 3] / lengths, abs=EXACT)


def test_features_of_a_single_cell_give_it_the_whole_share() -> None:
    """Two images that share one feature, at different places, have their whole similarity from it."""
    one, other = np.zeros((3, 3, 2), np.float32), np.zeros((3, 3, 2), np.float32)
    one[0, 2], other[2, 1] = (0, 5), (0, 3)
    explanation = explain(one, other)
    assert explanation.cosine == pytest.approx(1)
    assert explanation.query[0, 2] == pytest.approx(1)
    assert explanation.neighbour[2, 1] == pytest.approx(1)
    [pair] = strongest_pairs(explanation, 1)
    assert (pair.query, pair.neighbour) == ((0, 2), (2, 1))
    assert pair.part == pytest.approx(1)


def test_shares_sum_to_the_cosine_of_given_vectors() -> None:
    """Given vectors differ a little from the sums of the cells in length and direction; a channel is zero."""
    random = np.random.default_rng(3)
    one, other = features(1, 5, 5, 16), features(2, 17, 15, 16)
    other[..., 3] = 0
    vectors = [
        (each.sum(axis=(0, 1)) * random.uniform(0.99, 1.01, 16) + 1e-3).astype(np.float32) * length
        for each, length in ((one, 0.04), (other, 7.0))
    ]
    a, b = (vector.astype(np.float64) for vector in vectors)
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    found = explain(one, other, query_vector=vectors[0], neighbour_vector=vectors[1])
    plain = explain(one, other)
    assert found.cosine == pytest.approx(expected, abs=EXACT)
    assert found.cosine != pytest.approx(plain.cosine, abs=1e-6)
    for parts in (found.query, found.neighbour, found.pairs):
        assert parts.sum() == pytest.approx(expected, abs=EXACT)
    np.testing.assert_allclose(found.query, plain.query, rtol=0.02)
    angle = agreement(one, vectors[0])
    assert angle == pytest.approx(cosine(one, a[np.newaxis, np.newaxis].astype(np.float32)), abs=1e-6)


def test_strongest_pairs_come_in_order() -> None:
    """Pairs are listed best first, each once, with their value in the matrix."""
    explanation = explain(features(1, 4, 3, 8, low=-1), features(2, 4, 3, 8, low=-1))
    pairs = strongest_pairs(explanation, 1_000)
    assert len({(pair.query, pair.neighbour) for pair in pairs}) == 144
    assert [pair.part for pair in pairs] == sorted(explanation.pairs.ravel(), reverse=True)
    for pair in pairs:
        (row, column), (other_row, other_column) = pair.query, pair.neighbour
        assert explanation.pairs[row * 3 + column, other_row * 3 + other_column] == pair.part


@pytest.mark.parametrize(("cells", "told_apart"), [(14, 14), (15, 8), (28, 14), (29, 10), (112, 14)])
def test_fine_feature_maps_are_summed_in_blocks_exactly(cells: int, told_apart: int) -> None:
    """A block's share is the sum of its cells' shares; the last block may be smaller."""
    one, other = features(1, cells, cells, 3), features(2, 2, 2, 3)
    explanation = explain(one, other)
    assert explanation.query.shape == (told_apart, told_apart)
    assert told_apart <= MOST_CELLS
    assert explanation.cosine == pytest.approx(cosine(one, other), abs=EXACT)
    size = -(-cells // MOST_CELLS)
    b = other.astype(np.float64).sum(axis=(0, 1))
    a = one.astype(np.float64)
    lengths = np.linalg.norm(a.sum(axis=(0, 1))) * np.linalg.norm(b)
    first, last = a[:size, :size].sum(axis=(0, 1)), a[size * (told_apart - 1) :, :size].sum(axis=(0, 1))
    assert explanation.query[0, 0] == pytest.approx(first @ b / lengths, abs=EXACT)
    assert explanation.query[-1, 0] == pytest.approx(last @ b / lengths, abs=EXACT)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_zero_and_non_finite_features_are_refused(value: float) -> None:
    """A zero vector has no direction, so its shares are undefined."""
    with pytest.raises(ValueError, match="zero or not finite"):
        explain(np.full((2, 2, 3), value), features(1, 2, 2, 3))


@pytest.mark.parametrize(
    ("row", "column", "place"),
    [(0, 0, "top left"), (3, 3, "centre"), (3, 6, "middle right"), (6, 3, "bottom centre")],
)
def test_focus_names_the_ninth_with_the_largest_share(row: int, column: int, place: str) -> None:
    """The whole share is in one of 7 x 7 cells."""
    shares = np.zeros((7, 7))
    shares[row, column] = 0.8
    found = find_focus(shares)
    assert (found.place, found.half, found.cells) == (place, 1, 49)
    assert found.share == pytest.approx(1)


def test_uniform_shares_give_each_ninth_one_ninth() -> None:
    """Ninths divide the image's area, so that a cell on a border counts for both ninths in part."""
    found = find_focus(np.full((7, 7), 0.01))
    assert found.share == pytest.approx(1 / 9)
    assert found.half == 25
    assert find_focus(np.full((2, 2), 0.25)).half == 2


def test_focus_ignores_negative_shares() -> None:
    """An image with only negative shares has a focus, too."""
    found = find_focus(np.array([[0.5, -3.0], [-3.0, -0.1]]))
    assert (found.place, found.half) == ("top left", 1)
    assert find_focus(np.full((2, 2), -1.0)).share == 0

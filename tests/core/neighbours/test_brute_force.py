"""Brute-force neighbours against a plain computation in float64."""

import numpy as np
import pytest
from lookalike_core.neighbours.brute_force import ExactSearch, row_blocks, top_k
from numpy.typing import NDArray

TOLERANCE = 1e-5
"""Float32 sums over 16 values, on scores of about 1 to 10."""


def table(vectors: NDArray[np.float32], *, cosine: bool) -> NDArray[np.float64]:
    """Returns all scores, computed in float64."""
    wide = vectors.astype(np.float64)
    if cosine:
        return (wide @ wide.T) / np.outer(*[np.linalg.norm(wide, axis=1)] * 2)
    return np.linalg.norm(wide[:, np.newaxis] - wide, axis=2)


@pytest.fixture
def vectors() -> NDArray[np.float32]:
    """Returns vectors far from the origin and close together, where the expanded square loses digits."""
    random = np.random.default_rng(3)
    return (random.normal(size=(200, 16)) + 30).astype(np.float32)


@pytest.mark.parametrize("cosine", [True, False])
def test_neighbours_equal_a_full_sort_of_float64_scores(vectors: NDArray[np.float32], cosine: bool) -> None:
    """Scores and order agree, with a shorter last block, and without excluded rows."""
    scores = table(vectors, cosine=cosine)
    left_out = [{row, (row + 1) % 200} for row in range(200)]
    search, seen = ExactSearch(vectors.copy(), cosine=cosine, block=64), []
    for rows in search.blocks():
        for found in search.nearest(rows, limit=10, left_out=[sorted(left_out[row]) for row in rows]):
            seen.append(found.row)
            others = [row for row in range(200) if row not in left_out[found.row]]
            best = sorted(others, key=lambda row: scores[seen[-1], row] * (-1 if cosine else 1))[:10]
            assert found.scores == pytest.approx(scores[found.row, best], abs=TOLERANCE)
            assert found.scores == pytest.approx(scores[found.row, found.rows], abs=TOLERANCE)
            assert not left_out[found.row] & set(found.rows.tolist())
    assert seen == list(range(200))


def test_a_limit_above_the_row_count_returns_all_rows_not_left_out() -> None:
    """The result is empty if all rows are excluded."""
    search = ExactSearch(np.eye(3, dtype=np.float32) + 1, cosine=False)
    first, second = search.nearest(np.array([0, 1]), limit=10, left_out=[[0], [0, 1, 2]])
    assert (first.rows.tolist(), second.rows.tolist()) == ([1, 2], [])


def test_tied_neighbours_are_in_row_order() -> None:
    """This holds when more rows tie than the limit allows."""
    search = ExactSearch(np.ones((50, 4), dtype=np.float32), cosine=True)
    (found,) = search.nearest(np.array([20]), limit=3, left_out=[[20]])
    assert found.rows.tolist() == [0, 1, 2]


def test_above_returns_later_rows_over_the_threshold(vectors: NDArray[np.float32]) -> None:
    """It returns neither earlier rows nor those exactly at the threshold."""
    scores = table(vectors, cosine=True)
    threshold = float(np.median(scores))
    rows = np.array([5, 6, 50, 199])
    for found in ExactSearch(vectors.copy(), cosine=True).above(rows, threshold):
        behind = [row for row in range(found.row + 1, 200) if scores[found.row, row] > threshold]
        assert found.rows.tolist() == behind
        assert found.scores == pytest.approx(scores[found.row, behind], abs=TOLERANCE)


def test_rounding_never_makes_a_similarity_exceed_1() -> None:
    """Float32 products of equal unit vectors exceed it before clipping."""
    vectors = np.repeat(np.random.default_rng(0).normal(size=(100, 16)).astype(np.float32), 2, axis=0)
    products = [float(row @ row) for row in vectors / np.linalg.norm(vectors, axis=1, keepdims=True)]
    assert max(products) > 1
    search = ExactSearch(vectors, cosine=True)
    assert not [found for rows in search.blocks() for found in search.above(rows, 1.0) if len(found.rows)]


def test_an_empty_matrix_has_no_blocks() -> None:
    """This holds for either distance."""
    for cosine in (True, False):
        assert list(ExactSearch(np.empty((0, 4), dtype=np.float32), cosine=cosine).blocks()) == []


@pytest.mark.parametrize("k", [1, 7, 20, 40])
def test_top_k_is_the_head_of_a_stable_sort(k: int) -> None:
    """Ties go to the lower column, also in the last place."""
    values = np.random.default_rng(1).integers(0, 6, (30, 20)).astype(np.float32)
    values[::3, :15] = -np.inf
    columns, found = top_k(values, k)
    expected = np.argsort(-values, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(columns, expected)
    np.testing.assert_array_equal(found, np.take_along_axis(values, expected, axis=1))


def test_blocks_cover_all_rows_in_order() -> None:
    """The last block is shorter."""
    assert [rows.tolist() for rows in row_blocks(5, 2)] == [[0, 1], [2, 3], [4]]

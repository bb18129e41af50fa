"""Cosine similarities: clipped to their range, of pairs, and rows of length 1."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from lookalike_core.neighbours.brute_force import ExactSearch
from lookalike_core.neighbours.cosine import (
    clip_cosine,
    clip_cosines,
    normalise_rows,
    paired_cosines,
    unit_rows,
)


@pytest.mark.parametrize(
    ("similarity", "clipped"), [(1.0000002, 1.0), (-1.0000002, -1.0), (0.25, 0.25), (np.float32(0.5), 0.5)]
)
def test_a_similarity_is_clipped_to_its_range(similarity: float, clipped: float) -> None:
    """A value in range is unchanged; a plain float is returned."""
    assert clip_cosine(similarity) == clipped
    assert type(clip_cosine(similarity)) is float


def test_similarities_are_clipped_in_place() -> None:
    """NaN stays NaN."""
    similarities = np.array([[1.5, 0.5], [-1.5, np.nan]], dtype=np.float32)
    assert clip_cosines(similarities) is similarities
    np.testing.assert_array_equal(similarities, np.array([[1, 0.5], [-1, np.nan]], dtype=np.float32))


def test_duplicates_have_a_similarity_of_exactly_1() -> None:
    """Some float32 products of equal unit vectors exceed 1."""
    vectors = np.random.default_rng(2).normal(size=(300, 64)).astype(np.float32)
    twice = np.concatenate([vectors, vectors])
    units = twice / np.linalg.norm(twice, axis=1, keepdims=True)
    assert (units[:300] @ units[300:].T).max() > 1
    search = ExactSearch(twice, cosine=True)
    found = search.nearest(np.arange(300), limit=1, left_out=[[row] for row in range(300)])
    assert max(float(each.scores[0]) for each in found) == 1


@pytest.mark.parametrize("in_place", [False, True])
def test_normalised_rows_have_length_1_and_zeros_stay_zeros(in_place: bool) -> None:
    """The array is changed in place only on request, in its own precision."""
    vectors = np.array([[3, 4], [0, 0], [0, -0.5]], dtype=np.float32)
    units = normalise_rows(vectors, in_place=in_place)
    np.testing.assert_allclose(units, [[0.6, 0.8], [0, 0], [0, -1]], rtol=1e-6)
    assert units.dtype == np.float32
    assert (units is vectors) is in_place


def test_cosines_of_pairs_are_those_of_angles() -> None:
    """Rows are compared pairwise, or with one vector; the result is NaN for a zero vector."""
    one = np.array([[1, 0], [2, 2], [0, 0]], dtype=np.float32)
    other = np.array([[5, 0], [0, 3], [1, 1]], dtype=np.float32)
    np.testing.assert_allclose(paired_cosines(one, other), [1, np.sqrt(0.5), np.nan])
    np.testing.assert_allclose(paired_cosines(other, one[1]), [np.sqrt(0.5), np.sqrt(0.5), 1])


def test_rows_of_length_one_are_not_copied() -> None:
    """A million vectors of a cosine collection take 2 GB; others are normalised."""
    vectors = np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32)
    units = normalise_rows(vectors)
    assert unit_rows(units) is units
    np.testing.assert_array_equal(unit_rows(vectors), units)
    units[7] *= np.float32(1.00001)
    assert unit_rows(units) is not units
    assert len(unit_rows(units[:0])) == 0


@pytest.mark.parametrize("scale", [normalise_rows, unit_rows])
def test_lengths_are_computed_of_some_rows_at_a_time(scale: Callable[..., np.ndarray]) -> None:
    """Besides what is returned, no array as large as the vectors is made."""
    vectors = np.random.default_rng(0).normal(size=(50_000, 64)).astype(np.float32)
    tracemalloc.start()
    try:
        made = scale(vectors)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(made, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    assert peak < 1.25 * vectors.nbytes

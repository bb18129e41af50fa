"""Comparing a copy's vectors with their source."""

import numpy as np
import pytest
from lookalike_core.stores.collection_manifest import Distance
from lookalike_ingest.vector_comparison import find_unequal

UNIT = np.float32([[0.6, 0.8], [0.0, 1.0]])


def test_euclidean_vectors_are_equal_to_the_byte() -> None:
    """Neither the next float32 nor another zero passes."""
    copied = UNIT.copy()
    assert not find_unequal(UNIT, copied, Distance.EUCLID).any()
    copied[0, 0] = np.nextafter(copied[0, 0], np.float32(1))
    copied[1, 0] = -0.0
    assert find_unequal(UNIT, copied, Distance.EUCLID).tolist() == [True, True]


def test_cosine_vectors_may_be_normalised_anew() -> None:
    """A value passes within one float32 of the source divided by its length, and not beyond."""
    source = np.float32([[3, 4]])
    near = np.nextafter(np.float32([[0.6, 0.8]]), np.float32(1))
    beyond = np.nextafter(near, np.float32(1))
    assert not find_unequal(source, near, Distance.COSINE).any()
    assert find_unequal(source, beyond, Distance.COSINE).all()


@pytest.mark.parametrize("distance", list(Distance))
@pytest.mark.parametrize("fault", [np.nan, np.inf, 0.0, 0.7])
def test_any_other_value_is_unequal(distance: Distance, fault: float) -> None:
    """A lost value, one that is not finite, and one of another vector are found in their row alone."""
    copied = UNIT.copy()
    copied[0, 1] = fault
    assert find_unequal(UNIT, copied, distance).tolist() == [True, False]


@pytest.mark.parametrize("distance", list(Distance))
def test_two_exchanged_vectors_are_unequal(distance: Distance) -> None:
    """Both rows are found."""
    assert find_unequal(UNIT, UNIT[::-1].copy(), distance).all()


def test_a_random_unit_vector_normalised_in_float32_is_equal() -> None:
    """Stores compute the length in float32."""
    vectors = np.random.default_rng(0).standard_normal((1_000, 512)).astype(np.float32)
    once = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    again = once / np.linalg.norm(once, axis=1, keepdims=True)
    assert not find_unequal(once, again, Distance.COSINE).any()

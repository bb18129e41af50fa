"""The comparison of a stored vector with the one that its file gives now."""

import numpy as np
import pytest
from lookalike_core.stores.collection_manifest import Distance
from lookalike_ingest.integrity.tolerance import ACROSS, Agreement, Deviation, Tolerance, compare_vectors

TOLERANCE = Tolerance(rounding=1e-5, across=ACROSS)
DIMENSION = 512


def embedding(seed: int) -> np.ndarray:
    """Returns a vector as average pooling makes them: no value is negative, some are zero."""
    values = np.random.default_rng(seed).normal(0.5, 1, DIMENSION)
    return np.maximum(values, 0).astype(np.float32)


def store(vector: np.ndarray, distance: Distance) -> np.ndarray:
    """Returns a vector as Qdrant stores it."""
    return vector / np.linalg.norm(vector) if distance is Distance.COSINE else vector


def compare(stored: np.ndarray, fresh: np.ndarray, distance: Distance) -> Deviation:
    """Compares float32 vectors."""
    return compare_vectors(stored.astype(np.float32), fresh, distance, TOLERANCE)


@pytest.mark.parametrize("distance", Distance)
def test_the_order_of_sums_is_no_difference(distance: Distance) -> None:
    """Float32 rounding of each value is tolerated."""
    fresh = embedding(1)
    noise = np.random.default_rng(2).uniform(-1, 1, DIMENSION) * 1e-6
    found = compare(store(fresh * (1 + noise), distance), fresh, distance)
    assert found.agreement is Agreement.SAME
    assert found.values == 0


@pytest.mark.parametrize("distance", Distance)
def test_bfloat16_is_another_provider(distance: Distance) -> None:
    """All values differ by up to 2**-8, as on a processor that rounds to 8 bits."""
    fresh = embedding(1)
    rounded = fresh * (1 + np.random.default_rng(2).uniform(-1, 1, DIMENSION) * 2.0**-8)
    assert compare(store(rounded, distance), fresh, distance).agreement is Agreement.ROUNDED


@pytest.mark.parametrize("distance", Distance)
def test_another_image_is_another_vector(distance: Distance) -> None:
    """Nearly all values differ by much."""
    found = compare(store(embedding(3), distance), embedding(1), distance)
    assert found.agreement is Agreement.OTHER
    assert found.distance > 10 * ACROSS


@pytest.mark.parametrize("distance", Distance)
@pytest.mark.parametrize("is_normalised", [True, False])
@pytest.mark.parametrize("bit", [31, 30, 28, 24, 22, 18])
def test_one_flipped_bit_is_damage(distance: Distance, bit: int, *, is_normalised: bool) -> None:
    """Before or after the store normalises the vector: its sign, its exponent, its mantissa."""
    fresh = embedding(1)
    place = int(np.argmax(fresh))
    kept = store(fresh, distance).astype(np.float32)
    kept.view(np.uint32)[place] ^= np.uint32(1 << bit)
    if is_normalised and distance is Distance.COSINE:
        kept = (kept / np.linalg.norm(kept.astype(np.float64))).astype(np.float32)
    found = compare(kept, fresh, distance)
    if np.abs(kept).max() < 1e10:
        assert found.agreement is Agreement.DAMAGED
    assert found.agreement in (Agreement.DAMAGED, Agreement.OTHER)


def test_a_vector_that_is_not_finite_agrees_with_none() -> None:
    """A few lost values are damage, a whole lost vector is not."""
    fresh = embedding(1)
    one, none = store(fresh, Distance.COSINE), np.full(DIMENSION, np.nan)
    one[3] = np.inf
    assert compare(one, fresh, Distance.COSINE).agreement is Agreement.DAMAGED
    assert compare(none, fresh, Distance.COSINE).agreement is Agreement.OTHER
    assert compare(fresh, np.zeros(DIMENSION, np.float32), Distance.EUCLID).agreement is Agreement.OTHER

"""Heads of principal values: what they keep, and what they refuse."""

import numpy as np
import pytest
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_exporter.heads.principal import fit_principal
from sklearn.decomposition import PCA


def units(count: int = 40, length: int = 12, *, seed: int = 0) -> np.ndarray:
    """Returns random vectors of length 1 whose variance falls from value to value."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count, length)) / np.arange(1, length + 1) + 1.0
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("values", [1, 5, 12])
def test_values_are_those_of_scikit_learn(values: int) -> None:
    """Scores and kept variance equal those of its PCA, up to the signs of axes."""
    vectors = units()
    layer = fit_principal(vectors, values)
    judge = PCA(values, svd_solver="full").fit(vectors)
    found = vectors @ layer.weight.T + layer.bias
    np.testing.assert_allclose(np.abs(found), np.abs(judge.transform(vectors)), atol=1e-5)
    assert layer.kept_variance == pytest.approx(judge.explained_variance_ratio_.sum())
    assert layer.weight.dtype == layer.bias.dtype == np.float32


def test_neighbours_of_all_values_are_those_of_centred_vectors() -> None:
    """Axes are orthogonal and of length 1, so that angles stay."""
    vectors = units()
    layer = fit_principal(vectors, 12)
    centred = vectors - vectors.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    found = layer.apply(vectors)
    np.testing.assert_allclose(found @ found.T, centred @ centred.T, atol=1e-5)


def test_the_same_vectors_give_the_same_bytes() -> None:
    """The largest value of each axis is positive, whatever sign the decomposition has."""
    one, other = fit_principal(units(), 4), fit_principal(units().copy(), 4)
    assert one.weight.tobytes() == other.weight.tobytes()
    assert one.bias.tobytes() == other.bias.tobytes()
    assert (one.weight.max(axis=1) == np.abs(one.weight).max(axis=1)).all()


@pytest.mark.parametrize(("count", "length", "most"), [(40, 12, 12), (5, 12, 4), (2, 3, 1)])
def test_more_values_than_the_vectors_have_are_refused_with_the_range(
    count: int, length: int, most: int
) -> None:
    """They have at most their length, and one less than their number."""
    vectors = units(count, length)
    assert len(fit_principal(vectors, most).bias) == most
    for values in (0, most + 1):
        with pytest.raises(UsageError, match=f"choose 1 to {most}") as refused:
            fit_principal(vectors, values)
        assert refused.value.argument == "principal"


def test_vectors_without_variance_are_refused() -> None:
    """There is no image or one, all vectors are the same, or one is not finite."""
    for count in (0, 1):
        with pytest.raises(UsageError, match=f"images to fit to: {count}, .* principal values need 2"):
            fit_principal(units()[:count], 1)
    with pytest.raises(LookalikeError, match="same vector"):
        fit_principal(np.repeat(units(1), 9, axis=0), 2)
    with pytest.raises(LookalikeError, match="not finite"):
        fit_principal(np.full((9, 3), np.nan), 2)

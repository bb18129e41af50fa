"""Tests how reconstructions are measured: PSNR, SSIM, and how often their originals are identified."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lookalike_search.analysis.reconstruction_quality import (
    identify_originals,
    measure_psnr,
    measure_ssim,
)


def noise(count: int, seed: int = 0, side: int = 32) -> np.ndarray:
    """Returns random images, uint8 `[count, side, side, 3]`."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def plain(level: int) -> np.ndarray:
    """Returns one image of one level."""
    return np.full((1, 32, 32, 3), level, np.uint8)


def test_psnr_is_that_of_the_mean_squared_error() -> None:
    """A difference of 16 levels everywhere is 10 log10(255^2 / 256) dB."""
    assert measure_psnr(plain(100), plain(116)) == pytest.approx(24.0484, abs=1e-4)


def test_psnr_of_equal_images_is_that_of_rounding() -> None:
    """It is finite, so that it has a mean."""
    assert measure_psnr(noise(2), noise(2)) == pytest.approx([58.92, 58.92], abs=0.01)


def test_ssim_of_plain_images_compares_their_levels() -> None:
    """Without structure it is (2ab + C1) / (a^2 + b^2 + C1), with C1 = 2.55^2."""
    by_hand = (2 * 100 * 150 + 6.5025) / (100**2 + 150**2 + 6.5025)
    assert measure_ssim(plain(100), plain(150)) == pytest.approx(by_hand)


def test_ssim_of_one_window_is_its_formula() -> None:
    """An image of 11 x 11 pixels is one window, whose moments are computed here by hand."""
    one, other = noise(1, 1, side=11), noise(1, 2, side=11)
    offsets = np.arange(11) - 5
    across = np.exp(-(offsets**2) / 4.5)
    weights = np.outer(across, across)[np.newaxis, :, :, np.newaxis] / across.sum() ** 2
    a, b = one.astype(float), other.astype(float)
    mean_a, mean_b = (weights * a).sum((1, 2)), (weights * b).sum((1, 2))
    var_a = (weights * (a - mean_a) ** 2).sum((1, 2))
    var_b = (weights * (b - mean_b) ** 2).sum((1, 2))
    both = (weights * (a - mean_a) * (b - mean_b)).sum((1, 2))
    light = (2 * mean_a * mean_b + 6.5025) / (mean_a**2 + mean_b**2 + 6.5025)
    structure = (2 * both + 58.5225) / (var_a + var_b + 58.5225)
    assert measure_ssim(one, other) == pytest.approx((light * structure).mean(axis=1))


@given(seed=st.integers(0, 100), side=st.sampled_from([5, 11, 12, 32]))
def test_ssim_is_one_for_equal_images_and_symmetric(seed: int, side: int) -> None:
    """It is 1 for equal images of any size, at most 1 for others, and the same both ways."""
    one, other = noise(2, seed, side), noise(2, seed + 1, side)
    assert measure_ssim(one, one) == pytest.approx([1, 1])
    assert (measure_ssim(one, other) <= 1).all()
    np.testing.assert_allclose(measure_ssim(one, other), measure_ssim(other, one))


def test_originals_are_identified_by_the_nearest_pixels() -> None:
    """A slightly changed image is nearest to its own original, and the mean of all to one of them."""
    originals = noise(20)
    changed = np.clip(originals.astype(int) + 9, 0, 255).astype(np.uint8)
    assert identify_originals(changed, originals, first=1).tolist() == [1.0] * 20
    mean = np.repeat(originals.mean(axis=0, keepdims=True).astype(np.uint8), 20, axis=0)
    assert identify_originals(mean, originals, first=1).sum() == 1
    assert identify_originals(mean, originals, first=10).sum() == 10


@given(ties=st.integers(1, 8), first=st.integers(1, 10))
def test_tied_originals_share_the_first_places(ties: int, first: int) -> None:
    """Each of several equal candidates is among the first in its share of their orders."""
    originals = np.concatenate([np.repeat(plain(10), ties, axis=0), np.repeat(plain(200), 3, axis=0)])
    shown = np.repeat(plain(10), len(originals), axis=0)
    found = identify_originals(shown, originals, first=first)
    assert found[:ties] == pytest.approx(min(1, first / ties))
    assert found[ties:] == pytest.approx(np.clip((first - ties) / 3, 0, 1))

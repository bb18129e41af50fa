"""Tests the decoders: kernel ridge against scikit-learn's, and both on vectors that tell all or nothing."""

from collections.abc import Iterator

import numpy as np
import pytest
from lookalike_search.analysis.inversion import (
    STRENGTHS,
    Attacker,
    NetworkDecoder,
    RidgeDecoder,
    train_decoder,
)
from lookalike_search.analysis.reconstruction_quality import identify_originals, measure_psnr
from threadpoolctl import threadpool_limits

COUNT, HELD_OUT = 150, 30


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Computes in one thread, as an attack does."""
    with threadpool_limits(1):
        yield


def make_images(seed: int = 0, count: int = COUNT) -> np.ndarray:
    """Returns smooth random images, uint8 `[count, 12, 12, 3]`: mixtures of six patterns."""
    random = np.random.default_rng(seed)
    places = np.linspace(0, np.pi, 12)
    patterns = [np.outer(np.cos(i * places), np.cos(j * places)) for i in range(2) for j in range(3)]
    mixed = np.einsum("ncp,pij->nijc", random.normal(size=(count, 3, 6)) * 30, np.array(patterns))
    return np.clip(mixed + 128, 0, 255).astype(np.uint8)


def project(images: np.ndarray, dimension: int = 24) -> np.ndarray:
    """Returns vectors that are a linear function of the pixels."""
    axes = np.random.default_rng(9).normal(size=(images[0].size, dimension))
    return (images.reshape(len(images), -1) / 255 @ axes).astype(np.float32)


@pytest.mark.parametrize("attacker", Attacker)
def test_vectors_that_are_functions_of_the_pixels_give_the_image_away(attacker: Attacker) -> None:
    """Both decoders identify most unseen images, with a PSNR far above that of the mean image."""
    images = make_images()
    vectors, unseen = project(images), images[-HELD_OUT:]
    decoder = train_decoder(attacker, vectors[:-HELD_OUT], images[:-HELD_OUT])
    shown = decoder.reconstruct(vectors[-HELD_OUT:])
    mean = np.repeat(images[:-HELD_OUT].mean(axis=0, keepdims=True).astype(np.uint8), HELD_OUT, axis=0)
    assert shown.dtype == np.uint8
    assert shown.shape == unseen.shape
    assert identify_originals(shown, unseen, first=1).mean() > 0.8
    assert measure_psnr(shown, unseen).mean() > measure_psnr(mean, unseen).mean() + 3


@pytest.mark.parametrize("attacker", Attacker)
def test_vectors_of_noise_give_nothing_away(attacker: Attacker) -> None:
    """Unseen images are identified as rarely as by chance, 1 of 30, and a chosen ridge is strong."""
    images = make_images()
    vectors = np.random.default_rng(1).normal(size=(COUNT, 24)).astype(np.float32)
    decoder = train_decoder(attacker, vectors[:-HELD_OUT], images[:-HELD_OUT])
    shown = decoder.reconstruct(vectors[-HELD_OUT:])
    assert identify_originals(shown, images[-HELD_OUT:], first=1).mean() < 0.15
    if isinstance(decoder, RidgeDecoder):
        assert decoder.strength == STRENGTHS[-1]


def test_the_ridge_is_that_of_scikit_learn() -> None:
    """With the chosen strength, `KernelRidge` reconstructs the same images, but for the last level."""
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.preprocessing import StandardScaler

    images = make_images()
    vectors = project(images) + np.random.default_rng(2).normal(size=(COUNT, 24)) * 3
    decoder = RidgeDecoder.train(vectors[:-HELD_OUT], images[:-HELD_OUT])
    scaler = StandardScaler().fit(vectors[:-HELD_OUT])
    pixels = images[:-HELD_OUT].reshape(-1, 432).astype(float)
    judge = KernelRidge(kernel="rbf", alpha=decoder.strength)
    judge.fit(scaler.transform(vectors[:-HELD_OUT]), pixels - pixels.mean(axis=0))
    expected = judge.predict(scaler.transform(vectors[-HELD_OUT:])) + pixels.mean(axis=0)
    found = decoder.reconstruct(vectors[-HELD_OUT:]).reshape(HELD_OUT, -1).astype(float)
    assert np.abs(found - np.rint(np.clip(expected, 0, 255))).max() <= 1


def test_the_strength_is_that_of_the_least_leave_one_out_error() -> None:
    """It is found here by leaving out each of a few images in turn."""
    images = make_images(count=30)
    vectors = project(images) + np.random.default_rng(2).normal(size=(30, 24)) * 8
    decoder = RidgeDecoder.train(vectors, images)
    squares = ((decoder.known[:, np.newaxis] - decoder.known) ** 2).sum(axis=2)
    kernel = np.exp(-squares / 24)
    pixels = images.reshape(30, -1) - decoder.mean
    errors = []
    for strength in STRENGTHS:
        residuals = []
        for out in range(30):
            rest = np.arange(30) != out
            weights = np.linalg.solve(kernel[np.ix_(rest, rest)] + strength * np.eye(29), pixels[rest])
            residuals.append(kernel[out, rest] @ weights - pixels[out])
        errors.append((np.array(residuals) ** 2).mean())
    assert 0 < np.argmin(errors) < len(STRENGTHS) - 1
    assert decoder.strength == STRENGTHS[int(np.argmin(errors))]


def test_a_constant_value_and_equal_vectors_are_no_obstacle() -> None:
    """A value that is always 0, and images with the same vector, give finite pixels."""
    images = make_images(count=30)
    vectors = project(images)
    vectors[:, 0] = 0
    vectors[1] = vectors[0]
    for attacker in Attacker:
        assert train_decoder(attacker, vectors, images).reconstruct(vectors).shape == images.shape


def test_the_network_depends_on_its_seed_alone() -> None:
    """The same seed gives the same reconstructions, another one others."""
    images = make_images(count=60)
    vectors = project(images)
    shown = [
        NetworkDecoder.train(vectors, images, seed=seed, epochs=3).reconstruct(vectors) for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(shown[0], shown[1])
    assert (shown[0] != shown[2]).any()

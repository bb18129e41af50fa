"""Samples of images and noise on them: what they depend on, and what they do not."""

import numpy as np
import pytest
from lookalike_search.evaluation.image_noise import add_noise, draw_order
from lookalike_search.evaluation.labelled_vectors import LabelledVectors

GREY = np.full((224, 224, 3), 128, dtype=np.uint8)
SHA256 = "0" * 64


def labelled(classes: list[int], copies: list[int] | None = None) -> LabelledVectors:
    """Makes images of these classes."""
    return LabelledVectors(
        vectors=np.eye(len(classes)),
        classes=np.array(classes),
        copies=np.arange(len(classes)) if copies is None else np.array(copies),
        names=[f"class {number}" for number in range(max(classes) + 1)],
        higher_is_nearer=True,
    )


@pytest.mark.parametrize("level", [3.0, 10.0, 20.0])
def test_noise_has_its_standard_deviation(level: float) -> None:
    """Grey stays grey on average; rounding adds a twelfth of a level to the variance."""
    noisy = add_noise(GREY, level, sha256=SHA256).astype(float)
    assert noisy.mean() == pytest.approx(128, abs=0.3)
    assert noisy.std() == pytest.approx(np.sqrt(level**2 + 1 / 12), rel=0.01)


def test_noise_is_clipped_and_not_wrapped() -> None:
    """White gets no darker than the noise makes it, and nothing turns black."""
    white = np.full_like(GREY, 255)
    noisy = add_noise(white, 20, sha256=SHA256)
    assert noisy.dtype == np.uint8
    assert (noisy == 255).mean() == pytest.approx(0.5, abs=0.02)
    assert noisy.min() > 100
    assert set(np.unique(add_noise(GREY, 255, sha256=SHA256))) >= {0, 255}


def test_no_noise_leaves_the_pixels_as_they_are() -> None:
    """The level 0 is the image itself."""
    assert (add_noise(GREY, 0, sha256=SHA256) == GREY).all()


def test_noise_depends_on_bytes_level_and_seed_alone() -> None:
    """Two calls agree; another image, level or seed has other noise, not a scaled one."""
    one = add_noise(GREY, 10, sha256=SHA256, seed=1)
    assert (one == add_noise(GREY.copy(), 10.0, sha256=SHA256, seed=1)).all()
    others = [
        add_noise(GREY, 10, sha256="1" * 64, seed=1),
        add_noise(GREY, 20, sha256=SHA256, seed=1),
        add_noise(GREY, 10, sha256=SHA256, seed=2),
    ]
    for other in others:
        correlation = np.corrcoef((one - 128.0).ravel(), (other - 128.0).ravel())[0, 1]
        assert abs(correlation) < 0.02


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [6, 12, 30, 60])
def test_a_sample_has_each_class_in_proportion(seed: int, size: int) -> None:
    """Of 30, 20 and 10 images a sample holds a half, a third and a sixth, to within two images."""
    images = labelled([0] * 30 + [1] * 20 + [2] * 10)
    order = draw_order(images, np.ones(60, dtype=bool), seed=seed)
    assert sorted(order) == list(range(60))
    counts = np.bincount(images.classes[order[:size]], minlength=3)
    assert np.abs(counts - size * np.array([3, 2, 1]) / 6).max() < 2


def test_a_sample_holds_one_of_exact_duplicates_and_none_that_cannot_count() -> None:
    """Copies would be the same query twice; an image alone in its class has no right neighbour."""
    images = labelled([0, 0, 0, 1, 1, 2], copies=[0, 0, 0, 1, 2, 3])
    order = draw_order(images, np.array([True] * 5 + [False]))
    assert sorted(images.copies[order]) == [0, 1, 2]
    assert not len(draw_order(images, np.zeros(6, dtype=bool)))


def test_a_sample_depends_on_the_seed() -> None:
    """The same seed draws the same order, another one another."""
    images, all_of_them = labelled([0] * 50), np.ones(50, dtype=bool)
    assert (draw_order(images, all_of_them, seed=3) == draw_order(images, all_of_them, seed=3)).all()
    assert (draw_order(images, all_of_them, seed=3) != draw_order(images, all_of_them, seed=4)).any()

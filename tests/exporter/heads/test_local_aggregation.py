"""Local Aggregation: its gradient, its neighbours, what it improves and keeps, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_exporter.heads.local_aggregation import (
    Aggregation,
    _backpropagate,
    _to_unit,
    choose_aggregation,
    find_neighbours,
    fit_local_aggregation,
    measure_loss,
)
from lookalike_exporter.heads.neighbour_figures import LabelledUnits, measure_neighbours

SMALL = Aggregation(clusters=3, neighbours=4, values=4, clusterings=2)


def clouds(*, classes: int = 12, each: int = 25, length: int = 24, seed: int = 0) -> LabelledUnits:
    """Makes classes that differ in a few directions, with shared noise in others."""
    random = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(classes), each)
    centres = np.zeros((classes, length))
    centres[:, : length // 3] = np.random.default_rng(7).normal(size=(classes, length // 3))
    noise = random.normal(size=(len(numbers), length)) * 0.6
    vectors = centres[numbers] * 1.5 + noise + 1.0
    return LabelledUnits(vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True), classes=numbers)


def test_the_gradient_is_that_of_finite_differences() -> None:
    """Through the loss, the bank and the scaling to length 1; a query without close neighbours adds none."""
    random = np.random.default_rng(0)
    inputs, weight, bank = (random.normal(size=size) for size in ((5, 6), (4, 6), (9, 4)))
    bank, _ = _to_unit(bank)
    background = random.random((5, 9)) < 0.7
    close = background & (random.random((5, 9)) < 0.5)
    close[0] = False

    def loss(weight: np.ndarray) -> float:
        units, _ = _to_unit(inputs @ weight.T)
        return float(measure_loss(units @ bank.T, background, close, temperature=0.07)[0].mean())

    units, lengths = _to_unit(inputs @ weight.T)
    losses, slope = measure_loss(units @ bank.T, background, close, temperature=0.07)
    assert losses[0] == 0
    assert (losses[1:] > 0).all()
    found = _backpropagate(slope @ bank, units, lengths, inputs)
    expected = np.zeros_like(weight)
    for place in np.ndindex(*weight.shape):
        step = np.zeros_like(weight)
        step[place] = 1e-6
        expected[place] = (loss(weight + step) - loss(weight - step)) / 2e-6
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_close_neighbours_share_a_cluster_within_the_nearest() -> None:
    """An image is no neighbour of itself; any clustering makes two images close."""
    similarity = np.array([[1.0, 0.9, 0.8, 0.7, 0.1, 0.0]], dtype=np.float32)
    labels = np.array([[0, 1, 0, 1, 0, 1], [0, 1, 1, 0, 1, 0]], dtype=np.int32)
    rows = np.array([0])
    chosen = replace(SMALL, neighbours=3)
    background, close = find_neighbours(similarity, rows, labels, chosen)
    assert np.flatnonzero(background[0]).tolist() == [1, 2, 3]
    assert np.flatnonzero(close[0]).tolist() == [2, 3]
    background, close = find_neighbours(similarity, rows, labels[:1], replace(chosen, neighbours=None))
    assert np.flatnonzero(background[0]).tolist() == [1, 2, 3, 4, 5]
    assert np.flatnonzero(close[0]).tolist() == [2, 4]
    outside = replace(chosen, is_within_background=False)
    background, close = find_neighbours(similarity, rows, labels[:1], outside)
    assert np.flatnonzero(background[0]).tolist() == [1, 2, 3, 4]
    assert np.flatnonzero(close[0]).tolist() == [2, 4]


def test_a_layer_improves_neighbours_of_new_images_without_labels() -> None:
    """The loss falls, and precision@10 and mAP of images that were not in the fit rise."""
    training, others = clouds(), clouds(each=8, seed=1)
    layer = fit_local_aggregation(training.vectors)
    assert layer.last_loss < layer.first_loss
    assert layer.weight.shape == (24, 24)
    before, after = measure_neighbours(others, training), measure_neighbours(others, training, layer=layer)
    assert before is not None
    assert after is not None
    assert after.precision_at_10 > before.precision_at_10
    assert after.mean_average_precision > before.mean_average_precision + 0.01


def test_a_fit_is_repeatable() -> None:
    """The same vectors and seed give the same bytes, and another seed gives others."""
    vectors = clouds(classes=4).vectors
    one, other, third = (fit_local_aggregation(vectors, seed=seed) for seed in (0, 0, 1))
    assert one.weight.tobytes() == other.weight.tobytes() != third.weight.tobytes()
    assert one.bias.tobytes() == other.bias.tobytes()
    assert one.weight.dtype == one.bias.dtype == np.float32


def test_the_whole_vector_stays_beside_the_trained_values() -> None:
    """Without pull the layer is a rotation of the centred vectors; fewer dimensions are its main ones."""
    vectors = clouds(classes=4).vectors
    centred = vectors - vectors.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    found = fit_local_aggregation(vectors, pull=0.0).apply(vectors)
    np.testing.assert_allclose(found @ found.T, centred @ centred.T, atol=1e-5)
    assert fit_local_aggregation(vectors, dims=5).apply(vectors).shape == (100, 5)


@pytest.mark.parametrize(
    ("images", "length", "expected"),
    [(20, 64, (2, 5, 19)), (1_248, 512, (50, 256, 512)), (2_048, 1_024, (82, 256, 512))],
)
def test_settings_follow_from_the_number_of_images(
    images: int, length: int, expected: tuple[int, int, int]
) -> None:
    """A cluster for 25 images, and a background of at most 256 and a quarter of the images."""
    chosen = choose_aggregation(images, length)
    assert (chosen.clusters, chosen.neighbours, chosen.values) == expected


def test_a_few_images_or_many_duplicates_make_a_layer() -> None:
    """Twenty images, and vectors of which most are the same, or equal to the mean."""
    for vectors in (
        clouds(classes=2, each=10).vectors,
        np.repeat(clouds(classes=3, each=1).vectors, 9, axis=0),
    ):
        layer = fit_local_aggregation(vectors)
        assert np.isfinite(layer.weight).all()
        assert np.isfinite(layer.apply(clouds(classes=2).vectors)).all()


def test_very_many_images_are_sampled() -> None:
    """The sample depends on the seed, and the settings on its size."""
    vectors = clouds(classes=4).vectors
    layer = fit_local_aggregation(vectors, most=50)
    assert (layer.images, layer.aggregation.clusters) == (50, 2)
    assert layer.weight.tobytes() != fit_local_aggregation(vectors, most=50, seed=1).weight.tobytes()


def test_vectors_that_cannot_be_fitted_are_refused() -> None:
    """There are too few, they are not finite, or all the same; dimensions are at most those of vectors."""
    vectors = clouds(classes=2).vectors
    for count in (0, 1, 19):
        with pytest.raises(UsageError, match=f"too few images to fit to: {count}, .* needs 20") as refused:
            fit_local_aggregation(vectors[:count])
        assert refused.value.argument == "unlabelled"
    with pytest.raises(LookalikeError, match="same vector"):
        fit_local_aggregation(np.repeat(vectors[:1], 30, axis=0))
    with pytest.raises(LookalikeError, match="not finite"):
        fit_local_aggregation(np.full((30, 3), np.nan))
    with pytest.raises(UsageError, match="choose 1 to 24"):
        fit_local_aggregation(vectors, dims=25)
